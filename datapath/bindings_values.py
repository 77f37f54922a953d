"""What a binding is to the data path: where its tunnel goes, and what went through it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from datapath.care_of_addresses import CareOfAddress


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Where packets to a home address go: the tunnel's far end and the home agent's address.

    For an IPv4 care-of address, ``home_agent_address`` is what errors are sent from; the tunnel's own near end is in
    ``care_of_address``.
    """

    care_of_address: CareOfAddress
    home_agent_address: IPv6Address


@dataclass(frozen=True, slots=True)
class Usage:
    """What went through the tunnel of one binding since it was installed: inner packets and their bytes."""

    encapsulated_packets: int = 0
    encapsulated_bytes: int = 0
    decapsulated_packets: int = 0
    decapsulated_bytes: int = 0
