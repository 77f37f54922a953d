"""Putting programs on the slow path's devices, and taking them back when the rest of a load fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from datapath import attachments, netlink, slow_path
from datapath.attachments import OwnPrograms
from datapath.bpf_syscall import Map, object_pin, opened
from datapath.compiler import CompiledProgram, compile_program
from datapath.errors import DatapathError
from datapath.layout import FRAGMENTATION_PROGRAM_NAME, INDEX, SLOW_PATH_PROGRAM_NAMES
from datapath.netlink import InterfaceState, XdpMode
from datapath.slow_path import SlowPath
from datapath.specialisation import Specialisation


@contextmanager
def slow_path_compiled(specialisation: Specialisation, cache: Path) -> Iterator[Mapping[str, CompiledProgram]]:
    """The programs beside ``home_agent``, verified, by name; raises as :func:`datapath.compiler.compile_program`."""
    with ExitStack() as compiled:
        yield {
            name: compiled.enter_context(compile_program(specialisation, name, cache=cache))
            for name in SLOW_PATH_PROGRAM_NAMES
        }


@contextmanager
def slow_path_served(
    pin_path: Path,
    program: CompiledProgram,
    own: OwnPrograms,
    programs: Mapping[str, CompiledProgram],
    *,
    directory: Path,
    before: Path,
) -> Iterator[SlowPath]:
    """Has the slow path served for the length of the block and after it; as it was before if the block raises.

    Args:
        pin_path: the home agent's.
        program: its program ``home_agent``, which goes to the exit.
        own: the programs that may be there.
        programs: see :func:`slow_path_compiled`.
        directory: where the programs are going to be pinned.
        before: where those are pinned that serve the slow path now.

    Raises:
        DatapathError: see :func:`datapath.slow_path.set_up`.
    """
    ends_before = slow_path.find(pin_path)
    following = {name: directory / f"{name}_next" for name in programs}
    state: InterfaceState | None = None
    try:
        for name, path in following.items():
            path.unlink(missing_ok=True)
            object_pin(programs[name].descriptor, path)
        ends = slow_path.set_up(programs[FRAGMENTATION_PROGRAM_NAME].descriptor, pin_path)
        state = netlink.interface_state(ends.exit_index)
        # Generic, because native XDP refuses packets as long as those that come in fragments.
        attachments.attach(state, program.descriptor, XdpMode.GENERIC, own)
        with Map.open(directory / "ports") as ports:
            ports.update(INDEX.pack(slow_path.PORT), INDEX.pack(ends.exit_index))
        yield ends
    except BaseException:
        for path in following.values():
            path.unlink(missing_ok=True)
        with contextlib.suppress(DatapathError):  # what went wrong first is what the operator needs to know
            _put_back(ends_before, state, program.descriptor, own, before, pin_path)
        raise
    for name, path in following.items():
        path.rename(directory / name)


def _put_back(
    ends_before: SlowPath | None,
    state: InterfaceState | None,
    program: int,
    own: OwnPrograms,
    before: Path,
    pin_path: Path,
) -> None:
    if ends_before is None:
        slow_path.tear_down(pin_path)
        return
    if state is not None:
        attachments.restore(state, program, own)
    with opened(before / FRAGMENTATION_PROGRAM_NAME) as descriptor:
        slow_path.set_up(descriptor, pin_path)
