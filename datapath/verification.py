"""Has the kernel verify the programs in every combination of their features, attached to nothing."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations
from pathlib import Path
from typing import Any

from datapath import bpffs, generations
from datapath.bpf_syscall import program_info
from datapath.compiler import CompiledText
from datapath.errors import CompileFailed
from datapath.layout import HASH_KEY, HOME_LINK_PROGRAM_NAME, PROGRAM_NAME, SLOW_PATH_PROGRAM_NAMES
from datapath.pinned_maps import create_maps
from datapath.specialisation import Specialisation
from datapath.stranger_limits import StrangerLimits

VERIFIER_LIMIT = 1_000_000
"""Instructions that Linux walks through before it refuses a program."""
_MOST_COMBINATIONS = 8
_MAX_BINDINGS = 64
_BESIDE = "-verify-"
_SWITCHED_ON: dict[str, Any] = {
    "home_agent_ipv4_addresses": (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")),
    "stranger_limits": StrangerLimits(),
}
"""Values of features that are more than on or off."""


@dataclass(frozen=True, slots=True)
class Verified:
    """One program in one combination.

    Attributes:
        program: its name.
        features: those it was compiled with.
        verified_instructions: what the verifier walked; 0 if the kernel does not tell, or refuses it.
        instructions: what it consists of, after the kernel's translation; 0 if the kernel refuses it.
        refusal: the kernel's words, empty if it accepts it.
    """

    program: str
    features: tuple[str, ...]
    verified_instructions: int
    instructions: int
    refusal: str = ""


def features() -> tuple[str, ...]:
    """Names of what a data path is compiled with or without."""
    return tuple(field.name for field in fields(Specialisation) if field.default is not MISSING)


def feature_sets() -> list[tuple[str, ...]]:
    """All combinations, if they are few; else none, each alone, all but each, and all."""
    names = features()
    every = [chosen for size in range(len(names) + 1) for chosen in combinations(names, size)]
    if len(every) <= _MOST_COMBINATIONS:
        return every
    return [chosen for chosen in every if len(chosen) in (0, 1, len(names) - 1, len(names))]


def verify(
    pin_path: Path, home_agent_addresses: tuple[IPv6Address, ...], chosen_sets: Sequence[tuple[str, ...]] | None = None
) -> Iterator[Verified]:
    """Compiles and verifies one program after the other, for maps of its own that are gone afterwards.

    Args:
        pin_path: a directory of this name with something behind it is used, on a BPF file system.
        home_agent_addresses: addresses tunnels end at; each costs a few instructions.
        chosen_sets: combinations of features; None for those of :func:`feature_sets`.

    Raises:
        DatapathError: there is no compiler, or the caller may not.
    """
    _discard_abandoned(pin_path)
    directory = pin_path.with_name(f"{pin_path.name}{_BESIDE}{os.getpid()}")
    bpffs.ensure_directory(directory)
    with bpffs.locked(directory):
        try:
            yield from _verified(
                directory, home_agent_addresses, feature_sets() if chosen_sets is None else chosen_sets
            )
        finally:
            generations.discard(directory)


def _discard_abandoned(pin_path: Path) -> None:
    """Unpins the maps of those that were killed."""
    for directory in pin_path.parent.glob(f"{pin_path.name}{_BESIDE}*"):
        with bpffs.directory_opened(directory) as descriptor:
            if bpffs.try_lock(descriptor):
                generations.discard(directory)


def _verified(
    directory: Path, home_agent_addresses: tuple[IPv6Address, ...], chosen_sets: Sequence[tuple[str, ...]]
) -> Iterator[Verified]:
    create_maps(directory, _MAX_BINDINGS)
    plain = Specialisation(directory, _MAX_BINDINGS, secrets.token_bytes(HASH_KEY.size), home_agent_addresses)
    for chosen in chosen_sets:
        switched: dict[str, Any] = {name: _SWITCHED_ON.get(name, True) for name in chosen}
        yield _verify(CompiledText(replace(plain, **switched)), PROGRAM_NAME, chosen)
    text = CompiledText(plain)
    for name in SLOW_PATH_PROGRAM_NAMES:
        yield _verify(text, name, ())
    yield _verify(CompiledText(plain, HOME_LINK_PROGRAM_NAME), HOME_LINK_PROGRAM_NAME, ())


def _verify(text: CompiledText, name: str, chosen: tuple[str, ...]) -> Verified:
    try:
        with text.loaded(name) as program:
            info = program_info(program.descriptor)
    except CompileFailed as error:
        return Verified(name, chosen, 0, 0, str(error).splitlines()[-1])
    return Verified(name, chosen, info.verified_instructions, info.translated_size // 8)
