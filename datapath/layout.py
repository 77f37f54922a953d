"""Names, sizes and byte layouts shared with the programs in ``bpf/`` (structs.h and maps.h mirror this module)."""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from datapath.bpf_syscall import MAP_MEMORY_MAPPABLE, MAP_NOT_PREALLOCATED, MapType, possible_processors

SCHEMA_VERSION = 4
"""Version of all layouts below. A change of any of them is a new version, and with it a new pin directory; a map that
is new is none, the loader makes it."""

MAX_HOME_AGENTS = 64
MAX_PORTS = 65536
"""Interfaces with an index from here on are served, but what leaves by them goes through the kernel."""

MAX_REASONS = 128
MAX_STRANGERS = 65536
"""Networks whose requests are counted, and initiators that have returned a cookie, together."""

DEFAULT_PIN_PATH = Path("/sys/fs/bpf/homeagent")
PROGRAM_NAME = "home_agent"
HOME_LINK_PROGRAM_NAME = "home_link"
FRAGMENTATION_PROGRAM_NAME = "fragmentation"
TUNNEL_FILTER_PROGRAM_NAME = "tunnel_filter"
SLOW_PATH_PROGRAM_NAMES = (FRAGMENTATION_PROGRAM_NAME, TUNNEL_FILTER_PROGRAM_NAME)
"""In the text of the first program, because every data path has them."""

SLOW_PATH_MTU = 65535
SLOW_PATH_EXIT_ADDRESS = bytes.fromhex("026d69700001")
"""Of the Ethernet layer, of the end of the slow path where its packets come out."""

SINGLE_VALUES = ("bindings", "home_networks", "next_hops", "routes", "route_control", "usage")
"""Maps of one value, which the programs read without a lookup; ``bpf/maps.h`` has their numbers."""
LARGEST_VALUE = 1 << 29
"""Bytes of a value: further into it the verifier follows no pointer."""
MOST_BINDINGS = 8_000_000
"""For which the table is no larger."""
KEY_SIZE = 16
SLOT_SIZE = 32
"""Bytes of a slot of the map ``bindings``; two make a bucket, the map's value and a cache line."""
BUCKET_SLOTS = 2
USAGE = struct.Struct("=4Q")
"""Encapsulated packets and bytes, decapsulated packets and bytes: of one binding on one processor."""
MAX_USAGE_STRIPES = 8
"""Processors that count in places of their own; more of them share these."""
HASH_KEY = struct.Struct("=5Q")
"""Key of the hash that places bindings."""
MAX_PROBES = 64
"""Buckets from its place on that a binding may be in."""
JOURNAL_SLOTS = 4096
"""Slots behind the table, where a new value is in force while it is copied into its slot."""
HOME_NETWORK = struct.Struct("=16sQQ")
"""Home agent's address, upper half of the home addresses, reserved."""
MAX_HOME_NETWORKS = 65536
"""Pairs of a /64 of home addresses and a home agent's address that bindings may name."""
MOBILE_NETWORK = struct.Struct("=I16s")
"""Length in bits and address of a mobile network's prefix."""
MOBILE_ROUTER = struct.Struct("=16sI4x")
"""Home address of a mobile network's router, and the slot of its binding."""
MAX_MOBILE_NETWORKS = 1 << 20
"""Mobile network prefixes; one takes memory only once it is there."""
MAX_HOME_LINKS = 64
HOME_LINK = struct.Struct("=II")
"""Interface index of a home link, reserved."""
LINK_IDENTITY = struct.Struct("=16sQ6s2s")
"""Address, valid until (jiffies), Ethernet address, the loader's mark: whether it has raised all-multicast."""
LINK_LOCAL_ADDRESS = struct.Struct("=16sII")
"""An address with its home link."""
VLAN = struct.Struct("=II")
"""Interface index of a port, identifier of a VLAN on it."""
MAX_VLANS = 4096
REFERENCE_INDICES = 1 << 14
REFERENCE_GENERATIONS = 1 << 10
"""How many next hops and generations a binding's reference to a next hop can tell apart."""
NEXT_HOP = struct.Struct("=III4x6s6s4x")
"""Generation, interface index, MTU, destination and source address of the Ethernet layer."""
ROUTES_OF_PROCESSOR = 4096
"""Destinations of decapsulated packets whose next hop one processor keeps."""
CACHED_ROUTE_SIZE = 32
ROUTE_SIZE = 24
ROUTE_CONTROL = struct.Struct("=IIQ")
"""Generation, number of changes of home prefixes, valid until (jiffies)."""
PATH_MTU = struct.Struct("=IIQ")
"""MTU, reserved, expires at (nanoseconds, monotonic)."""
MAX_PATH_MTUS = 65536
"""Care-of addresses whose path is known to carry less than its first link."""
STRANGER_BUCKET_SIZE = 16
CONFIGURATION = struct.Struct("=IIQ16s32s")
"""Schema version, max_bindings, loaded at (seconds since the epoch), digest of the program's text, and the version of
homeagent that loaded it, as text."""
ATTACHMENT = struct.Struct("=16sBB6x104s")
"""Interface name, requested mode, actual mode, note."""
INDEX = struct.Struct("=I")


