"""Nanoseconds per packet by BPF_PROG_TEST_RUN, cases interleaved, each beside a run of the floor."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.lab.errors import LabError
from bench.packet_rates import frames
from bench.packet_rates.programs import MeasuringPrograms
from bench.packet_rates.samples import Samples
from datapath.bpf_syscall import program_test_run
from datapath.counters import Counters
from datapath.reasons import Reason

FLOOR = "adjust_write"
_XDP_PASS, _XDP_REDIRECT = 2, 4


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to measure.

    Attributes:
        name: its name in the result.
        program: the program of packet_rates.c that is run.
        frame: what the first run gets; the program writes every frame itself.
        bindings: keys are drawn from so many.
        reason: what every packet must have become, None if the data path is not in it.
    """

    name: str
    program: str
    frame: bytes
    bindings: int
    reason: Reason | None


def cases(population: int) -> list[Case]:
    """All cases at one number of bindings."""
    sent, tunnelled = bytes(frames.TUNNELLED_SIZE), bytes(frames.PLAIN_SIZE)
    into, out_of = Reason.FORWARD_ENCAPSULATED, Reason.FORWARD_DECAPSULATED
    result = [
        Case("empty", "empty", tunnelled, 1, None),
        Case("driver_encap", "encapsulation_driver", sent, population, None),
        Case("driver_decap", "decapsulation_driver", tunnelled, population, None),
        Case("driver_encap_dependent", "encapsulation_driver_dependent", sent, population, None),
        Case("driver_decap_dependent", "decapsulation_driver_dependent", tunnelled, population, None),
        Case("encap", "encapsulation", sent, population, into),
        Case("decap", "decapsulation", tunnelled, population, out_of),
        Case("encap_dependent", "encapsulation_dependent", sent, population, into),
        Case("decap_dependent", "decapsulation_dependent", tunnelled, population, out_of),
    ]
    if population > 1:
        result.append(Case("encap_hot", "encapsulation", sent, 1, into))
        result.append(Case("decap_hot", "decapsulation", tunnelled, 1, out_of))
    return result


class TestRuns:
    """Runs cases against one loaded data path; raises LabError if a packet took another way than it should."""

    __test__ = False  # for pytest, which takes the name for a test's

    def __init__(self, programs: MeasuringPrograms, counters: Counters, interface: int, repeat: int) -> None:
        self._programs = programs
        self._counters = counters
        self._interface = interface
        self._repeat = repeat

    def measure(self, wanted: Sequence[Case], rounds: int, on_round: Callable[[int], None]) -> dict[str, Samples]:
        """All cases, `rounds` times in changing order after a round that warms the caches."""
        samples = {case.name: Samples() for case in wanted}
        shuffled = list(wanted)
        order = random.Random(1)
        for number in range(rounds + 1):
            order.shuffle(shuffled)
            for case in shuffled:
                floor = self._run(Case(FLOOR, FLOOR, bytes(frames.PLAIN_SIZE), 1, None))
                value = self._run(case)
                if number:
                    samples[case.name].add(value, floor)
            on_round(number)
        return samples

    def _run(self, case: Case) -> float:
        self._programs.draw_from(case.bindings)
        descriptor = self._programs.descriptor(case.program)
        before = self._counters.read() if case.reason is not None else {}
        result = program_test_run(descriptor, case.frame, interface=self._interface, repeat=self._repeat)
        if result.verdict != (_XDP_PASS if case.reason is None else _XDP_REDIRECT):
            raise LabError(f"{case.name}: the last packet had the verdict {result.verdict}")
        if case.reason is not None:
            counted = self._counters.read()[case.reason] - before[case.reason]
            if counted != self._repeat:
                raise LabError(f"{case.name}: {counted} of {self._repeat} packets were counted as {case.reason.name}")
        return float(result.duration_ns)
