"""When the sockets of a home agent are looked at, on a loop that does only what it is told."""

from __future__ import annotations

from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.daemon.packet_loop import PacketLoop

IKE, SIGNALLING = 11, 12


class Pause:
    def __init__(self, action, arguments):
        self.action, self.arguments, self.cancelled = action, arguments, False

    def cancel(self):
        self.cancelled = True


class Loop:
    """Readers and timers by hand, and a clock."""

    def __init__(self):
        self.now = 100.0
        self.readers = {}
        self.pauses = []

    def time(self):
        return self.now

    def add_reader(self, descriptor, callback, *arguments):
        self.readers[descriptor] = lambda: callback(*arguments)

    def remove_reader(self, descriptor):
        return self.readers.pop(descriptor, None) is not None

    def call_later(self, _delay, action, *arguments):
        self.pauses.append(Pause(action, arguments))
        return self.pauses[-1]

    def end_pauses(self):
        pauses, self.pauses = self.pauses, []
        for pause in pauses:
            pause.action(*pause.arguments)


class World:
    """A packet loop between sockets that take a while to be read."""

    def __init__(self):
        self.loop = Loop()
        self.takes_s = 0.0005
        self.takeover = SimpleNamespace(active=False)
        self.sent = 0
        self.steps = []
        part = {"close": lambda: None, "give_esp_to_kernel": lambda: None}
        home_links = SimpleNamespace(open=lambda *_: None, send=lambda: None)
        agent = SimpleNamespace(
            takeover=self.takeover,
            next_timer=lambda: None,
            packets_to_send=lambda: self.steps.append("protect") or ["packet"],
            replace_used_up=lambda _now: self.steps.append("replace"),
        )
        self.packets = PacketLoop(
            agent,
            self.loop,
            lambda: 0.0,
            lambda *_: None,
            lambda _: SimpleNamespace(readers=lambda: {IKE: self._read}, send=self._send, **part),
            lambda _: SimpleNamespace(
                readers=lambda: {SIGNALLING: self._read}, send=self._send, kernel_opens_esp=False, **part
            ),
            home_links,
        )
        self.packets.open(IPv6Address("::1"))

    def _read(self, _now, _wall):
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
    assert world.loop.readers.keys() == {IKE, SIGNALLING}
    assert world.loop.pauses == []


def test_in_a_takeover_packets_are_gathered_at_each_socket_by_itself(world):
    world.takeover.active = True
    world.loop.readers[IKE]()
    assert world.loop.readers.keys() == {SIGNALLING}
    assert world.sent == 2, "what was read has been answered before the pause"
    world.loop.readers[SIGNALLING]()
    assert world.loop.readers == {}
    assert world.sent == 4
    world.loop.end_pauses()
    assert world.loop.readers.keys() == {IKE, SIGNALLING}


def test_when_there_is_much_to_do_there_is_no_pause(world):
    world.takeover.active = True
    world.takes_s = 0.004
    world.loop.readers[IKE]()
    assert world.loop.readers.keys() == {IKE, SIGNALLING}


def test_what_the_last_packet_has_used_up_is_replaced_by_what_leaves_with_it(world):
    world.packets.flush()
    assert world.steps == ["protect", "replace", ("send",), ("send", ["packet"], 100.0)]


def test_nothing_is_read_after_the_end(world):
    world.takeover.active = True
    world.loop.readers[IKE]()
    (pause,) = world.loop.pauses
    world.packets.close()
    assert pause.cancelled
    assert world.loop.readers == {}
