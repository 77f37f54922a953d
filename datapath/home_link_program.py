"""Putting the program ``home_link`` on the home link's device, and taking it back when the rest of a load fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Network
from pathlib import Path

from datapath import home_link
from datapath.bpf_syscall import opened
from datapath.compiler import CompiledProgram, CompiledText
from datapath.home_link import HomeLink
from datapath.layout import HOME_LINK_PROGRAM_NAME
from datapath.program_pins import replaced
from datapath.specialisation import Specialisation


@contextmanager
def home_link_compiled(
    prefixes: Sequence[IPv6Network], specialisation: Specialisation, cache: Path
) -> Iterator[CompiledProgram | None]:
    """The program, verified; None without home prefixes. Raises as :meth:`CompiledText.loaded`."""
    if not prefixes:
        yield None
        return
    with CompiledText(specialisation, HOME_LINK_PROGRAM_NAME, cache=cache).loaded(HOME_LINK_PROGRAM_NAME) as program:
        yield program


@contextmanager
def home_link_served(
    pin_path: Path,
    prefixes: Sequence[IPv6Network],
    program: CompiledProgram | None,
    *,
    directory: Path,
    before: Path,
    narrowest: int,
) -> Iterator[HomeLink | None]:
    """Has the home link served for the length of the block and after it; as it was before if the block raises.

    Args:
        pin_path: the home agent's.
        prefixes: its home prefixes; none: there is no home link, and one that is there goes once the block is done.
        program: see :func:`home_link_compiled`.
        directory: where the program is going to be pinned.
        before: where the one is pinned that serves the home link now.
        narrowest: the smallest MTU of the interfaces served.

    Raises:
        DatapathError: see :func:`datapath.home_link.set_up`.
    """
    if program is None:
        yield None
        home_link.tear_down(pin_path)
        (directory / HOME_LINK_PROGRAM_NAME).unlink(missing_ok=True)
        return
    link_before = home_link.find(pin_path)

    def put_back() -> None:
        _put_back(link_before, before / HOME_LINK_PROGRAM_NAME, pin_path)

    with replaced(directory, {HOME_LINK_PROGRAM_NAME: program.descriptor}, put_back):
        yield home_link.set_up(program.descriptor, prefixes, pin_path, narrowest)


def _put_back(before: HomeLink | None, pin: Path, pin_path: Path) -> None:
    if before is None:
        home_link.tear_down(pin_path)
        return
    with opened(pin) as descriptor:
        home_link.set_up(descriptor, before.prefixes, pin_path, before.mtu + home_link.ROUTING_HEADER_SIZE)
