"""Registrations of mobile routers (RFC 3963 section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from control.mobility.binding_cache import Binding, BindingCache
from control.mobility.home_registration import Change, HomeRegistration, RegistrationOutcome
from control.mobility.messages import BindingAcknowledgementStatus, BindingUpdate
from control.mobility.mobile_networks import PrefixTable
from control.mobility.options import AlternateCareOfAddress, MobileNetworkPrefix

HOME_AGENT = IPv6Address("2001:db8:a1::1")
FAILED_HOME_AGENT = IPv6Address("2001:db8:a2::1")
HOME_PREFIX = IPv6Network("2001:db8:100::/64")
ROUTER, NESTED_ROUTER, HOST = (IPv6Address(f"2001:db8:100::{number}") for number in (7, 8, 9))
CARE_OF, ELSEWHERE = IPv6Address("2001:db8:c::7"), IPv6Address("2001:db8:d::7")
NETWORK, SECOND_NETWORK = IPv6Network("2001:db8:700::/56"), IPv6Network("2001:db8:701::/64")
NESTED_NETWORK = IPv6Network("2001:db8:702::/64")
IDENTITIES = {ROUTER: "mr7@example.org", NESTED_ROUTER: "mr8@example.org", HOST: "mn9@example.org"}
AUTHORISED: dict[str, Sequence[IPv6Network]] = {
    IDENTITIES[ROUTER]: (NETWORK, SECOND_NETWORK),
    IDENTITIES[NESTED_ROUTER]: (NESTED_NETWORK,),
}
NOW = 1_800_000_000.0
Status = BindingAcknowledgementStatus


class Agent:
    def __init__(self, *, mobile_routers: bool = True) -> None:
        self.cache = BindingCache(10)
        self.sequence_number = 10
        networks = (lambda identity: AUTHORISED.get(identity, ())) if mobile_routers else None
        self.rules = HomeRegistration(HOME_AGENT, [HOME_PREFIX], 3600, self.cache, mobile_networks=networks)

    def ask(
        self,
        *networks: MobileNetworkPrefix | IPv6Network,
        router: IPv6Address = ROUTER,
        care_of: IPv6Address = CARE_OF,
        **changes: object,
    ) -> RegistrationOutcome:
        self.sequence_number += 1
        options = [each if isinstance(each, MobileNetworkPrefix) else MobileNetworkPrefix.of(each) for each in networks]
        update = BindingUpdate(
            self.sequence_number,
            150,
            acknowledge=True,
            home_registration=True,
            mobile_router=True,
            options=(AlternateCareOfAddress(care_of), *options),
        )
        return self.rules.process(
            replace(update, **changes),  # type: ignore[arg-type]
            router,
            care_of,
            IDENTITIES[router],
            NOW,
        )

    def take(
        self, *networks: IPv6Network, router: IPv6Address = ROUTER, care_of: IPv6Address = CARE_OF, **changes: object
    ) -> RegistrationOutcome:
        outcome = self.ask(*networks, router=router, care_of=care_of, **changes)
        assert self.rules.commit(outcome)
        return outcome

    def networks(self, router: IPv6Address = ROUTER) -> tuple[IPv6Network, ...]:
        binding = self.cache.get(router)
        return binding.mobile_networks if binding is not None else ()


def assert_refused(outcome: RegistrationOutcome, status: BindingAcknowledgementStatus, reason: str) -> None:
    assert outcome.acknowledgement is not None
    assert (outcome.acknowledgement.status, outcome.acknowledgement.mobile_router) == (status, False)
    assert (outcome.change, outcome.reason) == (Change.NONE, reason)


def assert_accepted(outcome: RegistrationOutcome, change: Change, *networks: IPv6Network) -> None:
    assert outcome.acknowledgement is not None
    assert (outcome.acknowledgement.status, outcome.acknowledgement.mobile_router) == (Status.ACCEPTED, True)
    assert outcome.change is change
    assert outcome.binding is not None
    assert (outcome.binding.mobile_router, outcome.binding.mobile_networks) == (True, networks)


# Which prefixes


def test_implicit_mode_registers_what_the_operator_has_written() -> None:
    assert_accepted(Agent().ask(), Change.INSTALL, NETWORK, SECOND_NETWORK)


def test_explicit_mode_registers_what_the_router_asks_for() -> None:
    assert_accepted(Agent().ask(SECOND_NETWORK), Change.INSTALL, SECOND_NETWORK)


def test_a_part_of_an_authorised_prefix_is_authorised() -> None:
    part = IPv6Network("2001:db8:700:12::/64")
    assert_accepted(Agent().ask(part), Change.INSTALL, part)


def test_what_another_prefix_covers_is_not_kept_twice() -> None:
    part = IPv6Network("2001:db8:700:12::/64")
    assert_accepted(Agent().ask(part, NETWORK, NETWORK), Change.INSTALL, NETWORK)


def test_without_the_flag_prefixes_are_ignored_and_nothing_is_forwarded() -> None:
    outcome = Agent().ask(NETWORK, mobile_router=False)
    assert outcome.acknowledgement is not None
    assert (outcome.acknowledgement.status, outcome.acknowledgement.mobile_router) == (Status.ACCEPTED, False)
    assert outcome.binding is not None
    assert outcome.binding.mobile_networks == ()


# What is refused


@pytest.mark.parametrize(
    "prefix",
    [
        MobileNetworkPrefix(129, NETWORK.network_address),
        MobileNetworkPrefix(0, IPv6Address(0)),
        MobileNetworkPrefix(64, IPv6Address("fe80::")),
        MobileNetworkPrefix(16, IPv6Address("ff05::")),
    ],
    ids=["longer than an address", "everything", "link-local", "multicast"],
)
def test_an_impossible_prefix(prefix: MobileNetworkPrefix) -> None:
    assert_refused(Agent().ask(NETWORK, prefix), Status.INVALID_PREFIX, "invalid-prefix")


@pytest.mark.parametrize(
    "prefix", [NESTED_NETWORK, IPv6Network("2001:db8:700::/55"), HOME_PREFIX], ids=["another's", "wider", "home prefix"]
)
def test_a_prefix_of_somebody_else(prefix: IPv6Network) -> None:
    assert_refused(Agent().ask(NETWORK, prefix), Status.NOT_AUTHORIZED_FOR_PREFIX, "not-authorized-for-prefix")


def test_a_node_without_prefixes_is_no_router() -> None:
    agent = Agent()
    assert_refused(agent.ask(router=HOST), Status.FORWARDING_SETUP_FAILED, "forwarding-setup-failed")
    assert_refused(agent.ask(NETWORK, router=HOST), Status.NOT_AUTHORIZED_FOR_PREFIX, "not-authorized-for-prefix")


def test_a_home_agent_without_mobile_routers() -> None:
    reason = "mobile-router-operation-not-permitted"
    assert_refused(Agent(mobile_routers=False).ask(), Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED, reason)


def test_only_a_home_agent_serves_a_mobile_router() -> None:
    outcome = Agent().ask(home_registration=False)
    reason = "mobile-router-operation-not-permitted"
    assert_refused(outcome, Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED, reason)


@pytest.mark.parametrize("first", [True, False], ids=["router becomes host", "host becomes router"])
def test_the_type_of_a_registration_stays(first: bool) -> None:
    agent = Agent()
    agent.take(mobile_router=first)
    reason = "registration-type-change-disallowed"
    assert_refused(agent.ask(mobile_router=not first), Status.REGISTRATION_TYPE_CHANGE_DISALLOWED, reason)


def test_a_binding_of_a_failed_home_agent_decides_no_type() -> None:
    agent = Agent()
    agent.cache.put(Binding(ROUTER, CARE_OF, FAILED_HOME_AGENT, IDENTITIES[ROUTER], NOW + 600, 10))
    assert_accepted(agent.ask(), Change.INSTALL, NETWORK, SECOND_NETWORK)


# Afterwards


def test_the_same_again_only_refreshes() -> None:
    agent = Agent()
    agent.take()
    assert_accepted(agent.ask(), Change.REFRESH, NETWORK, SECOND_NETWORK)


def test_other_prefixes_change_the_data_path() -> None:
    agent = Agent()
    agent.take(NETWORK)
    assert_accepted(agent.take(SECOND_NETWORK), Change.INSTALL, SECOND_NETWORK)
    assert agent.networks() == (SECOND_NETWORK,)
    assert agent.cache.prefixes.router(NETWORK[1]) is None
    assert agent.cache.prefixes.router(SECOND_NETWORK[1]) == ROUTER


@pytest.mark.parametrize("flag", [True, False])
def test_a_deregistration_is_a_routers_or_not(flag: bool) -> None:
    agent = Agent()
    agent.take()
    outcome = agent.take(NESTED_NETWORK, lifetime_units=0, mobile_router=flag)
    assert (outcome.change, outcome.reason) == (Change.REMOVE, "deregistered")
    assert outcome.acknowledgement is not None
    assert outcome.acknowledgement.mobile_router is flag  # RFC 3963 section 4.2
    assert (agent.networks(), len(agent.cache.prefixes)) == ((), 0)


def test_the_networks_go_when_the_binding_expires() -> None:
    agent = Agent()
    agent.take()
    assert [binding.mobile_networks for binding in agent.cache.expire(NOW + 601)] == [(NETWORK, SECOND_NETWORK)]
    assert len(agent.cache.prefixes) == 0


# Routers behind routers


def test_a_router_behind_another_is_fine() -> None:
    agent = Agent()
    agent.take()
    assert_accepted(agent.take(router=NESTED_ROUTER, care_of=NETWORK[99]), Change.INSTALL, NESTED_NETWORK)


def test_a_router_behind_itself_is_not() -> None:
    assert_refused(Agent().ask(care_of=NETWORK[99]), Status.INVALID_CARE_OF_ADDRESS, "invalid-care-of-address")


def test_nor_are_two_behind_each_other() -> None:
    agent = Agent()
    agent.take(care_of=CARE_OF)
    agent.take(router=NESTED_ROUTER, care_of=NETWORK[99])
    moved = agent.ask(care_of=NESTED_NETWORK[5])
    assert_refused(moved, Status.INVALID_CARE_OF_ADDRESS, "invalid-care-of-address")
    # A network it gives up with the move is no reason.
    assert_accepted(agent.ask(SECOND_NETWORK, care_of=NESTED_NETWORK[5]), Change.INSTALL, SECOND_NETWORK)


# The table of prefixes

networks = st.tuples(st.integers(0, 0xFFFF), st.integers(40, 64)).map(
    lambda parts: IPv6Network((0x20010DB8 << 96 | parts[0] << 64, parts[1]), strict=False)
)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3), networks)), st.integers(0, 0xFFFF))
def test_the_longest_prefix_counts(steps: list[tuple[bool, int, IPv6Network]], low: int) -> None:
    table, model = PrefixTable(), dict[IPv6Network, IPv6Address]()
    for add, number, network in steps:
        router = HOME_PREFIX[number]
        if add:
            table.add(router, [network])
            model[network] = router
        else:
            table.remove(router, [network])
            if model.get(network) == router:
                del model[network]
    address = IPv6Address(0x20010DB8 << 96 | low << 64 | 1)
    covering = [network for network in model if address in network]
    expected = model[max(covering, key=lambda network: network.prefixlen)] if covering else None
    assert table.router(address) == expected
    assert len(table) == len(model)
