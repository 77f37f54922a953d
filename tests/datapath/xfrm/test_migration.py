"""Moves of tunnels and of single states as bytes."""

from __future__ import annotations

from ipaddress import IPv6Address

from datapath.xfrm.migration import StateMove
from datapath.xfrm.numbers import Direction, Mode
from datapath.xfrm.policies import Policy, parse_policy
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import State, parse_state

HOME, PEER, FROM, TO = (IPv6Address(f"2001:db8::{number}") for number in range(1, 5))
SELECTOR = Selector(HOME, PEER, 135)


def test_a_single_state_is_moved_by_a_structure_of_132_octets() -> None:
    """No header at hand has it: the places are those of the kernel's documentation of Linux 7.2."""
    wire = StateMove(FROM, 0x1234, (TO, HOME), SELECTOR, 77).to_wire()
    assert len(wire) == 132
    assert wire[:16] == FROM.packed
    assert wire[16:20] == (0x1234).to_bytes(4, "big")
    assert wire[24:40] == HOME.packed
    assert wire[40:56] == TO.packed
    assert wire[56:64] == bytes(8)
    assert wire[64:120] == SELECTOR.to_wire()
    assert int.from_bytes(wire[120:124], "little") == 77
    assert wire[124:128] == bytes(4)
    assert int.from_bytes(wire[128:130], "little") == 10
    assert wire[130:] == bytes(2)


def test_tunnels_are_told_from_transport_mode() -> None:
    policy = Policy(Direction.FWD, SELECTOR, 77, 1000, tunnel=(FROM, TO))
    report = parse_policy(policy.to_wire())
    assert (report.direction, report.reqids, report.tunnels) == (Direction.FWD, (77,), ((FROM, TO),))
    assert parse_policy(Policy(Direction.IN, SELECTOR, 77, 1000).to_wire()).tunnels == ()
    state = parse_state(State(FROM, TO, 0x1234, 77, SELECTOR, 64, mode=Mode.TUNNEL).to_wire())
    assert state is not None
    assert (state.mode, state.source, state.destination) == (Mode.TUNNEL, FROM, TO)
