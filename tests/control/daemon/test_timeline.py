"""The timeline keeps what happened and hands it on."""

from __future__ import annotations

import asyncio

from control.daemon import timeline as timeline_module
from control.daemon.timeline import Timeline
from control.home_agent.events import Happening, TimelineEvent


def test_rows_carry_time_event_node_and_detail():
    timeline = Timeline()
    timeline.add([Happening(TimelineEvent.RECOVERED, "mn1@example.org", {"attempt": 2})], 12.5)
    assert timeline.recent() == [{"time": 12.5, "event": "recovered", "node": "mn1@example.org", "attempt": 2}]


def test_a_follower_gets_what_comes_after_it_began_and_nothing_after_it_left():
    async def follow():
        timeline = Timeline()
        timeline.add([Happening(TimelineEvent.LEASE_ACQUIRED)], 1.0)
        queue = timeline.follow()
        timeline.add([Happening(TimelineEvent.LEASE_LOST)], 2.0)
        timeline.unfollow(queue)
        timeline.add([Happening(TimelineEvent.RECOVERED)], 3.0)
        return [queue.get_nowait()["event"] for _ in range(queue.qsize())]

    assert asyncio.run(follow()) == ["lease-lost"]


def test_a_follower_that_does_not_keep_up_loses_the_oldest(monkeypatch):
    monkeypatch.setattr(timeline_module, "_FOLLOWER_QUEUE", 2)

    async def follow():
        timeline = Timeline()
        queue = timeline.follow()
        timeline.add([Happening(TimelineEvent.RECOVERED, f"mn{index}") for index in range(5)], 1.0)
        return [queue.get_nowait()["node"] for _ in range(queue.qsize())]

    assert asyncio.run(follow()) == ["mn3", "mn4"]
