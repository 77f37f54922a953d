"""What is loaded, as the kernel has it."""

from __future__ import annotations

import os
from contextlib import closing
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from datapath import home_link, netlink
from datapath.attachments import Attachment, read_rows
from datapath.bpf_syscall import Map, MapType, map_info, opened, program_info
from datapath.counters import read_counters
from datapath.errors import DatapathError
from datapath.layout import CONFIGURATION, INDEX, PROGRAM_NAME, SCHEMA_VERSION, map_specifications, pin_directory
from datapath.table import open_table

_COUNTED = ("local", "attachments", "reply_addresses", "home_links", "link_local_addresses", "vlans", "path_mtus")


def show(pin_path: Path) -> dict[str, Any]:
    """Program, interfaces, maps and counters of the data path pinned under ``pin_path``, of types JSON has.

    ``interfaces[].program_id`` is what is attached now: 0 if nothing, None if the interface is not in this network
    namespace; ``home_link`` is None if there is none. ``maps[].entries`` is None for arrays, which are always full.
    Counting the entries of ``bindings`` walks the map.

    Raises:
        NotLoaded: nothing is pinned there.
    """
    directory = pin_directory(pin_path)
    with opened(directory / PROGRAM_NAME) as descriptor:
        program = program_info(descriptor)
    with Map.open(directory / "config") as config:
        value = config.lookup(INDEX.pack(0)) or bytes(CONFIGURATION.size)
        _, max_bindings, loaded_at, digest, version = CONFIGURATION.unpack(value)
    with Map.open(directory / "attachments") as rows:
        attachments = read_rows(rows)
    with Map.open(directory / "local") as local:
        addresses = sorted(IPv6Address(key) for key in local.keys())  # noqa: SIM118 (a map is no dict)
        addresses.sort(key=lambda address: address.ipv4_mapped is not None)
    served_home_link = home_link.find(pin_path)
    return {
        "pin_path": os.fspath(pin_path),
        "schema_version": SCHEMA_VERSION,
        "loaded_at": loaded_at,
        "loaded_by": version.rstrip(b"\0").decode("ascii", "replace"),
        "program": {
            "id": program.id,
            "name": program.name,
            "tag": program.tag,
            "source_digest": digest.hex(),
            "verified_instructions": program.verified_instructions,
        },
        "home_agent_addresses": [str(address.ipv4_mapped or address) for address in addresses],
        "interfaces": [_interface(attachment, program.id) for attachment in attachments],
        "home_link": None if served_home_link is None else served_home_link.to_dict(),
        "maps": [
            _bindings(pin_path) if specification.name == "bindings" else _map(directory / specification.name)
            for specification in map_specifications(max_bindings)
        ],
        "counters": {reason.slug: count for reason, count in read_counters(pin_path).items()},
    }


def _interface(attachment: Attachment, program: int) -> dict[str, Any]:
    attached: int | None
    try:
        state = netlink.interface_state(attachment.index)
        attached = state.program if state.name == attachment.name else None
    except DatapathError:
        attached = None
    return {
        "name": attachment.name,
        "index": attachment.index,
        "requested_mode": str(attachment.requested_mode),
        "actual_mode": str(attachment.actual_mode),
        "note": attachment.note,
        "program_id": attached,
        "attached": attached == program,
    }


def _bindings(pin_path: Path) -> dict[str, Any]:
    with opened(pin_directory(pin_path) / "bindings") as descriptor:
        identifier = map_info(descriptor).id
    with closing(open_table(pin_directory(pin_path))) as table:
        return {"name": "bindings", "id": identifier, "entries": table.count, "capacity": table.capacity}


def _map(path: Path) -> dict[str, Any]:
    with Map.open(path) as opened_map:
        info = opened_map.info
        entries = None
        if info.type in (MapType.HASH, MapType.LRU_HASH) and path.name in _COUNTED:
            entries = sum(count for _, _, count in opened_map.lookup_batches())
        elif info.type == MapType.LPM_TRIE:
            entries = sum(1 for _ in opened_map.keys())  # noqa: SIM118 (a map is no dict)
        return {"name": path.name, "id": info.id, "entries": entries, "capacity": info.max_entries}
