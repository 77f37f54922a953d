"""Lateness counts where the process itself has kept the processor busy."""

from __future__ import annotations

import time

from control.daemon.lateness import OwnLateness


def test_who_worked_was_late_by_itself_and_who_waited_was_not():
    now, cpu = [100.0], [7.0]
    lateness = OwnLateness(lambda: now[0], lambda: cpu[0])
    told = []
    for passed_s, worked_s in ((0.2, 0.18), (0.2, 0.02), (0.2, 0.0), (0.05, 0.05)):
        now[0] += passed_s
        cpu[0] += worked_s
        told.append(lateness.of(0.15))
    assert told == [0.15, 0.0, 0.0, 0.15]


def test_the_processor_s_own_clock_tells_sleep_from_work():
    lateness = OwnLateness(time.monotonic)
    time.sleep(0.2)
    assert lateness.of(1.0) == 0.0
    end = time.process_time() + 0.05
    lateness = OwnLateness(time.process_time)
    while time.process_time() < end:
        pass
    assert lateness.of(1.0) == 1.0
