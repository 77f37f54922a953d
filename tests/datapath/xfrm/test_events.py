"""What the kernel tells of its own accord, from bytes."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.xfrm.errors import XfrmMalformed
from datapath.xfrm.events import Event, StateExpired, StateMissing, parse_event
from datapath.xfrm.numbers import Direction, MessageType
from datapath.xfrm.policies import Policy
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import State
from datapath.xfrm.structs import ACQUIRE, EXPIRE, POLICY, STATE, STATE_ID

HERE, THERE = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
SELECTOR = Selector(HERE, THERE, 135, (5 << 8, 0xFFFF))
STATE_BYTES = State(HERE, THERE, 0x1234, 9, SELECTOR, 32).to_wire()[: STATE.size]


def acquire(protocol: int = 50) -> bytes:
    policy = Policy(Direction.OUT, Selector(HERE, THERE, 135), 9, 1000).to_wire()[: POLICY.size]
    identifier = STATE_ID.pack(THERE.packed, bytes(4), protocol)
    return ACQUIRE.pack(identifier, HERE.packed, SELECTOR.to_wire(), policy, 0, 0, 0, 77)


@pytest.mark.parametrize("hard", [False, True])
def test_an_expiry_names_the_state(hard: bool) -> None:
    assert parse_event(MessageType.EXPIRE, EXPIRE.pack(STATE_BYTES, hard)) == StateExpired(THERE, 0x1234, hard)


def test_an_acquire_names_the_packet() -> None:
    assert parse_event(MessageType.ACQUIRE, acquire()) == StateMissing(THERE, SELECTOR)


def test_other_protocols_families_and_messages_are_passed_over() -> None:
    assert parse_event(MessageType.ACQUIRE, acquire(protocol=51)) is None
    ipv4 = bytearray(EXPIRE.pack(STATE_BYTES, 1))
    struct.pack_into("=H", ipv4, 212, 2)
    assert parse_event(MessageType.EXPIRE, bytes(ipv4)) is None
    assert parse_event(MessageType.NEWSA, STATE_BYTES) is None


@given(st.data())
def test_what_is_cut_is_refused_and_what_is_changed_is_read_or_passed_over(data: st.DataObject) -> None:
    kind, whole = data.draw(
        st.sampled_from([(MessageType.EXPIRE, EXPIRE.pack(STATE_BYTES, 1)), (MessageType.ACQUIRE, acquire())])
    )
    changed = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=8)):
        changed[place] = data.draw(st.integers(0, 255))
    assert isinstance(parse_event(kind, bytes(changed)), Event | None)
    with pytest.raises(XfrmMalformed):
        parse_event(kind, bytes(changed[: data.draw(st.integers(0, len(whole) - 1))]))
