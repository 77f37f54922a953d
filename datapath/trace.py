"""What the loaded program makes of a frame, found out by running it on the frame: nothing is sent or received.

The kernel runs the program as if the frame came in (BPF_PROG_TEST_RUN), with the maps in force, so the frame is counted
like any other, and takes its share of the limits on errors and on strangers.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from datapath import netlink
from datapath.attachments import read_rows
from datapath.bpf_syscall import Map, TestRun, object_get, program_test_run
from datapath.errors import DatapathError, InterfaceMissing
from datapath.layout import INDEX, PROGRAM_NAME, pin_directory
from datapath.reasons import Reason, Verdict

SHORTEST_FRAME, LONGEST_FRAME = 14, 3_400
"""Bytes. The kernel runs a program on no shorter frame, nor on one that does not fit a page beside its own data."""

_TRIES = 20
_SOURCE = slice(6, 12)


class UntraceableFrame(DatapathError):
    """A frame that the kernel does not run the program on."""

    reason = "untraceable-frame"


@dataclass(frozen=True, slots=True)
class Trace:
    """What became of a frame.

    Attributes:
        verdict: what the kernel would do with it; None if the program failed, which it must not.
        reasons: why: one, or several if live traffic was counted in the same moments, every time it was tried.
        frame: as the program left it; for FORWARD and REPLY what would be sent.
        leaves_by: the interface it would leave by, known by its link-layer address; None if it stays or that is not
            unique.
    """

    verdict: Verdict | None
    reasons: tuple[Reason, ...]
    frame: bytes
    leaves_by: str | None


class Tracer:
    """The loaded program, for frames of one interface. Close it."""

    def __init__(self, pin_path: Path, interface: str | None = None) -> None:
        """Opens what is pinned.

        Args:
            pin_path: where.
            interface: frames are to look as if they came in by it; None for the first one that is served.

        Raises:
            NotLoaded: nothing is pinned there.
            InterfaceMissing: the program serves no such interface, or it is not in this network namespace.
        """
        directory = pin_directory(pin_path)
        with Map.open(directory / "attachments") as rows:
            served = [row.name for row in read_rows(rows)]
        if not served or (interface is not None and interface not in served):
            raise InterfaceMissing(
                f"The program serves no interface {interface}: choose one of {', '.join(served) or 'none'}."
            )
        self.interface = interface or served[0]
        self._links = {name: netlink.interface_state(name) for name in served}
        with ExitStack() as stack:
            self._program = object_get(directory / PROGRAM_NAME)
            stack.callback(os.close, self._program)
            self._stats = stack.enter_context(Map.open(directory / "stats"))
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Closes program and counters."""
        self._stack.close()

    def run(self, frame: bytes) -> Trace:
        """Runs the program on an Ethernet frame, without frame check sequence.

        Raises:
            UntraceableFrame: it is too short or too long.
        """
        if not SHORTEST_FRAME <= len(frame) <= LONGEST_FRAME:
            raise UntraceableFrame(
                f"A frame of {len(frame)} bytes cannot be traced: it has to have {SHORTEST_FRAME} to {LONGEST_FRAME}, "
                "from the Ethernet header on."
            )
        with _one_processor() as processor:
            result, grown = self._run_once(frame, processor)
            for _ in range(_TRIES - 1):
                if list(grown.values()) == [1]:
                    break
                result, grown = self._run_once(frame, processor)
        verdict = _VERDICTS.get(result.verdict)
        reasons = tuple(reason for reason in grown if reason.verdict is verdict)
        leaves_by = self._leaves_by(result.frame) if verdict is Verdict.FORWARD else None
        if verdict is Verdict.REPLY:
            leaves_by = self.interface
        return Trace(verdict, reasons, result.frame, leaves_by)

    def _run_once(self, frame: bytes, processor: int) -> tuple[TestRun, dict[Reason, int]]:
        before = self._counts(processor)
        result = program_test_run(self._program, frame, interface=self._links[self.interface].index)
        after = self._counts(processor)
        return result, {reason: after[reason] - before[reason] for reason in Reason if after[reason] != before[reason]}

    def _counts(self, processor: int) -> dict[Reason, int]:
        counts = {}
        for reason in Reason:
            value = self._stats.lookup(INDEX.pack(reason)) or bytes(8 * (processor + 1))
            (counts[reason],) = struct.unpack_from("=Q", value, 8 * processor)
        return counts

    def _leaves_by(self, frame: bytes) -> str | None:
        found = [link.name for link in self._links.values() if link.link_address == frame[_SOURCE]]
        return found[0] if len(found) == 1 else None


_VERDICTS = {1: Verdict.DROP, 2: Verdict.PASS, 3: Verdict.REPLY, 4: Verdict.FORWARD}
"""By the numbers of ``enum xdp_action``; without XDP_ABORTED."""


@contextmanager
def _one_processor() -> Iterator[int]:
    """This thread stays on one processor, whose counters the kernel then uses."""
    allowed = os.sched_getaffinity(0)
    processor = min(allowed)
    os.sched_setaffinity(0, {processor})
    try:
        yield processor
    finally:
        os.sched_setaffinity(0, allowed)
