"""What the kernel tells of states at their limits and of packets that lack one."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from bench.lab.entering import inside
from control.ipsec.algorithms import AES_128_GCM
from control.ipsec.usage_limits import UsageExpiry, UsageLimits
from datapath.xfrm.event_socket import XfrmEvents
from datapath.xfrm.events import Event, StateExpired, StateMissing
from tests.kernel.ipsec_wire import (
    ACKNOWLEDGEMENT,
    AGENT,
    BINDING_UPDATE,
    HOME,
    STRANGER,
    UNKNOWN,
    Wire,
    mobility_header,
)
from tests.kernel.network import run

pytestmark = pytest.mark.kernel

TWO_AND_FOUR = UsageLimits(2, 4, 2**40, 2**41)


@pytest.fixture
def wire(wire: Wire) -> Iterator[Wire]:
    yield wire
    wire.disconnect()
    with inside("agent"):
        run("ip xfrm state flush")  # what packets that lacked a state have left
    wire.ipsec.statistics.clear()


@pytest.fixture
def events(wire: Wire) -> Iterator[XfrmEvents]:
    with inside("agent"):
        opened = XfrmEvents()
    yield opened
    opened.close()


def told(events: XfrmEvents) -> list[Event]:
    assert select.select([events], [], [], 10)[0], "the kernel tells nothing"
    return events.receive()


def receive(wire: Wire, number: int) -> None:
    wire.send_esp(wire.protected(BINDING_UPDATE, number))
    assert wire.receive()[1] == number


def test_limits_of_packets_are_told_and_then_nothing_is_opened_any_more(wire: Wire, events: XfrmEvents) -> None:
    spi = wire.connect(AES_128_GCM, TWO_AND_FOUR)
    for number in range(2):
        receive(wire, number)
    assert events.receive() == []
    receive(wire, 2)  # the kernel looks before it counts
    assert told(events) == [StateExpired(AGENT, spi, hard=False)]
    receive(wire, 3)
    before = wire.counter("XfrmInStateExpired")
    wire.send_esp(wire.protected(BINDING_UPDATE, 4))
    wire.clear[STRANGER].sendto(mobility_header(STRANGER, AGENT, UNKNOWN, 99), (str(AGENT), 0))
    assert wire.receive() == (UNKNOWN, 99, STRANGER, None)
    assert wire.counter("XfrmInStateExpired") == before + 1
    (hard,) = told(events)
    assert hard == StateExpired(AGENT, spi, hard=True)
    wire.ipsec.handle_event(hard)
    assert wire.ipsec.usage_expiries() == [UsageExpiry(spi, hard=True)]
    assert [state.destination for state in wire.channel.states()] == [HOME]


def test_an_outbound_state_that_is_used_up_leaves_packets_without_one(wire: Wire, events: XfrmEvents) -> None:
    spi = wire.connect(AES_128_GCM, TWO_AND_FOUR)
    ((_, outbound),) = wire.ipsec.list()
    for number in range(4):
        wire.mobility.sendto(mobility_header(AGENT, HOME, ACKNOWLEDGEMENT, number), (str(HOME), 0))
        assert wire.esp.recvmsg(2000)[0]
    assert told(events) == [StateExpired(HOME, outbound.spi, hard=False)]
    found: list[Event] = []
    while StateMissing not in map(type, found):
        # The state goes a moment after the packet that was one too many; one is asked for with the next.
        with contextlib.suppress(OSError):
            wire.mobility.sendto(mobility_header(AGENT, HOME, ACKNOWLEDGEMENT, 9), (str(HOME), 0))
        found += told(events)
    assert found[0] == StateExpired(HOME, outbound.spi, hard=True)
    assert isinstance(found[1], StateMissing)
    assert found[1].destination == HOME
    assert found[1].selector is not None
    assert (found[1].selector.source, found[1].selector.protocol) == (AGENT, 135)
    for event in found:
        wire.ipsec.handle_event(event)
    assert wire.ipsec.statistics == {"usage-exceeded": 1, "xfrm-acquire": len(found) - 1}
    assert wire.ipsec.usage_expiries() == [UsageExpiry(spi, hard=True)]


def test_events_that_do_not_fit_are_missed_and_made_up_for(wire: Wire, events: XfrmEvents) -> None:
    events._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)  # the kernel's least
    spis = []
    for _ in range(12):
        spis.append(wire.connect(AES_128_GCM, TWO_AND_FOUR))
        for number in range(3):
            receive(wire, number)
    seen = told(events)
    assert events.lost
    assert len(seen) < len(spis)
    wire.ipsec.resynchronise()
    assert [expiry.inbound_spi for expiry in wire.ipsec.usage_expiries()] == spis
    events.lost = False
    receive(wire, 3)
    assert not events.lost
