"""Nanoseconds for the frames that the data path refuses, or leaves to the kernel as they are.

The kernel does not restore a frame between the runs of one BPF_PROG_TEST_RUN: for these nothing has to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab.errors import LabError
from bench.packet_rates.corpus import CORPUS, addresses
from datapath.bindings import BindingMap
from datapath.bpf_syscall import program_test_run
from datapath.counters import Counters
from datapath.reasons import Reason

_BINDINGS = {addresses.HOME: addresses.CARE_OF, addresses.OTHER_HOME: addresses.OTHER_CARE_OF}


@dataclass(slots=True)
class CorpusTimes:
    """What the frames of one name become, and nanoseconds for each."""

    reason: Reason
    ns: list[float] = field(default_factory=list)


def measure_corpus(
    pin_path: Path,
    program: int,
    counters: Counters,
    interface: int,
    rounds: int,
    repeat: int,
    on_round: Callable[[int], None],
) -> dict[str, CorpusTimes]:
    """Times every frame of the corpus that stays as it is, after all of them went where the tests say they go.

    Raises:
        LabError: one of them went elsewhere.
    """
    with BindingMap.open(pin_path) as bindings:
        present = bindings.entries()
        for home_address, care_of_address in _BINDINGS.items():
            bindings.install(home_address, care_of_address, addresses.HOME_AGENT)
        try:
            times = {name: CorpusTimes(sample.reason) for name, sample in CORPUS.items()}
            for name in list(times):
                if not _stays_as_it_is(name, program, counters, interface):
                    del times[name]
            for number in range(rounds):
                for name, of_name in times.items():
                    result = program_test_run(program, CORPUS[name].frame, interface=interface, repeat=repeat)
                    of_name.ns.append(float(result.duration_ns))
                on_round(number + 1)
        finally:
            bindings.remove_many(_BINDINGS.keys() - present.keys())
    return times


def _stays_as_it_is(name: str, program: int, counters: Counters, interface: int) -> bool:
    sample = CORPUS[name]
    before = counters.read()
    result = program_test_run(program, sample.frame, interface=interface)
    after = counters.read()
    changed = [reason for reason in Reason if after[reason] != before[reason]]
    if changed != [sample.reason]:
        raise LabError(f"{name}: {', '.join(reason.name for reason in changed)}, not {sample.reason.name}")
    return result.frame == sample.frame
