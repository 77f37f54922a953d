"""One run of the bench: a data path of its own for each number of bindings, measured and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab.entering import inside
from bench.lab.errors import LabError
from bench.lab.laboratory import Laboratory
from bench.packet_rates import frames, network
from bench.packet_rates.changes import ChangesUnderTraffic, measure_changes
from bench.packet_rates.corpus import addresses
from bench.packet_rates.corpus_runs import CorpusTimes, measure_corpus
from bench.packet_rates.installs import InstallTimes, bytes_per_binding, measure_installs
from bench.packet_rates.live import Burst, LiveFrames
from bench.packet_rates.options import RateOptions
from bench.packet_rates.programs import MeasuringPrograms
from bench.packet_rates.samples import Samples
from bench.packet_rates.test_runs import TestRuns, cases
from bench.packet_rates.visibility import Visibility, measure_visibility
from bench.rehearsal.machine import calibration_ms
from bench.rehearsal.progress import Reporter
from datapath.bindings import BindingMap
from datapath.bpf_syscall import object_get
from datapath.counters import Counters
from datapath.layout import PROGRAM_NAME, pin_directory
from datapath.netlink import interface_state
from datapath.route_control import RouteControl
from datapath.unload import unload

LEAST_INSTALLED = 1_000
"""Numbers of bindings from here on are installed and removed against the clock."""

_PERMISSION_S = 3600.0
_CORPUS_ROUNDS = 11


@dataclass(slots=True)
class PopulationMeasurements:
    """What was measured at one number of bindings; test runs and bursts by case."""

    load_s: float
    load_again_s: float
    instructions: int
    modes: list[str]
    bytes_per_binding: float
    installs: InstallTimes | None
    test_runs: dict[str, Samples]
    bursts: dict[str, list[Burst]]
    visibility: Visibility
    changes: ChangesUnderTraffic | None


@dataclass(slots=True)
class Measurements:
    """What one run measured, by number of bindings; the frames of the corpus; the calibration loop before and after."""

    populations: dict[int, PopulationMeasurements] = field(default_factory=dict)
    corpus: dict[str, CorpusTimes] = field(default_factory=dict)
    calibration_ms: tuple[float, float] = (0.0, 0.0)


def measure(options: RateOptions, reporter: Reporter) -> Measurements:
    """Measures everything in a namespace of its own; needs root.

    Raises:
        LabError: a step failed, or a packet took another way than the one that is measured.
        DatapathError: the data path cannot be loaded.
    """
    result = Measurements()
    before = calibration_ms()
    allowed = os.sched_getaffinity(0)
    try:
        with Laboratory("rates") as laboratory, ExitStack() as stack:
            stack.enter_context(inside(network.build(laboratory).name))
            programs = MeasuringPrograms()
            stack.callback(programs.close)
            network.attach_counter(programs.descriptor("count_and_drop"))
            core = max(allowed)
            os.sched_setaffinity(0, {core})
            for population in options.populations:
                step = _Population(options, population, programs, laboratory.pin_path(f"n{population}"), reporter)
                result.populations[population], corpus_times = step.measure(core, sender_core=min(allowed))
                result.corpus = result.corpus or corpus_times
    finally:
        os.sched_setaffinity(0, allowed)
    result.calibration_ms = (before, calibration_ms())
    return result


class _Population:
    """The measurements at one number of bindings."""

    def __init__(
        self, options: RateOptions, number: int, programs: MeasuringPrograms, pin_path: Path, reporter: Reporter
    ) -> None:
        self._options = options
        self._number = number
        self._programs = programs
        self._pin_path = pin_path
        self._reporter = reporter

    def measure(self, core: int, sender_core: int) -> tuple[PopulationMeasurements, dict[str, CorpusTimes]]:
        """Loads, installs, measures, unloads."""
        load = self._load()
        try:
            installs = self._install()
            memory = bytes_per_binding(self._pin_path)
            with ExitStack() as stack:
                program = object_get(pin_directory(self._pin_path) / PROGRAM_NAME)
                stack.callback(os.close, program)
                counters = Counters.open(self._pin_path)
                stack.callback(counters.close)
                self._programs.set_under_test(program)
                routes = RouteControl.open(self._pin_path)  # as the daemon does, which renews it
                stack.callback(routes.close)
                routes.begin_generation()
                routes.permit(time.monotonic(), _PERMISSION_S)
                corpus_times = self._corpus(program, counters)
                test_runs = self._test_runs(counters)
                bursts = self._bursts(counters, core)
                visibility = self._visibility(sender_core)
                changes = self._changes(sender_core)
        finally:
            unload(self._pin_path)
        measured = PopulationMeasurements(*load, memory, installs, test_runs, bursts, visibility, changes)
        return measured, corpus_times

    def _load(self) -> tuple[float, float, int, list[str]]:
        self._phase("load", 1)
        arguments = [str(self._pin_path), str(self._options.capacity(self._number)), network.INGRESS, network.EGRESS]
        agents = f"{frames.HOME_AGENT},{addresses.HOME_AGENT},{addresses.OTHER_HOME_AGENT}"
        command = [sys.executable, "-m", "bench.packet_rates.load_once", agents, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"the data path cannot be loaded: {done.stderr.strip()[-2000:]}")
        report = json.loads(done.stdout)
        self._reporter.advance(1)
        return report["load_s"], report["load_again_s"], report["instructions"], report["modes"]

    def _install(self) -> InstallTimes | None:
        repetitions = self._options.installs if self._number >= LEAST_INSTALLED else 0
        self._phase("install", repetitions + 1)
        tunnels = frames.tunnels(self._number)
        times = measure_installs(self._pin_path, tunnels, repetitions, self._reporter.advance)
        with BindingMap.open(self._pin_path) as bindings:
            bindings.install_many(tunnels)
        self._reporter.advance(repetitions + 1)
        return times if repetitions else None

    def _corpus(self, program: int, counters: Counters) -> dict[str, CorpusTimes]:
        """With the first number of bindings only: they are few of them that are found."""
        if self._number != self._options.populations[0]:
            return {}
        rounds = min(self._options.rounds, _CORPUS_ROUNDS)
        self._phase("other frames", rounds)
        interface = interface_state(network.INGRESS).index
        repeat = self._options.repeat
        return measure_corpus(self._pin_path, program, counters, interface, rounds, repeat, self._reporter.advance)

    def _test_runs(self, counters: Counters) -> dict[str, Samples]:
        self._phase("test runs", self._options.rounds)
        runs = TestRuns(self._programs, counters, interface_state(network.INGRESS).index, self._options.repeat)
        return runs.measure(cases(self._number), self._options.rounds, self._reporter.advance)

    def _bursts(self, counters: Counters, core: int) -> dict[str, list[Burst]]:
        self._phase("live frames", self._options.live_rounds)
        live = LiveFrames(self._programs, counters, core)
        return live.measure(self._number, self._options.live_rounds, self._options.live_frames, self._reporter.advance)

    def _visibility(self, sender_core: int) -> Visibility:
        self._phase("changes", self._options.changes)
        interface = interface_state(network.INGRESS).index
        return measure_visibility(
            self._pin_path, self._programs, interface, self._options.changes, sender_core, self._reporter.advance
        )

    def _changes(self, sender_core: int) -> ChangesUnderTraffic | None:
        if self._number < LEAST_INSTALLED:
            return None
        self._phase("changes under traffic", 4)
        interface = interface_state(network.INGRESS).index
        return measure_changes(
            self._pin_path, self._programs, interface, self._number, sender_core, self._reporter.advance
        )

    def _phase(self, name: str, total: int) -> None:
        self._reporter.phase(f"{self._number:,}: {name}", total)
