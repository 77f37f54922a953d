"""Tunnels that move, and SPIs of the kernel's choice."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from bench.lab.entering import inside
from datapath.xfrm.channel import Request, XfrmChannel
from datapath.xfrm.errors import XfrmRefused
from datapath.xfrm.migration import TunnelMove
from datapath.xfrm.numbers import Direction, MessageType, Mode
from datapath.xfrm.policies import Policy
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import Algorithm, State
from tests.kernel.network import run

pytestmark = pytest.mark.kernel

AGENT, CORRESPONDENT, HOME = (IPv6Address(f"2001:db8:a1::{last}") for last in ("1", "c", "17"))
BEFORE, AFTER = IPv6Address("2001:db8:b1::17"), IPv6Address("2001:db8:b2::17")
OUT, IN = Selector(CORRESPONDENT, HOME), Selector(HOME, CORRESPONDENT)
REQID = 4711


@pytest.fixture
def channel() -> Iterator[XfrmChannel]:
    run("ip netns add tunnels")
    try:
        with inside("tunnels"):
            opened = XfrmChannel()
        with opened:
            yield opened
    finally:
        run("ip netns del tunnels")


def state(source: IPv6Address, destination: IPv6Address, spi: int, selector: Selector) -> State:
    key = Algorithm("rfc4106(gcm(aes))", random.Random(spi).randbytes(20), 128)
    return State(source, destination, spi, REQID, selector, 64, aead=key, mode=Mode.TUNNEL)


def begin(channel: XfrmChannel) -> None:
    states = (state(AGENT, BEFORE, 0x1001, OUT), state(BEFORE, AGENT, 0x2001, IN))
    policies = (
        Policy(Direction.OUT, OUT, REQID, 1000, tunnel=(AGENT, BEFORE)),
        Policy(Direction.IN, IN, REQID, 1000, tunnel=(BEFORE, AGENT)),
        Policy(Direction.FWD, IN, REQID, 1000, tunnel=(BEFORE, AGENT)),
    )
    requests = [Request(MessageType.NEWSA, one.to_wire(), "add") for one in states]
    requests += [Request(MessageType.NEWPOLICY, one.to_wire(), "add") for one in policies]
    assert channel.execute(requests) == [None] * 5


def moves(old: IPv6Address, new: IPv6Address) -> list[TunnelMove]:
    return [
        TunnelMove(Direction.OUT, OUT, REQID, (AGENT, old), (AGENT, new)),
        TunnelMove(Direction.IN, IN, REQID, (old, AGENT), (new, AGENT)),
        TunnelMove(Direction.FWD, IN, REQID, (old, AGENT), (new, AGENT)),
    ]


def places(channel: XfrmChannel) -> tuple[set[tuple[IPv6Address, IPv6Address, int]], dict[int, object]]:
    states = {(one.source, one.destination, one.spi) for one in channel.states()}
    return states, {one.direction: one.tunnels for one in channel.policies()}


def test_states_and_policies_of_a_tunnel_move_together(channel: XfrmChannel) -> None:
    begin(channel)
    outcome = channel.migrate(moves(BEFORE, AFTER))
    assert outcome[:2] == [None, None]
    states, tunnels = places(channel)
    assert states == {(AGENT, AFTER, 0x1001), (AFTER, AGENT, 0x2001)}
    inwards = ((AFTER, AGENT),)
    assert tunnels == {Direction.OUT: ((AGENT, AFTER),), Direction.IN: inwards, Direction.FWD: inwards}
    assert outcome[2] is None
    assert channel.migrate(moves(AFTER, BEFORE)) == [None] * 3
    assert places(channel)[0] == {(AGENT, BEFORE, 0x1001), (BEFORE, AGENT, 0x2001)}


def test_what_is_not_there_does_not_move(channel: XfrmChannel) -> None:
    refusals = channel.migrate(moves(BEFORE, AFTER))
    assert [refused.errno for refused in refusals if refused is not None] == [errno.ENOENT] * 3
    assert channel.states() == []


def test_this_kernel_moves_no_single_states_and_says_so(channel: XfrmChannel) -> None:
    assert channel.migrates_single_states() is False


def test_the_kernel_chooses_spis_until_there_are_no_more(channel: XfrmChannel) -> None:
    wanted = state(BEFORE, AGENT, 0x2001, IN)
    assert channel.allocate_spi(wanted, 0x3000, 0x3000) == 0x3000
    installed = state(BEFORE, AGENT, 0x3000, IN)
    assert channel.execute([Request(MessageType.UPDSA, installed.to_wire(), "install")]) == [None]
    with pytest.raises(XfrmRefused):
        channel.allocate_spi(state(AFTER, AGENT, 0x2001, IN), 0x3000, 0x3000)
    assert [one.spi for one in channel.states() if one.source == BEFORE] == [0x3000]
