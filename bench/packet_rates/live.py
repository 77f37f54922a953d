"""Packets per second through veth pairs on one core, with live frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.lab.errors import LabError
from bench.packet_rates import frames, network
from bench.packet_rates.programs import MeasuringPrograms
from datapath.bpf_syscall import run_live_frames
from datapath.counters import Counters
from datapath.netlink import interface_state
from datapath.reasons import Reason

BATCH = 64
_SETTLE_S = 0.01
_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Stream:
    """Frames of one sort, and what must become of them on their way."""

    name: str
    program: str
    interface: str
    frame: bytes
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Burst:
    """What one burst gave: million packets per second of one core's CPU time, and the share that arrived."""

    mpps: float
    share: float


STREAMS = (
    Stream(
        "encap",
        "generate_to_home_addresses",
        network.GENERATOR,
        frames.plain_frame(frames.home_address(0)),
        Reason.FORWARD_ENCAPSULATED,
    ),
    Stream(
        "decap",
        "generate_from_tunnels",
        network.GENERATOR,
        frames.tunnelled_frame(0),
        Reason.FORWARD_DECAPSULATED,
    ),
    Stream(
        "kernel_forward",
        "generate_to_routed_prefix",
        network.KERNEL_GENERATOR,
        frames.plain_frame(frames.ROUTED_PREFIX[1]),
        None,
    ),
    Stream(
        "generate_only",
        "generate_to_home_addresses",
        network.SHORT_GENERATOR,
        frames.plain_frame(frames.home_address(0)),
        None,
    ),
)


class LiveFrames:
    """Sends bursts on this thread's core, where all of the way is then run, too."""

    def __init__(self, programs: MeasuringPrograms, counters: Counters, core: int) -> None:
        self._programs = programs
        self._counters = counters
        self._softirq = _softirq_thread(core)

    def measure(
        self, population: int, rounds: int, number: int, on_round: Callable[[int], None]
    ) -> dict[str, list[Burst]]:
        """`rounds` bursts of `number` frames of every stream, in turns, after one round to warm up."""
        result: dict[str, list[Burst]] = {stream.name: [] for stream in STREAMS}
        for current in range(rounds + 1):
            for stream in STREAMS:
                self._programs.draw_from(population)
                burst = self._burst(stream, number)
                if current:
                    result[stream.name].append(burst)
            on_round(current)
        return result

    def _burst(self, stream: Stream, number: int) -> Burst:
        descriptor = self._programs.descriptor(stream.program)
        interface = interface_state(stream.interface).index
        counted, arrived = self._counters.read(), self._programs.received()
        started = self._cpu_ns()
        run_live_frames(descriptor, stream.frame, interface=interface, repeat=number, batch_size=BATCH)
        used = self._cpu_ns() - started
        arrived = self._settled() - arrived
        if stream.reason is not None:
            handled = self._counters.read()[stream.reason] - counted[stream.reason]
            if not arrived <= handled <= number:
                raise LabError(f"{stream.name}: {arrived} frames arrived and {handled} were {stream.reason.name}")
        if not _LEAST_SHARE * number <= arrived <= number:
            raise LabError(f"{stream.name}: {arrived} of {number} frames arrived")
        return Burst(mpps=arrived * 1e3 / used, share=arrived / number)

    def _settled(self) -> int:
        """Frames received once no more come: the last ones may be left to the core's softirq thread."""
        received = -1
        while (now := self._programs.received()) != received:
            received = now
            time.sleep(_SETTLE_S)
        return received

    def _cpu_ns(self) -> int:
        """CPU time of this thread and of the thread the core leaves surplus network work to."""
        return time.thread_time_ns() + int(self._softirq.read_text().split()[0])


def _softirq_thread(core: int) -> Path:
    processes: Iterable[Path] = Path("/proc").glob("[0-9]*")
    for process in processes:
        try:
            if (process / "comm").read_text().strip() == f"ksoftirqd/{core}":
                return process / "schedstat"
        except OSError:
            continue
    raise LabError(f"the softirq thread of core {core} is not to be seen in /proc")
