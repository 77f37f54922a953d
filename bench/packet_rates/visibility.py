"""How long after a binding is changed the first packet follows it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab.errors import LabError
from bench.packet_rates import frames
from bench.packet_rates.programs import MeasuringPrograms
from datapath.bindings import BindingMap
from datapath.bpf_syscall import program_test_run

_PACKETS_PER_CALL = 2_000_000
"""About half a second's: between two calls no packet moves for some milliseconds."""
_PATIENCE_S = 2.0
_PAUSE_S = 0.0005


@dataclass(slots=True)
class Visibility:
    """Microseconds of each change: until a packet showed it, and until the call that made it was back."""

    seen_us: list[float] = field(default_factory=list)
    call_us: list[float] = field(default_factory=list)


def measure_visibility(
    pin_path: Path,
    programs: MeasuringPrograms,
    interface: int,
    changes: int,
    sender_core: int,
    on_change: Callable[[int], None],
) -> Visibility:
    """Changes one binding `changes` times while another thread sends packets to it on the core `sender_core`.

    The clock starts before `BindingMap.install` and stops when the driver finds the new care-of address in the frame
    that the program under test has just made.
    """
    programs.draw_from(1)
    result = Visibility()
    stop, failed = threading.Event(), threading.Event()

    def send() -> None:
        descriptor = programs.descriptor("watch_encapsulation")
        frame = bytes(frames.TUNNELLED_SIZE)
        try:
            os.sched_setaffinity(0, {sender_core})  # of this thread
            while not stop.is_set():
                program_test_run(descriptor, frame, interface=interface, repeat=_PACKETS_PER_CALL)
        except Exception:
            failed.set()
            raise

    sender = threading.Thread(target=send, name="packets")
    sender.start()
    try:
        with BindingMap.open(pin_path) as bindings:
            for number in range(changes):
                _change_once(bindings, programs, number, result, failed)
                on_change(number + 1)
            first = frames.tunnel(0)
            bindings.install(frames.home_address(0), first.care_of_address, first.home_agent_address)
    finally:
        stop.set()
        sender.join()
    return result


def _change_once(
    bindings: BindingMap, programs: MeasuringPrograms, number: int, result: Visibility, failed: threading.Event
) -> None:
    care_of = frames.CARE_OF_AFTER_CHANGE[number + 2]
    started = time.monotonic_ns()
    bindings.install(frames.home_address(0), care_of, frames.HOME_AGENT)
    returned = time.monotonic_ns()
    while (sighting := programs.sighting()).care_of_low != care_of.packed[8:]:
        if failed.is_set() or time.monotonic_ns() - returned > _PATIENCE_S * 1e9:
            raise LabError("no packet ever followed the changed binding")
        time.sleep(_PAUSE_S)
    result.seen_us.append((sighting.seen_at_ns - started) / 1e3)
    result.call_us.append((returned - started) / 1e3)
