"""Putting programs on the slow path's devices, and taking them back when the rest of a load fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from datapath import attachments, netlink, slow_path
from datapath.attachments import OwnPrograms
from datapath.bpf_syscall import Map, opened
from datapath.compiler import CompiledProgram, CompiledText
from datapath.layout import FRAGMENTATION_PROGRAM_NAME, INDEX, SLOW_PATH_PROGRAM_NAMES
from datapath.netlink import XdpMode
from datapath.program_pins import replaced
from datapath.slow_path import SlowPath


@contextmanager
def slow_path_compiled(text: CompiledText) -> Iterator[Mapping[str, CompiledProgram]]:
    """The programs beside ``home_agent``, verified, by name; raises as :meth:`CompiledText.loaded`."""
    with ExitStack() as compiled:
        yield {name: compiled.enter_context(text.loaded(name)) for name in SLOW_PATH_PROGRAM_NAMES}


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
    state_before = None if ends_before is None else netlink.interface_state(ends_before.exit_index)

    def put_back() -> None:
        if state_before is None:
            slow_path.tear_down(pin_path)
            return
        attachments.restore(state_before, program.descriptor, own)
        with opened(before / FRAGMENTATION_PROGRAM_NAME) as descriptor:
            slow_path.set_up(descriptor, pin_path)

    with replaced(directory, {name: each.descriptor for name, each in programs.items()}, put_back):
        ends = slow_path.set_up(programs[FRAGMENTATION_PROGRAM_NAME].descriptor, pin_path)
        state = netlink.interface_state(ends.exit_index)
        # Generic, because native XDP refuses packets as long as those that come in fragments.
        attachments.attach(state, program.descriptor, XdpMode.GENERIC, own)
        with Map.open(directory / "ports") as ports:
            ports.update(INDEX.pack(slow_path.PORT), INDEX.pack(ends.exit_index))
        yield ends
