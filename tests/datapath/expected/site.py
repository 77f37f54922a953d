"""What the program was told, and what is around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from datapath.reasons import Reason

Check = Callable[[bytes], None]
Expected = dict[Reason, bytes | Check | None]
"""By reason the frame that comes out, what it has to fulfil, or None where nothing comes out."""

LINK_MTU = 1500


@dataclass(frozen=True)
class Ipv4End:
    """Both ends of a tunnel over IPv4, and the node's port if it is in UDP."""

    address: bytes
    home_agent: bytes
    port: int | None = None


@dataclass(frozen=True)
class Bound:
    """A binding, and what frames to the next hop of its care-of address, of IPv6 or of IPv4, begin with.

    Attributes:
        link: Ethernet addresses, and a tag where they leave by a VLAN.
    """

    home_address: bytes
    care_of_address: bytes | Ipv4End
    home_agent: bytes
    link: bytes

    @property
    def overhead(self) -> int:
        """Bytes in front of a packet in the tunnel."""
        if isinstance(self.care_of_address, bytes):
            return 40
        return 20 if self.care_of_address.port is None else 28


@dataclass(frozen=True)
class Defender:
    """As whom the home agent answers on a home link."""

    address: bytes
    link_address: bytes


@dataclass(frozen=True)
class Site:
    """A data path, its bindings and its surroundings.

    Attributes:
        neighbours: by address of a correspondent, what its frames begin with as ``Bound.link``.
        networks: of mobile routers, by home address; None where the program knows of no such.
        ipv4_addresses: where tunnels over IPv4 end; none where the program knows of no such.
        limited: whether strangers have limits, which are exceeded or not.
        home_links: by VLAN, 0 for none; None where the program knows of no such.
        vlans: those that have a device on the port; None where the program knows of no such.
    """

    home_agents: frozenset[bytes]
    bindings: Mapping[bytes, Bound]
    neighbours: Mapping[bytes, bytes]
    networks: Mapping[IPv6Network, bytes] | None = None
    ipv4_addresses: frozenset[bytes] = frozenset()
    limited: bool = False
    home_links: Mapping[int, Defender] | None = None
    vlans: frozenset[int] | None = None

    def mobile(self, address: bytes) -> Bound | None:
        """Whose tunnel leads to the address."""
        if address in self.bindings:
            return self.bindings[address]
        if self.networks is None or address in self.home_agents:
            return None
        inside = [network for network in self.networks if IPv6Address(address) in network]
        if not inside:
            return None
        return self.bindings.get(self.networks[max(inside, key=lambda network: network.prefixlen)])