def hash_places(max_bindings: int) -> int:
    """Buckets the hash chooses from: one for each binding, because searches grow long in a table that is fuller."""
    return max_bindings


def usage_buckets(max_bindings: int) -> int:
    """Buckets of one stripe of the map ``usage``."""
    return hash_places(max_bindings) + MAX_PROBES


def usage_stripes() -> int:
    """How many places each binding is counted in; a power of two."""
    return min(MAX_USAGE_STRIPES, processor_places())


def usage_is_one_value(max_bindings: int) -> bool:
    """Whether the map ``usage`` is one value, rather than one for each stripe, which then has to be looked up."""
    return usage_stripes() * usage_buckets(max_bindings) * BUCKET_SLOTS * USAGE.size < LARGEST_VALUE


def processor_places() -> int:
    """How many processors there is room for where each has its own; a power of two."""
    return 1 << (possible_processors() - 1).bit_length()


def next_hops_of_generation() -> int:
    """Next hops that one processor keeps of one generation; a power of two."""
    return max(1, min(64, REFERENCE_INDICES // (2 * processor_places())))


def max_next_hops() -> int:
    """Next hops there is room for; a power of two."""
    return 2 * next_hops_of_generation() * processor_places()


@dataclass(frozen=True, slots=True)
class MapSpecification:
    """What a pinned map must look like.

    Attributes:
        since: the schema version from which on its keys and values have meant what they mean now: an upgrade from that
            version or a later one hands the very map over, if its size is the same.
    """

    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    since: int = SCHEMA_VERSION


def map_specifications(max_bindings: int) -> tuple[MapSpecification, ...]:
    """All maps of a data path for ``max_bindings`` bindings."""
    buckets = usage_buckets(max_bindings)
    table = BUCKET_SLOTS * SLOT_SIZE * (buckets + JOURNAL_SLOTS // BUCKET_SLOTS)
    usage_values = 1 if usage_is_one_value(max_bindings) else usage_stripes()
    usages = BUCKET_SLOTS * USAGE.size * buckets * usage_stripes() // usage_values

    def array(name: str, value_size: int, max_entries: int, flags: int = 0, since: int = 2) -> MapSpecification:
        return MapSpecification(name, MapType.ARRAY, INDEX.size, value_size, max_entries, flags, since)

    return (
        array("bindings", table, 1, MAP_MEMORY_MAPPABLE, since=4),
        array("usage", usages, usage_values, MAP_MEMORY_MAPPABLE, since=4),
        array("hash_key", HASH_KEY.size, 1),
        array("home_networks", HOME_NETWORK.size * MAX_HOME_NETWORKS, 1, MAP_MEMORY_MAPPABLE, since=4),
        MapSpecification(
            "home_prefixes", MapType.HASH, 8, INDEX.size, MAX_HOME_NETWORKS, MAP_NOT_PREALLOCATED, since=4
        ),
        array("next_hops", NEXT_HOP.size * max_next_hops(), 1, since=4),
        array("routes", CACHED_ROUTE_SIZE * ROUTES_OF_PROCESSOR * processor_places(), 1, since=4),
        MapSpecification("asked_routes", MapType.PERCPU_ARRAY, INDEX.size, ROUTE_SIZE, 1),
        array("route_control", ROUTE_CONTROL.size, 1, MAP_MEMORY_MAPPABLE),
        MapSpecification(
            "mobile_networks",
            MapType.LPM_TRIE,
            MOBILE_NETWORK.size,
            MOBILE_ROUTER.size,
            MAX_MOBILE_NETWORKS,
            MAP_NOT_PREALLOCATED,
            since=2,
        ),
        MapSpecification("home_links", MapType.HASH, HOME_LINK.size, LINK_IDENTITY.size, MAX_HOME_LINKS, since=2),
        MapSpecification(
            "link_local_addresses",
            MapType.HASH,
            LINK_LOCAL_ADDRESS.size,
            INDEX.size,
            max_bindings,
            MAP_NOT_PREALLOCATED,
            since=2,
        ),
        MapSpecification("advertisement_budget", MapType.PERCPU_ARRAY, INDEX.size, 16, 1, since=2),
        MapSpecification("vlans", MapType.HASH, VLAN.size, INDEX.size, MAX_VLANS, since=3),
        array("interface_tags", INDEX.size, MAX_PORTS, since=3),
        MapSpecification("frame_tags", MapType.PERCPU_ARRAY, INDEX.size, 16, 1, since=3),
        MapSpecification("reply_addresses", MapType.HASH, KEY_SIZE, KEY_SIZE, max_bindings, since=1),
        MapSpecification("local", MapType.HASH, KEY_SIZE, INDEX.size, MAX_HOME_AGENTS, since=1),
        MapSpecification("stats", MapType.PERCPU_ARRAY, INDEX.size, 8, MAX_REASONS, since=1),
        MapSpecification("error_budget", MapType.PERCPU_ARRAY, INDEX.size, 16, 1, since=1),
        MapSpecification("path_mtus", MapType.LRU_HASH, KEY_SIZE, PATH_MTU.size, MAX_PATH_MTUS, since=2),
        MapSpecification("strangers", MapType.LRU_HASH, KEY_SIZE, STRANGER_BUCKET_SIZE, MAX_STRANGERS, since=2),
        array("strangers_in_all", STRANGER_BUCKET_SIZE, 2),
        MapSpecification("ports", MapType.DEVMAP, INDEX.size, INDEX.size, MAX_PORTS, since=1),
        array("config", CONFIGURATION.size, 1, since=3),
        MapSpecification("attachments", MapType.HASH, INDEX.size, ATTACHMENT.size, 256, since=1),
    )


def local_key(address: IPv4Address | IPv6Address) -> bytes:
    """Key of the map ``local`` for a home agent's address: an IPv4 one as it is mapped into IPv6."""
    return address.packed if isinstance(address, IPv6Address) else bytes(10) + b"\xff\xff" + address.packed


def pin_directory(pin_path: Path) -> Path:
    """Where this schema version is pinned under ``pin_path``."""
    return pin_path / f"v{SCHEMA_VERSION}"


def slow_path_devices(pin_path: Path) -> tuple[str, str]:
    """What the slow path's ends are called: where packets come out, and the entrance (datapath/slow_path.py)."""
    name = "mip-slow"
    if pin_path != DEFAULT_PIN_PATH:
        name = f"mip-{hashlib.blake2s(os.fsencode(pin_path), digest_size=4).hexdigest()}"
    return name, f"{name}-in"
