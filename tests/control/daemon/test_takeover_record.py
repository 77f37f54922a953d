"""The course of a takeover: few samples however long it lasts, its end among them."""

from __future__ import annotations

from control.bootstrap.scheduler import Progress
from control.daemon.takeover_record import TakeoverRecord
from control.home_agent.events import Happening, TimelineEvent


def progress(recovered: int, total: int = 1000) -> Progress:
    return Progress(total, recovered, 0, 4, total - recovered - 4, 4, 8, False, None)


def test_nothing_is_sampled_before_a_takeover() -> None:
    record = TakeoverRecord()
    record.sample(progress(0), 100.0)
    assert record.history == ()
    assert (record.started_at, record.finished_at) == (0.0, 0.0)


def test_samples_are_bounded_and_span_the_whole_takeover() -> None:
    record = TakeoverRecord(samples=16)
    record.begin(100.0)
    for tick in range(1, 1001):
        record.sample(progress(tick), 100.0 + tick * 0.05)
        assert len(record.history) <= 16
    record.happened([Happening(TimelineEvent.TAKEOVER_FINISHED)], lambda: progress(1000), 151.0)
    history = record.history
    assert (history[0].at, history[0].recovered) == (100.0, 0)
    assert (history[-1].at, history[-1].recovered) == (151.0, 1000)
    assert record.finished_at == 151.0
    assert [sample.at for sample in history] == sorted({sample.at for sample in history})
    assert len(history) > 4


def test_the_next_takeover_begins_anew() -> None:
    record = TakeoverRecord()
    record.begin(100.0)
    record.sample(progress(5), 101.0)
    record.begin(200.0)
    assert [sample.recovered for sample in record.history] == [0]
    assert record.started_at == 200.0


def test_those_given_up_are_counted_by_reason() -> None:
    record = TakeoverRecord()
    given_up = [
        Happening(TimelineEvent.GIVEN_UP, f"mn{number}", {"reason": reason})
        for number, reason in enumerate(("no-answer", "no-answer", "not-authorised"))
    ]
    record.happened([*given_up, Happening(TimelineEvent.RECOVERED, "mn9")], lambda: progress(1), 100.0)
    assert record.given_up == {"no-answer": 2, "not-authorised": 1}
