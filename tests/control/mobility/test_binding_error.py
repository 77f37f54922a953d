from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from control.mobility.binding_error import BindingErrorResponder
from control.mobility.messages import BindingError, BindingErrorStatus

HOME_ADDRESS = IPv6Address("2001:db8:100::7")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::7")


def test_the_answer_to_an_unknown_type() -> None:
    responder = BindingErrorResponder(now=0.0)
    expected = BindingError(BindingErrorStatus.UNRECOGNIZED_MOBILITY_HEADER_TYPE, HOME_ADDRESS)
    assert responder.unrecognized_type(CARE_OF_ADDRESS, HOME_ADDRESS, 0.0) == expected


def test_without_home_address_option_the_address_is_unspecified() -> None:
    answer = BindingErrorResponder(now=0.0).unrecognized_type(CARE_OF_ADDRESS, None, 0.0)
    assert answer == BindingError(2, IPv6Address("::"))


@pytest.mark.parametrize("source", ["ff02::1", "::"])
def test_no_answer_to_what_is_not_unicast_and_no_token_spent(source: str) -> None:
    responder = BindingErrorResponder(now=0.0, burst=1)
    assert responder.unrecognized_type(IPv6Address(source), HOME_ADDRESS, 0.0) is None
    assert responder.unrecognized_type(CARE_OF_ADDRESS, HOME_ADDRESS, 0.0) is not None


def test_the_rate_is_limited_and_the_burst_too() -> None:
    responder = BindingErrorResponder(now=0.0, rate_per_s=10.0, burst=3)

    def sent(now: float, attempts: int) -> int:
        answers = [responder.unrecognized_type(CARE_OF_ADDRESS, HOME_ADDRESS, now) for _ in range(attempts)]
        return sum(answer is not None for answer in answers)

    assert sent(0.0, 10) == 3
    assert sent(0.05, 10) == 0
    assert sent(0.25, 10) == 2
    assert sent(1000.0, 10) == 3
    assert sent(999.0, 10) == 0
