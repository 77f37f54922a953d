"""The maps of a data path: made and pinned, or held against what they have to be."""

from __future__ import annotations

import os
from pathlib import Path

from datapath.bpf_syscall import MAP_MEMORY_MAPPABLE, MAP_NOT_PREALLOCATED, Map, map_create, object_pin
from datapath.errors import NotLoaded, StalePin
from datapath.layout import MapSpecification, map_specifications

_REMEDY = (
    "run `homeagent datapath upgrade`, which takes the bindings along; if it knows no such layout, `homeagent datapath "
    "unload` and load again, and the daemon installs the bindings anew from its store."
)


def create_maps(directory: Path, max_bindings: int) -> list[Path]:
    """Makes and pins the maps that are not pinned, checks those that are; returns the pins it made.

    Raises:
        StalePin: one is there and is not what it should be.
        DatapathError: one cannot be made; then none is.
    """
    created: list[Path] = []
    try:
        for specification in map_specifications(max_bindings):
            path = directory / specification.name
            try:
                with Map.open(path) as present:
                    if wrong := difference(present, specification):
                        raise StalePin(f"{path} has {wrong} (max_bindings = {max_bindings}): {_REMEDY}")
            except NotLoaded:
                pin_new_map(specification, path)
                created.append(path)
    except BaseException:
        for path in created:
            path.unlink(missing_ok=True)
        raise
    return created


def pin_new_map(specification: MapSpecification, path: Path) -> None:
    """Makes a map, which its pin keeps."""
    descriptor = map_create(
        specification.type,
        specification.key_size,
        specification.value_size,
        specification.max_entries,
        specification.name,
        specification.flags,
    )
    try:
        object_pin(descriptor, path)
    finally:
        os.close(descriptor)


def difference(present: Map, wanted: MapSpecification) -> str:
    """In what a map is not what it should be, empty if it is."""
    info = present.info
    flags = info.flags & (MAP_MEMORY_MAPPABLE | MAP_NOT_PREALLOCATED)
    if (info.type, info.key_size, info.value_size, flags) != (
        wanted.type,
        wanted.key_size,
        wanted.value_size,
        wanted.flags,
    ):
        return "another layout or size"
    if info.max_entries != wanted.max_entries:
        return f"{info.max_entries} entries where {wanted.max_entries} are wanted"
    return ""
