from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from control.mobility.binding_cache import Binding
from control.mobility.binding_error import BindingErrorResponder, home_address_option_allowed
from control.mobility.messages import BindingError, BindingErrorStatus

HOME_AGENT = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::7")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::7")
ELSEWHERE = IPv6Address("2001:db8:d::7")

BINDING = Binding(HOME_ADDRESS, CARE_OF_ADDRESS, HOME_AGENT, "mn7@example.org", 100.0, 1)


@pytest.mark.parametrize(
    ("next_header", "care_of_address", "binding", "allowed"),
    [
        pytest.param(50, ELSEWHERE, None, True, id="esp-needs-no-binding"),
        pytest.param(51, ELSEWHERE, None, True, id="ah-needs-no-binding"),
        pytest.param(135, ELSEWHERE, None, True, id="mobility-header-needs-no-binding"),
        pytest.param(17, CARE_OF_ADDRESS, None, False, id="udp-without-binding"),
        pytest.param(17, CARE_OF_ADDRESS, BINDING, True, id="udp-from-the-care-of-address"),
        pytest.param(17, ELSEWHERE, BINDING, False, id="udp-from-elsewhere"),
        pytest.param(59, CARE_OF_ADDRESS, None, False, id="nothing-behind-it"),
    ],
)
def test_when_a_home_address_option_is_allowed(
    next_header: int, care_of_address: IPv6Address, binding: Binding | None, allowed: bool
) -> None:
    assert home_address_option_allowed(HOME_ADDRESS, care_of_address, next_header, binding) is allowed


def test_a_binding_of_another_home_address_allows_nothing() -> None:
    assert not home_address_option_allowed(IPv6Address("2001:db8:100::8"), CARE_OF_ADDRESS, 17, BINDING)


def test_the_answer_to_an_unknown_type() -> None:
    responder = BindingErrorResponder(now=0.0)
    expected = BindingError(BindingErrorStatus.UNRECOGNIZED_MOBILITY_HEADER_TYPE, HOME_ADDRESS)
    assert responder.unrecognized_type(CARE_OF_ADDRESS, HOME_ADDRESS, 0.0) == expected


def test_without_home_address_option_the_address_is_unspecified() -> None:
    answer = BindingErrorResponder(now=0.0).unrecognized_type(CARE_OF_ADDRESS, None, 0.0)
    assert answer == BindingError(2, IPv6Address("::"))


def test_the_answer_to_an_unknown_binding() -> None:
    answer = BindingErrorResponder(now=0.0).unknown_binding(CARE_OF_ADDRESS, HOME_ADDRESS, 0.0)
    assert answer == BindingError(1, HOME_ADDRESS)


@pytest.mark.parametrize("source", ["ff02::1", "::"])
def test_no_answer_to_what_is_not_unicast_and_no_token_spent(source: str) -> None:
    responder = BindingErrorResponder(now=0.0, burst=1)
    assert responder.unknown_binding(IPv6Address(source), HOME_ADDRESS, 0.0) is None
    assert responder.unknown_binding(CARE_OF_ADDRESS, HOME_ADDRESS, 0.0) is not None


def test_the_rate_is_limited_and_the_burst_too() -> None:
    responder = BindingErrorResponder(now=0.0, rate_per_s=10.0, burst=3)

    def sent(now: float, attempts: int) -> int:
        answers = [responder.unknown_binding(CARE_OF_ADDRESS, HOME_ADDRESS, now) for _ in range(attempts)]
        return sum(answer is not None for answer in answers)

    assert sent(0.0, 10) == 3
    assert sent(0.05, 10) == 0
    assert sent(0.25, 10) == 2
    assert sent(1000.0, 10) == 3
    assert sent(999.0, 10) == 0
