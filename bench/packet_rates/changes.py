"""Installing, changing and removing all bindings while another core sends packets to all of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab.errors import LabError
from bench.packet_rates import frames
from bench.packet_rates.programs import MeasuringPrograms, Tally
from datapath.bindings import BindingMap

STAYING_SHARE = 1 / 32
"""Of the bindings, so many more are changed and never removed; maps have room for them."""
_PACKETS_PER_CALL = 20_000
"""Some milliseconds', so that it is known well how many a phase had."""
_BEFORE_S = 0.5
_PATIENCE_S = 60.0
_PAUSE_S = 0.001


@dataclass(frozen=True, slots=True)
class Phase:
    """What was done to how many bindings, in how many seconds, and million packets per second of CPU time meanwhile."""

    bindings: int
    seconds: float
    mpps: float


@dataclass(slots=True)
class ChangesUnderTraffic:
    """Million packets per second while nothing changes, the phases by name, and what became of all packets."""

    before_mpps: float
    phases: dict[str, Phase] = field(default_factory=dict)
    tally: Tally = field(default_factory=lambda: Tally(0, 0, 0, 0, 0))


Calls = list[tuple[float, float, float]]
"""When each began and ended, and the seconds of CPU time it took."""


def measure_changes(
    pin_path: Path,
    programs: MeasuringPrograms,
    interface: int,
    population: int,
    sender_core: int,
    on_phase: Callable[[int], None],
) -> ChangesUnderTraffic:
    """Changes, removes and installs `population` bindings, which are there before and in the end.

    Raises:
        LabError: a packet went to a wrong care-of address, or none although its binding was never removed.
    """
    staying = max(1, round(population * STAYING_SHARE))
    first = frames.tunnels(population + staying)
    second = frames.tunnels(population + staying, prefix=frames.CARE_OF_AFTER_CHANGE)
    going = frames.tunnels(population, first=staying)
    times: dict[str, tuple[float, float]] = {}
    with BindingMap.open(pin_path) as bindings:
        bindings.install_many(first)
        programs.judge_from(len(first), staying)
        steps: Mapping[str, Callable[[], object]] = {
            "before": lambda: time.sleep(_BEFORE_S),
            "change": lambda: bindings.install_many(second),
            "remove": lambda: bindings.remove_many(going),
            "install": lambda: bindings.install_many(going),
        }
        with _sending(programs, interface, sender_core) as calls:
            for number, (name, step) in enumerate(steps.items()):
                began = time.monotonic()
                step()
                times[name] = (began, time.monotonic())
                _wait_for_packets(programs, population)
                on_phase(number + 1)
        bindings.install_many(first)
        bindings.remove_many(map(frames.home_address, range(population, population + staying)))
    tally = programs.tally()
    if tally.lost or tally.astray:
        raise LabError(
            f"{tally.lost} packets were lost though their binding stayed, {tally.astray} went to a wrong address, of "
            f"{tally.packets} while bindings were changed"
        )
    touched = {"change": len(second), "remove": len(going), "install": len(going)}
    return ChangesUnderTraffic(
        before_mpps=_rate(calls, *times["before"]),
        phases={
            name: Phase(number, times[name][1] - times[name][0], _rate(calls, *times[name]))
            for name, number in touched.items()
        },
        tally=tally,
    )


def _wait_for_packets(programs: MeasuringPrograms, number: int) -> None:
    """Until so many more have seen the bindings as they are now."""
    enough = programs.tally().packets + number
    deadline = time.monotonic() + _PATIENCE_S
    while programs.tally().packets < enough:
        if time.monotonic() > deadline:
            raise LabError("packets are no longer sent")
        time.sleep(_PAUSE_S)


@contextmanager
def _sending(programs: MeasuringPrograms, interface: int, core: int) -> Iterator[Calls]:
    """Has another process send; when each of its calls began and ended is known after the block."""
    calls: Calls = []
    descriptor = programs.descriptor("judge_encapsulation")
    arguments = [str(each) for each in (descriptor, interface, core, frames.PLAIN_SIZE, _PACKETS_PER_CALL)]
    command = [sys.executable, "-m", "bench.packet_rates.sender", *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[descriptor]
    ) as process:
        try:
            if process.stdout is None or process.stdout.readline() != "sending\n":
                raise LabError("no packets could be sent")
            yield calls
            said, _ = process.communicate()
            calls += json.loads(said)
        finally:
            process.kill()


def _rate(calls: Calls, began: float, ended: float) -> float:
    """Million packets per second of CPU time between two moments; of a call that was under way, its share."""
    shares = [(max(0.0, min(end, ended) - max(start, began)) / (end - start), used) for start, end, used in calls]
    cpu_s = sum(share * used for share, used in shares)
    return sum(share for share, _ in shares) * _PACKETS_PER_CALL / cpu_s / 1e6 if cpu_s else 0.0
