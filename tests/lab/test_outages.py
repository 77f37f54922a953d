from __future__ import annotations

import pytest

from bench.lab.outages import OutageTracker, percentile


def test_outage_ends_with_the_first_probe_sent_after_the_mark() -> None:
    tracker = OutageTracker(1, gap_threshold_s=0.25)
    tracker.sent(0)
    assert not tracker.reply(0, sent_at=1.0, now=1.001)
    tracker.sent(0)
    tracker.mark(1.1)
    assert not tracker.reply(0, sent_at=1.05, now=1.2), "was under way when the failure happened"
    assert tracker.outages() == {0: None}
    assert tracker.reply(0, sent_at=3.0, now=3.1)
    assert not tracker.reply(0, sent_at=3.2, now=3.3), "only the first"
    assert tracker.outages()[0] == pytest.approx(2.0)
    history = tracker.histories[0]
    assert (history.sent, history.received) == (2, 4)
    assert history.gaps == [(1.2, 3.1)]


def test_without_a_mark_there_is_no_outage() -> None:
    tracker = OutageTracker(2, gap_threshold_s=0.25)
    assert not tracker.reply(1, 1.0, 1.1)
    assert tracker.outages() == {}


def test_a_new_mark_starts_over() -> None:
    tracker = OutageTracker(1, gap_threshold_s=0.25)
    tracker.mark(1.0)
    tracker.reply(0, 1.5, 1.6)
    tracker.mark(2.0)
    assert tracker.outages() == {0: None}


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [([], 0.5, None), ([7.0], 0.99, 7.0), ([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0)],
)
def test_percentile(values: list[float], fraction: float, expected: float | None) -> None:
    assert percentile(values, fraction) == expected


def test_percentile_of_many() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, fraction) for fraction in (0.5, 0.9, 0.99, 1.0)] == [50.0, 90.0, 99.0, 100.0]
