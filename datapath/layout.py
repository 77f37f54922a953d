"""Names, sizes and byte layouts shared with the programs in ``bpf/`` (structs.h and maps.h mirror this module)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from datapath.bpf_syscall import MapType

SCHEMA_VERSION = 1
"""Version of all layouts below. A change of any of them is a new version, and with it a new pin directory."""

MAX_HOME_AGENTS = 64
MAX_PORTS = 65536
"""Interfaces with an index from here on are served, but what leaves by them goes through the kernel."""

MAX_REASONS = 128

DEFAULT_PIN_PATH = Path("/sys/fs/bpf/homeagent")
PROGRAM_NAME = "home_agent"
HOME_LINK_PROGRAM_NAME = "home_link"

KEY_SIZE = 16
BINDING = struct.Struct("=16s16sII")
"""Care-of address, home agent address, slot, flags."""
USAGE = struct.Struct("=4Q")
"""Encapsulated packets and bytes, decapsulated packets and bytes."""
CONFIGURATION = struct.Struct("=IIQ16s")
"""Schema version, max_bindings, loaded at (seconds since the epoch), digest of the program's text."""
ATTACHMENT = struct.Struct("=16sBB6x104s")
"""Interface name, requested mode, actual mode, note."""
INDEX = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class MapSpecification:
    """What a pinned map must look like."""

    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int


def map_specifications(max_bindings: int) -> tuple[MapSpecification, ...]:
    """All maps of a data path for ``max_bindings`` bindings."""
    return (
        MapSpecification("bindings", MapType.HASH, KEY_SIZE, BINDING.size, max_bindings),
        MapSpecification("reply_addresses", MapType.HASH, KEY_SIZE, KEY_SIZE, max_bindings),
        MapSpecification("local", MapType.HASH, KEY_SIZE, INDEX.size, MAX_HOME_AGENTS),
        MapSpecification("stats", MapType.PERCPU_ARRAY, INDEX.size, 8, MAX_REASONS),
        MapSpecification("usage", MapType.PERCPU_ARRAY, INDEX.size, USAGE.size, max_bindings),
        MapSpecification("error_budget", MapType.PERCPU_ARRAY, INDEX.size, 16, 1),
        MapSpecification("ports", MapType.DEVMAP, INDEX.size, INDEX.size, MAX_PORTS),
        MapSpecification("config", MapType.ARRAY, INDEX.size, CONFIGURATION.size, 1),
        MapSpecification("attachments", MapType.HASH, INDEX.size, ATTACHMENT.size, 256),
    )


def pin_directory(pin_path: Path) -> Path:
    """Where this schema version is pinned under ``pin_path``."""
    return pin_path / f"v{SCHEMA_VERSION}"
