"""Mobility Header messages in the clear change nothing; unknown ones are answered (RFC 6275 section 9.2)."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from control.home_agent.unprotected import UnprotectedSignalling
from control.mobility.binding_error import BindingErrorResponder
from control.mobility.extension_headers import parse_ipv6
from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.messages import BindingError, BindingErrorStatus, BindingUpdate, UnknownMobilityMessage

AGENT = IPv6Address("2001:db8:a1::1")
HOME = IPv6Address("2001:db8:100::11")
CARE_OF = IPv6Address("2001:db8:c::1")
UNKNOWN = UnknownMobilityMessage(99, b"\0" * 10)


@pytest.fixture
def signalling():
    return UnprotectedSignalling(AGENT, BindingErrorResponder(0.0, rate_per_s=1.0, burst=2))


@pytest.mark.parametrize(("source", "care_of_address"), [(CARE_OF, None), (HOME, CARE_OF)])
def test_an_unknown_type_is_answered_to_where_it_came_from(signalling, source, care_of_address):
    signalling.receive(build_mobility_message(UNKNOWN, source, AGENT), source, care_of_address, 0.0)
    [packet] = signalling.packets_to_send()
    parsed = parse_ipv6(packet)
    assert (parsed.source, parsed.destination, parsed.routing_header_2) == (AGENT, CARE_OF, None)
    answer = parse_mobility_message(parsed.payload, AGENT, CARE_OF)
    assert isinstance(answer, BindingError)
    assert answer.status == BindingErrorStatus.UNRECOGNIZED_MOBILITY_HEADER_TYPE
    assert answer.home_address == (HOME if care_of_address else IPv6Address("::"))


def test_answers_are_limited_in_rate(signalling):
    for _ in range(5):
        signalling.receive(build_mobility_message(UNKNOWN, CARE_OF, AGENT), CARE_OF, None, 0.0)
    assert len(signalling.packets_to_send()) == 2
    assert signalling.statistics["binding-error-suppressed"] == 3


def test_a_binding_update_in_the_clear_is_dropped_and_counted(signalling):
    update = BindingUpdate(1, 100, acknowledge=True, home_registration=True)
    signalling.receive(build_mobility_message(update, HOME, AGENT), HOME, CARE_OF, 0.0)
    assert signalling.packets_to_send() == []
    assert signalling.statistics == {"not-protected": 1}


def test_garbage_is_counted_by_reason(signalling):
    signalling.receive(b"\x3b\x00", CARE_OF, None, 0.0)
    good = bytearray(build_mobility_message(UNKNOWN, CARE_OF, AGENT))
    good[4] ^= 1
    signalling.receive(bytes(good), CARE_OF, None, 0.0)
    assert signalling.statistics["truncated"] == 1
    assert signalling.statistics["bad-checksum"] == 1
