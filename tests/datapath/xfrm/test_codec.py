from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.xfrm import structs
from datapath.xfrm.attributes import attribute, attributes
from datapath.xfrm.errors import XfrmMalformed
from datapath.xfrm.numbers import Direction
from datapath.xfrm.policies import Policy, PolicyReport, parse_policy
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import Algorithm, Encapsulation, State, StateReport, parse_state

addresses = st.integers(0, 2**128 - 1).map(IPv6Address)
ports = st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
selectors = st.builds(Selector, addresses, addresses, st.integers(0, 255), ports, ports)
states = st.builds(
    State,
    source=addresses,
    destination=addresses,
    spi=st.integers(256, 2**32 - 1),
    reqid=st.integers(0, 2**32 - 1),
    selector=selectors,
    replay_window=st.sampled_from((0, 32, 64, 1024)),
    mark=st.integers(0, 2**32 - 1),
    aead=st.just(Algorithm("rfc4106(gcm(aes))", bytes(20), 128)),
    encapsulation=st.none() | st.builds(Encapsulation, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
)
policies = st.builds(
    Policy, st.sampled_from(Direction), selectors, reqid=st.integers(0, 2**32 - 1), priority=st.integers(0, 2**32 - 1)
)


@given(states)
def test_a_state_is_read_as_it_was_written(state: State) -> None:
    expected = StateReport(
        source=state.source,
        destination=state.destination,
        spi=state.spi,
        reqid=state.reqid,
        selector=state.selector,
        mode=0,
        mark=state.mark,
        bytes=0,
        packets=0,
        errors=0,
        first_used_at=0,
        encapsulation=state.encapsulation,
    )
    assert parse_state(state.to_wire()) == expected


@given(policies)
def test_a_policy_is_read_as_it_was_written(policy: Policy) -> None:
    assert parse_policy(policy.to_wire()) == PolicyReport(policy.direction, policy.selector, (policy.reqid,), 0)


@given(st.one_of(states.map(State.to_wire), policies.map(Policy.to_wire)), st.data())
def test_what_is_cut_or_changed_is_read_or_refused_and_nothing_else(wire: bytes, data: st.DataObject) -> None:
    changed = bytearray(wire[: data.draw(st.integers(0, len(wire)))])
    for place in data.draw(st.lists(st.integers(0, max(len(changed) - 1, 0)), max_size=8)) if changed else []:
        changed[place] = data.draw(st.integers(0, 255))
    for parse in (parse_state, parse_policy):
        try:
            parse(bytes(changed))
        except XfrmMalformed:
            continue


def test_other_kinds_of_encapsulation_are_not_ours() -> None:
    wire = Encapsulation(4500, 31_000).to_wire()
    assert Encapsulation.from_wire(struct.pack("=H", 7) + wire[2:]) is None
    with pytest.raises(XfrmMalformed):
        Encapsulation.from_wire(wire[:-1])


def test_counters_of_a_state_stand_where_the_kernel_puts_them() -> None:
    state = State(IPv6Address("::1"), IPv6Address("::2"), 256, 9, Selector(IPv6Address("::1"), IPv6Address("::2")), 32)
    wire = bytearray(state.to_wire())
    struct.pack_into("=4Q", wire, 160, 1000, 10, 1_700_000_000, 1_700_000_001)
    struct.pack_into("=3I", wire, 192, 1, 2, 4)
    report = parse_state(bytes(wire))
    assert report is not None
    assert (report.bytes, report.packets, report.errors, report.first_used_at) == (1000, 10, 7, 1_700_000_001)


def test_states_and_selectors_of_others_are_recognised_as_such() -> None:
    state = State(IPv6Address("::1"), IPv6Address("::2"), 256, 9, Selector(IPv6Address("::1"), IPv6Address("::2")), 32)
    wire = bytearray(state.to_wire())
    struct.pack_into("=H", wire, 212, 2)  # AF_INET
    assert parse_state(bytes(wire)) is None
    selector = bytearray(state.selector.to_wire())
    selector[42] = 64  # a prefix rather than a host
    assert Selector.from_wire(bytes(selector)) is None


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=5))
def test_attributes_are_read_as_they_were_written(pairs: list[tuple[int, bytes]]) -> None:
    wire = b"".join(attribute(kind, value) for kind, value in pairs)
    assert len(wire) % 4 == 0
    assert list(attributes(wire)) == pairs


@pytest.mark.parametrize("length", [0, 3, 9])
def test_an_attribute_of_an_impossible_length_is_refused(length: int) -> None:
    with pytest.raises(XfrmMalformed):
        list(attributes(structs.ATTRIBUTE.pack(length, 1) + bytes(4)))
