"""What the programs know when they are compiled: constants in the text cost a packet nothing."""

from __future__ import annotations

import hashlib
import hmac
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from itertools import chain, count
from pathlib import Path

from datapath.bpf_syscall import possible_processors
from datapath.layout import (
    BUCKET_SLOTS,
    HASH_KEY,
    JOURNAL_SLOTS,
    MAX_HOME_AGENTS,
    MAX_HOME_LINKS,
    MAX_HOME_NETWORKS,
    MAX_MOBILE_NETWORKS,
    MAX_PATH_MTUS,
    MAX_PORTS,
    MAX_PROBES,
    MAX_REASONS,
    MAX_STRANGERS,
    MAX_VLANS,
    ROUTES_OF_PROCESSOR,
    hash_places,
    max_next_hops,
    next_hops_of_generation,
    processor_places,
    usage_buckets,
    usage_is_one_value,
    usage_stripes,
)
from datapath.stranger_limits import StrangerLimits, cookie_key

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
        buckets = usage_buckets(self.max_bindings)
        return {
            "MAX_BINDINGS": str(self.max_bindings),
            "MAX_BUCKETS": str(buckets + JOURNAL_SLOTS // BUCKET_SLOTS),
            "JOURNAL_START": str(buckets),
            "HASH_PLACES": str(hash_places(self.max_bindings)),
            "MAX_PROBES": str(MAX_PROBES),
            "MAX_HOME_NETWORKS": str(MAX_HOME_NETWORKS),
            "PROCESSORS": str(possible_processors()),
            "PROCESSOR_PLACES": str(processor_places()),
            "USAGE_STRIPES": str(usage_stripes()),
            "USAGE_IS_ONE_VALUE": str(int(usage_is_one_value(self.max_bindings))),
            "USAGE_BUCKETS": str(buckets),
            "WITH_MOBILE_NETWORKS": str(int(self.mobile_networks)),
            "WITH_VLANS": str(int(self.vlans)),
            "MAX_VLANS": str(MAX_VLANS),
            "WITH_HOME_LINKS": str(int(self.home_links)),
            "MAX_HOME_LINKS": str(MAX_HOME_LINKS),
            "MAX_MOBILE_NETWORKS": str(MAX_MOBILE_NETWORKS),
            "NEXT_HOPS_OF_GENERATION": str(next_hops_of_generation()),
            "NEXT_HOP_PROBES": str(_NEXT_HOP_PROBES),
            "MAX_NEXT_HOPS": str(max_next_hops()),
            "ROUTES_OF_PROCESSOR": str(ROUTES_OF_PROCESSOR),
            "MAX_REASONS": str(MAX_REASONS),
            "MAX_HOME_AGENTS": str(MAX_HOME_AGENTS),
            "MAX_PATH_MTUS": str(MAX_PATH_MTUS),
            "MAX_PORTS": str(MAX_PORTS),
            "PIN_DIRECTORY": f'"{self.pin_directory}"',
            "WITH_STRANGER_LIMITS": str(int(self.stranger_limits is not None)),
            "MAX_STRANGERS": str(MAX_STRANGERS),
            **({} if self.stranger_limits is None else self.stranger_limits.macros()),
            "WITH_IPV4_TUNNELS": str(int(bool(self.home_agent_ipv4_addresses))),
            **self._filled_in_macros(),
        }

    def _filled_in_macros(self) -> dict[str, str]:
        place = count()
        keys, cookies, halves, ipv4_addresses = (
            [f"FILLED_IN({next(place)})" for _ in numbers] for numbers in self._filled_in()
        )
        is_one = [f"((low) == {low} && (high) == {high})" for high, low in zip(halves[::2], halves[1::2], strict=True)]
        return {
            **{f"HASH_KEY_{number}": name for number, name in enumerate(keys)},
            **{f"COOKIE_KEY_{number}": name for number, name in enumerate(cookies)},
            "HOME_AGENT_IS(high, low)": " || ".join(is_one),
            "HOME_AGENT_IPV4_IS(address)": " || ".join(f"((address) == {name})" for name in ipv4_addresses) or "0",
        }

    def _filled_in(self) -> tuple[tuple[int, ...], ...]:
        halves = (struct.unpack("=QQ", address.packed) for address in self.home_agent_addresses)
        return (
            HASH_KEY.unpack(self.hash_key),
            cookie_key(self.hash_key),
            tuple(half for both in halves for half in both),
            tuple(int.from_bytes(address.packed, sys.byteorder) for address in self.home_agent_ipv4_addresses),
        )

    def filled_in(self) -> tuple[int, ...]:
        """What the loader puts into the compiled program (bpf/filled_in.h), by place; 64 bits each."""
        return tuple(chain.from_iterable(self._filled_in()))

    def digest(self, text: str) -> bytes:
        """Sixteen bytes that tell what is loaded, wherever its maps are pinned, and nothing of the key in it."""
        filled_in = self.filled_in()
        what = text.replace(str(self.pin_directory), "").encode() + struct.pack(f"={len(filled_in)}Q", *filled_in)
        return hmac.digest(self.hash_key, what, hashlib.sha256)[:16]
