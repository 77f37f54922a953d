from __future__ import annotations

import math
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from control.mobility.binding_cache import Binding, BindingCache
from control.mobility.home_registration import Change, HomePrefix, HomeRegistration, RegistrationOutcome
from control.mobility.messages import BindingAcknowledgement, BindingAcknowledgementStatus, BindingUpdate
from control.mobility.options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    DnsUpdate,
    NonceIndices,
    UnknownMobilityOption,
)

HOME_AGENT = IPv6Address("2001:db8:a1::1")
FAILED_HOME_AGENT = IPv6Address("2001:db8:a2::1")
PREFIX = IPv6Network("2001:db8:100::/64")
HOME_ADDRESS = IPv6Address("2001:db8:100::7")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::7")
ELSEWHERE = IPv6Address("2001:db8:d::7")
NODE = "mn7@example.org"
STRANGER = "mn8@example.org"
NOW = 1_800_000_000.0

Status = BindingAcknowledgementStatus


def update(sequence_number: int = 10, lifetime_units: int = 150, **changes: object) -> BindingUpdate:
    base = BindingUpdate(
        sequence_number,
        lifetime_units,
        acknowledge=True,
        home_registration=True,
        options=(AlternateCareOfAddress(CARE_OF_ADDRESS),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def binding(**changes: object) -> Binding:
    base = Binding(HOME_ADDRESS, CARE_OF_ADDRESS, HOME_AGENT, NODE, NOW + 600, 10)
    return replace(base, **changes)  # type: ignore[arg-type]


@dataclass
class Agent:
    """A home agent's rules and how to ask them."""

    bindings: tuple[Binding, ...] = ()
    prefixes: tuple[HomePrefix | IPv6Network, ...] = (PREFIX,)
    max_lifetime_s: float = 3600
    capacity: int = 10
    options: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cache = BindingCache(self.capacity)
        for one in self.bindings:
            self.cache.put(one)
        self.rules = HomeRegistration(
            HOME_AGENT,
            self.prefixes,
            self.max_lifetime_s,
            self.cache,
            **self.options,  # type: ignore[arg-type]
        )

    def ask(
        self,
        message: BindingUpdate,
        *,
        home_address: IPv6Address = HOME_ADDRESS,
        source: IPv6Address = CARE_OF_ADDRESS,
        identity: str | None = NODE,
        now: float = NOW,
    ) -> RegistrationOutcome:
        before = self.cache.bindings()
        outcome = self.rules.process(message, home_address, source, identity, now)
        assert self.cache.bindings() == before
        return outcome

    def take(self, message: BindingUpdate, *, identity: str = NODE, now: float = NOW) -> RegistrationOutcome:
        outcome = self.ask(message, identity=identity, now=now)
        assert self.rules.commit(outcome)
        return outcome


def status_of(outcome: RegistrationOutcome) -> int:
    assert outcome.acknowledgement is not None
    return outcome.acknowledgement.status


# Registration (section 10.3.1)


def test_a_first_registration() -> None:
    agent = Agent()
    outcome = agent.ask(update(sequence_number=4711, link_local=True))
    expected = binding(sequence_number=4711, link_local=True)
    assert outcome.acknowledgement == BindingAcknowledgement(0, 4711, 150)
    assert (outcome.change, outcome.binding, outcome.previous) == (Change.INSTALL, expected, None)
    assert agent.cache.get(HOME_ADDRESS) is None
    assert agent.rules.commit(outcome)
    assert agent.cache.get(HOME_ADDRESS) == expected


def test_a_refresh() -> None:
    agent = Agent((binding(),))
    outcome = agent.take(update(11), now=NOW + 300)
    assert (outcome.change, outcome.previous) == (Change.REFRESH, binding())
    assert outcome.binding == binding(sequence_number=11, lifetime_expires_at=NOW + 900)
    assert agent.cache.get(HOME_ADDRESS) == outcome.binding


def test_a_movement() -> None:
    agent = Agent((binding(),))
    outcome = agent.take(update(11, options=(AlternateCareOfAddress(ELSEWHERE),)))
    assert (outcome.change, outcome.previous) == (Change.INSTALL, binding())
    assert outcome.binding == binding(sequence_number=11, care_of_address=ELSEWHERE)


def test_an_alternate_care_of_address_overrides_the_source() -> None:
    outcome = Agent().ask(update(), source=ELSEWHERE)
    assert outcome.binding is not None
    assert outcome.binding.care_of_address == CARE_OF_ADDRESS


def test_of_two_alternate_care_of_addresses_the_first_counts() -> None:
    outcome = Agent().ask(update(options=(AlternateCareOfAddress(ELSEWHERE), AlternateCareOfAddress(CARE_OF_ADDRESS))))
    assert outcome.binding is not None
    assert outcome.binding.care_of_address == ELSEWHERE


def test_without_an_alternate_care_of_address_the_source_counts() -> None:
    outcome = Agent().ask(update(options=(UnknownMobilityOption(200, b"x"),)), source=ELSEWHERE)
    assert outcome.binding is not None
    assert outcome.binding.care_of_address == ELSEWHERE


def test_the_home_agent_is_nobodys_care_of_address() -> None:
    outcome = Agent().ask(update(options=(AlternateCareOfAddress(HOME_AGENT),)))
    assert (status_of(outcome), outcome.reason) == (Status.INVALID_CARE_OF_ADDRESS, "invalid-care-of-address")
    # At its end a binding has no use for one.
    ending = Agent(bindings=(binding(),)).ask(update(11, 0, options=(AlternateCareOfAddress(HOME_AGENT),)))
    assert ending.change is Change.REMOVE


def test_nodes_at_each_others_home_address_are_refused() -> None:
    second, third = PREFIX[0x52], PREFIX[0x53]
    others = (
        binding(home_address=second, care_of_address=HOME_ADDRESS, identity="second"),
        binding(home_address=third, care_of_address=second, identity="third"),
    )
    for care_of_address in (second, third):
        outcome = Agent(bindings=others).ask(update(options=(AlternateCareOfAddress(care_of_address),)))
        assert status_of(outcome) == Status.INVALID_CARE_OF_ADDRESS
    # One behind another one is reached, in two tunnels.
    elsewhere = (binding(home_address=second, identity="second"),)
    outcome = Agent(bindings=elsewhere).ask(update(options=(AlternateCareOfAddress(second),)))
    assert (outcome.change, status_of(outcome)) == (Change.INSTALL, Status.ACCEPTED)


def test_acknowledged_although_no_acknowledgement_was_asked_for() -> None:
    assert status_of(Agent().ask(update(acknowledge=False))) == Status.ACCEPTED


@pytest.mark.parametrize(
    ("wished", "maximum_s", "prefix", "granted", "status"),
    [
        pytest.param(150, 3600, HomePrefix(PREFIX), 150, 0, id="as-wished"),
        pytest.param(0xFFFF, 3600, HomePrefix(PREFIX), 900, 0, id="no-more-than-the-policy"),
        pytest.param(0xFFFF, 1e9, HomePrefix(PREFIX), 0xFFFF, 0, id="no-more-than-the-field"),
        pytest.param(150, 11.9, HomePrefix(PREFIX), 2, 0, id="policy-rounded-down"),
        pytest.param(150, 3600, HomePrefix(PREFIX, NOW + 103.9), 25, 1, id="no-more-than-the-prefix"),
        pytest.param(150, 3600, HomePrefix(PREFIX, NOW + 603.9), 150, 1, id="prefix-invalid-at-the-end"),
        pytest.param(150, 3600, HomePrefix(PREFIX, NOW + 604), 150, 0, id="prefix-valid-one-unit-longer"),
        pytest.param(150, 3600, HomePrefix(PREFIX, math.inf, NOW - 1), 150, 1, id="prefix-deprecated"),
        pytest.param(150, 3600, HomePrefix(PREFIX, math.inf, NOW + 599), 150, 1, id="prefix-deprecated-meanwhile"),
        pytest.param(150, 3600, HomePrefix(PREFIX, math.inf, NOW + 600), 150, 0, id="prefix-preferred-to-the-end"),
    ],
)
def test_the_granted_lifetime(wished: int, maximum_s: float, prefix: HomePrefix, granted: int, status: int) -> None:
    outcome = Agent(prefixes=(prefix,), max_lifetime_s=maximum_s).ask(update(lifetime_units=wished))
    assert outcome.acknowledgement == BindingAcknowledgement(status, 10, granted)
    assert outcome.binding is not None
    assert outcome.binding.lifetime_expires_at == NOW + 4 * granted


@pytest.mark.parametrize(
    ("asked", "capable", "acknowledged"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
@pytest.mark.parametrize("lifetime", [150, 0])
def test_the_key_management_bit(asked: bool, capable: bool, acknowledged: bool, lifetime: int) -> None:
    agent = Agent((binding(),), options={"key_management": capable})
    outcome = agent.ask(update(11, lifetime, key_management=asked))
    assert outcome.acknowledgement is not None
    assert outcome.acknowledgement.key_management is acknowledged
    if outcome.change is Change.REFRESH:
        assert outcome.binding is not None
        assert outcome.binding.key_management is acknowledged


@pytest.mark.parametrize(
    ("advice_s", "options"),
    [(None, ()), (400, (BindingRefreshAdvice(100),)), (599, (BindingRefreshAdvice(149),)), (600, ()), (3, ())],
)
def test_refresh_advice_is_below_the_lifetime_or_absent(advice_s: float | None, options: tuple[object, ...]) -> None:
    outcome = Agent(options={"refresh_advice_s": advice_s}).ask(update())
    assert outcome.acknowledgement is not None
    assert outcome.acknowledgement.options == options


@pytest.mark.parametrize("lifetime", [150, 0])
def test_a_wish_for_a_dns_update_is_declined_and_the_rest_accepted(lifetime: int) -> None:
    wish = DnsUpdate("mn7.example.org", remove=True)
    outcome = Agent((binding(),)).ask(update(11, lifetime, options=(wish,)))
    assert outcome.acknowledgement is not None
    assert outcome.acknowledgement.accepted
    assert outcome.acknowledgement.options == (replace(wish, status=129),)


# Refusals


def test_not_on_the_home_subnet() -> None:
    outcome = Agent().ask(update(), home_address=IPv6Address("2001:db8:101::7"))
    assert outcome.acknowledgement == BindingAcknowledgement(132, 10)
    assert (outcome.change, outcome.reason) == (Change.NONE, "not-home-subnet")


@pytest.mark.parametrize("left", [-10, 0, 3.9])
def test_a_prefix_at_its_end_is_no_home_subnet(left: float) -> None:
    assert status_of(Agent(prefixes=(HomePrefix(PREFIX, NOW + left),)).ask(update())) == Status.NOT_HOME_SUBNET


def test_any_of_several_prefixes_will_do() -> None:
    other = IPv6Network("2001:db8:101::/64")
    agent = Agent(prefixes=(PREFIX, other))
    assert status_of(agent.ask(update(), home_address=IPv6Address("2001:db8:101::7"))) == Status.ACCEPTED


@pytest.mark.parametrize("lifetime", [150, 0])
def test_a_binding_belongs_to_its_identity(lifetime: int) -> None:
    outcome = Agent((binding(),)).ask(update(11, lifetime), identity=STRANGER)
    assert outcome.acknowledgement == BindingAcknowledgement(129, 11)
    assert (outcome.change, outcome.reason) == (Change.NONE, "administratively-prohibited")


def test_an_expired_binding_belongs_to_nobody() -> None:
    outcome = Agent((binding(lifetime_expires_at=NOW),)).ask(update(1), identity=STRANGER)
    assert (status_of(outcome), outcome.change, outcome.previous) == (0, Change.INSTALL, None)


def test_an_identity_may_be_denied_a_home_address() -> None:
    asked = []

    def may_use(identity: str, home_address: IPv6Address) -> bool:
        asked.append((identity, home_address))
        return identity == NODE

    agent = Agent(options={"may_use": may_use})
    assert status_of(agent.ask(update(), identity=STRANGER)) == Status.ADMINISTRATIVELY_PROHIBITED
    assert status_of(agent.ask(update())) == Status.ACCEPTED
    assert asked == [(STRANGER, HOME_ADDRESS), (NODE, HOME_ADDRESS)]


def test_a_full_cache_refuses_newcomers_only() -> None:
    agent = Agent((binding(),), capacity=1)
    newcomer = IPv6Address("2001:db8:100::8")
    outcome = agent.ask(update(), home_address=newcomer, identity=STRANGER)
    assert outcome.acknowledgement == BindingAcknowledgement(130, 10)
    assert status_of(agent.ask(update(11))) == Status.ACCEPTED


def test_a_full_cache_takes_a_node_back_whose_binding_has_just_ended() -> None:
    agent = Agent((binding(lifetime_expires_at=NOW),), capacity=1)
    assert status_of(agent.ask(update())) == Status.ACCEPTED


def test_a_duplicate_address_is_refused_unless_bound_already() -> None:
    options: dict[str, object] = {"is_duplicate": lambda address: address == HOME_ADDRESS}
    assert status_of(Agent(options=options).ask(update())) == Status.DUPLICATE_ADDRESS_DETECTION_FAILED
    assert status_of(Agent((binding(),), options=options).ask(update(11))) == Status.ACCEPTED
    elsewhere = IPv6Address("2001:db8:100::8")
    assert status_of(Agent(options=options).ask(update(), home_address=elsewhere)) == Status.ACCEPTED


@pytest.mark.parametrize("lifetime", [150, 0])
@pytest.mark.parametrize(("number", "accepted"), [(10, False), (9, False), (11, True), (32778, False), (32777, True)])
def test_the_sequence_number(number: int, lifetime: int, accepted: bool) -> None:
    outcome = Agent((binding(),)).ask(update(number, lifetime))
    assert outcome.acknowledgement is not None
    assert outcome.acknowledgement.accepted is accepted
    if not accepted:
        # The last number accepted, not the one received (section 9.5.1).
        assert outcome.acknowledgement == BindingAcknowledgement(135, 10)
        assert outcome.reason == "sequence-number-out-of-window"


@given(st.integers(0, 0xFFFF))
def test_any_sequence_number_will_do_for_a_first_registration(number: int) -> None:
    assert status_of(Agent().ask(update(number))) == Status.ACCEPTED


@pytest.mark.parametrize("number", [1, 10, 11, 40000])
def test_any_sequence_number_will_do_for_a_node_taken_over(number: int) -> None:
    taken_over = binding(home_agent=FAILED_HOME_AGENT)
    agent = Agent((taken_over,))
    outcome = agent.take(update(number))
    assert (status_of(outcome), outcome.change, outcome.previous) == (0, Change.INSTALL, taken_over)
    assert outcome.binding == binding(sequence_number=number)
    assert status_of(agent.ask(update(number))) == Status.SEQUENCE_NUMBER_OUT_OF_WINDOW


def test_a_node_taken_over_keeps_its_home_address_to_itself() -> None:
    outcome = Agent((binding(home_agent=FAILED_HOME_AGENT),)).ask(update(), identity=STRANGER)
    assert status_of(outcome) == Status.ADMINISTRATIVELY_PROHIBITED


def test_a_home_registration_does_not_become_another_kind() -> None:
    outcome = Agent((binding(),)).ask(update(11, home_registration=False))
    assert outcome.acknowledgement == BindingAcknowledgement(139, 11)
    assert outcome.change is Change.NONE


# What is discarded without an answer


@pytest.mark.parametrize(
    ("agent", "message", "where", "reason"),
    [
        pytest.param(Agent(), update(), {"identity": None}, "unauthenticated", id="no-esp"),
        pytest.param(Agent((binding(),)), update(11, 0), {"identity": None}, "unauthenticated", id="no-esp-removal"),
        pytest.param(
            Agent(), update(), {"home_address": IPv6Address("fe80::1")}, "bad-home-address", id="link-local-home"
        ),
        pytest.param(
            Agent(), update(), {"home_address": IPv6Address("ff0e::1")}, "bad-home-address", id="multicast-home"
        ),
        pytest.param(Agent(), update(), {"source": IPv6Address("ff0e::1")}, "bad-source-address", id="source"),
        pytest.param(
            Agent(), update(options=()), {"source": IPv6Address("fe80::1")}, "bad-care-of-address", id="care-of"
        ),
        pytest.param(
            Agent(),
            update(options=(AlternateCareOfAddress(IPv6Address("ff0e::1")),)),
            {},
            "bad-care-of-address",
            id="alternate-care-of",
        ),
        pytest.param(
            Agent(), update(options=(NonceIndices(1, 2),)), {}, "nonce-indices-in-home-registration", id="nonces"
        ),
        pytest.param(Agent(), update(), {"source": HOME_ADDRESS}, "no-home-address-option", id="away-yet-at-home"),
        pytest.param(Agent(), update(home_registration=False), {}, "not-a-home-registration", id="no-h-bit"),
        pytest.param(
            Agent((binding(),)),
            update(11, home_registration=False),
            {"identity": STRANGER},
            "not-a-home-registration",
            id="no-h-bit-from-a-stranger",
        ),
    ],
)
def test_silently_discarded(agent: Agent, message: BindingUpdate, where: dict[str, object], reason: str) -> None:
    outcome = agent.ask(message, **where)  # type: ignore[arg-type]
    assert (outcome.acknowledgement, outcome.change, outcome.binding) == (None, Change.NONE, None)
    assert outcome.reason == reason
    assert not agent.rules.commit(outcome)


# De-registration (section 10.3.2)


@pytest.mark.parametrize(
    ("message", "source"),
    [
        pytest.param(update(11, 0), CARE_OF_ADDRESS, id="lifetime-0"),
        pytest.param(update(11, 0, options=()), HOME_ADDRESS, id="at-home"),
        pytest.param(update(11, 150, options=(AlternateCareOfAddress(HOME_ADDRESS),)), ELSEWHERE, id="care-of-is-home"),
        pytest.param(update(11, 150, options=()), HOME_ADDRESS, id="source-is-home"),
    ],
)
def test_deregistration(message: BindingUpdate, source: IPv6Address) -> None:
    agent = Agent((binding(),), options={"refresh_advice_s": 4})
    outcome = agent.ask(message, source=source)
    assert outcome.acknowledgement == BindingAcknowledgement(0, 11, 0)
    assert (outcome.change, outcome.binding, outcome.reason) == (Change.REMOVE, binding(), "deregistered")
    assert agent.cache.get(HOME_ADDRESS) == binding()
    assert agent.rules.commit(outcome)
    assert agent.cache.get(HOME_ADDRESS) is None


def test_deregistration_of_what_was_never_registered() -> None:
    outcome = Agent().ask(update(11, 0))
    assert outcome.acknowledgement == BindingAcknowledgement(133, 11)
    assert (outcome.change, outcome.reason) == (Change.NONE, "not-home-agent-for-this-mobile-node")


def test_a_node_taken_over_may_deregister() -> None:
    taken_over = binding(home_agent=FAILED_HOME_AGENT)
    outcome = Agent((taken_over,)).ask(update(1, 0))
    assert (status_of(outcome), outcome.change, outcome.binding) == (0, Change.REMOVE, taken_over)


def test_a_late_update_does_not_bring_a_deregistered_binding_back() -> None:
    agent = Agent((binding(),))
    agent.take(update(12, 0))
    late = agent.ask(update(11), now=NOW + 9)
    assert late.acknowledgement == BindingAcknowledgement(135, 12)
    assert status_of(agent.ask(update(13), now=NOW + 9)) == Status.ACCEPTED
    assert status_of(agent.ask(update(11), now=NOW + 10)) == Status.ACCEPTED


def test_a_repeated_deregistration_is_acknowledged_again() -> None:
    agent = Agent((binding(),))
    agent.take(update(11, 0))
    again = agent.take(update(12, 0), now=NOW + 1)
    assert (status_of(again), again.change, again.binding) == (0, Change.REMOVE, None)
    assert agent.ask(update(12), now=NOW + 2).acknowledgement == BindingAcknowledgement(135, 12)


# Between decision and commit


def test_an_outcome_overtaken_by_a_newer_one_is_not_committed() -> None:
    agent = Agent()
    first = agent.ask(update(10))
    second = agent.ask(update(11, options=(AlternateCareOfAddress(ELSEWHERE),)))
    assert agent.rules.commit(second)
    assert not agent.rules.commit(first)
    assert agent.cache.get(HOME_ADDRESS) == second.binding


def test_a_registration_overtaken_by_its_deregistration_is_not_committed() -> None:
    agent = Agent((binding(),))
    refresh = agent.ask(update(11))
    agent.take(update(12, 0))
    assert not agent.rules.commit(refresh)
    assert agent.cache.get(HOME_ADDRESS) is None


def test_of_two_identities_at_once_the_first_committed_wins() -> None:
    agent = Agent()
    first = agent.ask(update(10))
    second = agent.ask(update(11), identity=STRANGER)
    assert agent.rules.commit(first)
    assert not agent.rules.commit(second)
    assert agent.cache.get(HOME_ADDRESS) == first.binding


def test_a_lifetime_below_one_unit_is_no_policy() -> None:
    with pytest.raises(ValueError, match="below 4 s"):
        Agent(max_lifetime_s=3.9)
