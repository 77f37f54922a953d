"""What the programs know when they are compiled: constants in the text cost a packet nothing."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from datapath.bpf_syscall import possible_processors
from datapath.layout import (
    HASH_KEY,
    MAX_HOME_AGENTS,
    MAX_HOME_LINKS,
    MAX_MOBILE_NETWORKS,
    MAX_PATH_MTUS,
    MAX_PORTS,
    MAX_PROBES,
    MAX_REASONS,
    MAX_STRANGERS,
    MAX_TUNNEL_ENDS,
    MAX_VLANS,
    NEXT_HOPS_OF_GENERATION,
    ROUTES_OF_PROCESSOR,
    hash_places,
)
from datapath.stranger_limits import StrangerLimits

_NEXT_HOP_PROBES = 8


@dataclass(frozen=True, slots=True)
class Specialisation:
    """One data path's constants.

    Attributes:
        pin_directory: where its maps are pinned.
        max_bindings: as the maps were made.
        hash_key: as ``bindings`` was filled with; nobody may learn it who can choose home addresses.
        home_agent_addresses: addresses tunnels and signalling end at.
        mobile_networks: whether there are mobile routers (RFC 3963).
        home_links: whether there are home links with hosts on them.
        vlans: whether frames have 802.1Q tags.
        home_agent_ipv4_addresses: addresses tunnels over IPv4 end at; empty for no such tunnels.
        stranger_limits: of what strangers may send to those, None for none.
    """

    pin_directory: Path
    max_bindings: int
    hash_key: bytes = field(repr=False)
    home_agent_addresses: Sequence[IPv6Address]
    mobile_networks: bool = False
    home_links: bool = False
    vlans: bool = False
    home_agent_ipv4_addresses: Sequence[IPv4Address] = ()
    stranger_limits: StrangerLimits | None = None

    def macros(self) -> dict[str, str]:
        """What the C text wants defined."""
        processors = possible_processors()
        places = hash_places(self.max_bindings)
        keys = HASH_KEY.unpack(self.hash_key)
        return {
            "MAX_BINDINGS": str(self.max_bindings),
            "MAX_SLOTS": str(places + MAX_PROBES),
            "HASH_PLACES": str(places),
            "MAX_PROBES": str(MAX_PROBES),
            **{f"HASH_KEY_{number}": f"{key:#x}ULL" for number, key in enumerate(keys)},
            "MAX_TUNNEL_ENDS": str(MAX_TUNNEL_ENDS),
            "PROCESSORS": str(processors),
            "WITH_MOBILE_NETWORKS": str(int(self.mobile_networks)),
            "WITH_VLANS": str(int(self.vlans)),
            "MAX_VLANS": str(MAX_VLANS),
            "WITH_HOME_LINKS": str(int(self.home_links)),
            "MAX_HOME_LINKS": str(MAX_HOME_LINKS),
            "MAX_MOBILE_NETWORKS": str(MAX_MOBILE_NETWORKS),
            "NEXT_HOPS_OF_GENERATION": str(NEXT_HOPS_OF_GENERATION),
            "NEXT_HOP_PROBES": str(_NEXT_HOP_PROBES),
            "MAX_NEXT_HOPS": str(2 * NEXT_HOPS_OF_GENERATION * processors),
            "ROUTES_OF_PROCESSOR": str(ROUTES_OF_PROCESSOR),
            "MAX_ROUTES": str(ROUTES_OF_PROCESSOR * processors),
            "MAX_REASONS": str(MAX_REASONS),
            "MAX_HOME_AGENTS": str(MAX_HOME_AGENTS),
            "MAX_PATH_MTUS": str(MAX_PATH_MTUS),
            "MAX_PORTS": str(MAX_PORTS),
            "PIN_DIRECTORY": f'"{self.pin_directory}"',
            "WITH_STRANGER_LIMITS": str(int(self.stranger_limits is not None)),
            "MAX_STRANGERS": str(MAX_STRANGERS),
            **({} if self.stranger_limits is None else self.stranger_limits.macros(self.hash_key)),
            "HOME_AGENT_IS(high, low)": " || ".join(
                "((low) == {1:#x}ULL && (high) == {0:#x}ULL)".format(*struct.unpack("=QQ", address.packed))
                for address in self.home_agent_addresses
            ),
            "WITH_IPV4_TUNNELS": str(int(bool(self.home_agent_ipv4_addresses))),
            "HOME_AGENT_IPV4_IS(address)": " || ".join(
                "((address) == {:#x})".format(*struct.unpack("=I", address.packed))
                for address in self.home_agent_ipv4_addresses
            )
            or "0",
        }

    def digest(self, text: str) -> bytes:
        """Sixteen bytes that tell one text from another, wherever its maps are pinned, and nothing of the key in it."""
        return hmac.digest(self.hash_key, text.replace(str(self.pin_directory), "").encode(), hashlib.sha256)[:16]
