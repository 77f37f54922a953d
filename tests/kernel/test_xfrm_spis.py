"""SPIs of the kernel's choice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from bench.lab.entering import inside
from datapath.xfrm.channel import Request, XfrmChannel
from datapath.xfrm.errors import XfrmRefused
from datapath.xfrm.numbers import MessageType, Mode
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import Algorithm, State
from tests.kernel.network import run

pytestmark = pytest.mark.kernel

AGENT, ONE, OTHER, HOME = (IPv6Address(f"2001:db8:a1::{last}") for last in ("1", "a", "b", "17"))


@pytest.fixture
def channel() -> Iterator[XfrmChannel]:
    run("ip netns add spis")
    try:
        with inside("spis"):
            opened = XfrmChannel()
        with opened:
            yield opened
    finally:
        run("ip netns del spis")


def state(source: IPv6Address, spi: int) -> State:
    key = Algorithm("rfc4106(gcm(aes))", random.Random(spi).randbytes(20), 128)
    return State(source, AGENT, spi, 4711, Selector(HOME, AGENT), 64, aead=key, mode=Mode.TUNNEL)


def test_the_kernel_chooses_spis_until_there_are_no_more(channel: XfrmChannel) -> None:
    assert channel.allocate_spi(state(ONE, 0x2001), 0x3000, 0x3000) == 0x3000
    installed = state(ONE, 0x3000)
    assert channel.execute([Request(MessageType.UPDSA, installed.to_wire(), "install")]) == [None]
    with pytest.raises(XfrmRefused):
        channel.allocate_spi(state(OTHER, 0x2001), 0x3000, 0x3000)
    assert [one.spi for one in channel.states() if one.source == ONE] == [0x3000]
