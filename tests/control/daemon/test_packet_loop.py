"""When the sockets of a home agent are looked at, on a loop that does only what it is told."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.daemon.packet_loop import PacketLoop

IKE, SIGNALLING = 11, 12


class Timer:
    def __init__(self, when, action):
        self.at, self.action, self.cancelled = when, action, False

    def when(self):
        return self.at

    def cancel(self):
        self.cancelled = True


class Loop:
    """Readers and timers by hand, and a clock."""

    def __init__(self):
        self.now = 100.0
        self.readers = {}
        self.timers = []

    def time(self):
        return self.now

    def add_reader(self, descriptor, callback, *arguments):
        self.readers[descriptor] = lambda: callback(*arguments)

    def remove_reader(self, descriptor):
        return self.readers.pop(descriptor, None) is not None

    def call_at(self, when, action):
        self.timers.append(Timer(when, action))
        return self.timers[-1]

    def call_later(self, delay, action):
        return self.call_at(self.now + delay, action)

    @property
    def pending(self):
        return [timer for timer in self.timers if not timer.cancelled]

    def next_timer(self):
        """Let time pass until the next timer, and do what it says."""
        (timer,) = self.pending
        self.timers.remove(timer)
        self.now = max(self.now, timer.at)
        timer.action()


class World:
    """A packet loop between sockets that take a while to be read."""

    def __init__(self):
        self.loop = Loop()
        self.takes_s = 0.0005
        self.takeover = SimpleNamespace(active=False, paused=False)
        self.sent = 0
        self.read = []
        self.due = None
        self.fails = None
        self.steps = []
        part = {"close": lambda: None, "give_esp_to_kernel": lambda: None}
        home_links = SimpleNamespace(open=lambda *_: None, send=lambda: None)
        agent = SimpleNamespace(
            takeover=self.takeover,
            next_timer=lambda: self.due,
            handle_timer=lambda now: self.steps.append(("timer", round(now - 100.0, 4))),
            packets_to_send=lambda: self.steps.append("protect") or ["packet"],
            replace_used_up=lambda _now: self.steps.append("replace"),
        )
        self.packets = PacketLoop(
            agent,
            self.loop,
            lambda: 0.0,
            lambda *_: None,
            lambda _: SimpleNamespace(readers=lambda: {IKE: partial(self._read, IKE)}, send=self._send, **part),
            lambda _: SimpleNamespace(
                readers=lambda: {SIGNALLING: partial(self._read, SIGNALLING)},
                send=self._send,
                kernel_opens_esp=False,
                **part,
            ),
            home_links,
        )
        self.packets.open(IPv6Address("::1"))

    def _read(self, descriptor, _now, _wall):
        if descriptor == self.fails:
            raise ValueError(descriptor)
        self.read.append(descriptor)
        self.loop.now += self.takes_s

    def _send(self, *what):
        self.sent += 1
        self.steps.append(("send", *what))


@pytest.fixture
def world():
    return World()


def test_between_takeovers_everything_is_read_at_once(world):
    for _ in range(3):
        world.loop.readers[IKE]()
    assert world.read == [IKE] * 3
    assert world.loop.readers.keys() == {IKE, SIGNALLING}
    assert world.loop.pending == []


def test_between_takeovers_timers_come_when_they_are_due(world):
    world.due = 100.5
    world.packets.flush()
    world.loop.readers[IKE]()
    world.loop.next_timer()
    assert ("timer", 0.5) in world.steps


def test_a_takeover_goes_in_rounds_over_all_sockets_and_timers(world):
    world.takeover.active = True
    world.packets.flush()
    assert world.loop.readers == {}, "packets that come wait for the round"
    for number in (1, 2):
        world.steps.clear()
        world.loop.next_timer()
        assert world.read == [IKE, SIGNALLING] * number
        assert [step[0] for step in world.steps if isinstance(step, tuple)] == ["timer", "send", "send"]


def test_rounds_follow_each_other_at_once_when_there_is_much_to_do(world):
    world.takeover.active = True
    world.packets.flush()
    world.takes_s = 0.020
    world.loop.next_timer()
    (timer,) = world.loop.pending
    assert timer.when() < world.loop.now


def test_what_is_sent_between_rounds_begins_no_others(world):
    world.takeover.active = True
    for _ in range(3):
        world.packets.flush()
    assert len(world.loop.pending) == 1


def test_rounds_end_with_the_takeover(world):
    world.takeover.active = True
    world.packets.flush()
    world.takeover.active, world.due = False, 105.0
    world.loop.next_timer()
    assert world.loop.readers.keys() == {IKE, SIGNALLING}
    assert [timer.when() for timer in world.loop.pending] == [105.0]


def test_nobody_goes_in_rounds_while_a_takeover_is_held(world):
    world.takeover.active = world.takeover.paused = True
    world.packets.flush()
    assert world.loop.readers.keys() == {IKE, SIGNALLING}
    assert world.loop.pending == []


def test_a_socket_that_cannot_be_dealt_with_stops_neither_the_others_nor_the_rounds(world, caplog):
    world.takeover.active = True
    world.packets.flush()
    world.fails = IKE
    for _ in range(2):
        world.loop.next_timer()
    assert world.read == [SIGNALLING] * 2
    assert ("timer", 0.0165) in world.steps
    assert [record.message for record in caplog.records] == ["what has arrived could not be dealt with"] * 2


def test_what_the_last_packet_has_used_up_is_replaced_by_what_leaves_with_it(world):
    world.packets.flush()
    assert world.steps == ["protect", "replace", ("send",), ("send", ["packet"], 100.0)]


@pytest.mark.parametrize("active", [False, True])
def test_nothing_is_read_after_the_end(world, active):
    world.takeover.active, world.due = active, 101.0
    world.packets.flush()
    world.packets.close()
    world.packets.flush()
    assert world.loop.pending == []
    assert world.loop.readers == {}
