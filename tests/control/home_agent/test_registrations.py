"""Binding Updates of a node that changes its mind while the home agent is not done with the one before."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from control.home_agent.home_links import HomeLink, HomeLinks
from control.home_agent.registrations import PendingRegistration, Registrations
from control.mobility.binding_cache import BindingCache
from control.mobility.home_registration import HomeRegistration
from control.mobility.messages import BindingUpdate
from tests.control.home_agent.conftest import HOME_PREFIX

HOME_AGENT, HOME, CARE_OF = IPv6Address("2001:db8:a1::1"), HOME_PREFIX[5], IPv6Address("2001:db8:c::5")
WALL = 1_800_000_000.0


class Agent:
    """The registrations of a home agent whose store takes its time."""

    def __init__(self, link_prefixes: frozenset[IPv6Network]) -> None:
        links = HomeLinks(100.0)
        links.update([HomeLink("home0", HOME_AGENT, bytes(6), link_prefixes)])
        rules = HomeRegistration(HOME_AGENT, [HOME_PREFIX], 3600, BindingCache(10), is_duplicate=links.is_duplicate)
        self.registrations = Registrations(rules, self, links)

    # As signalling

    def protection_for(self, _message_type, _home_address, _care_of_address, _now):
        return bytes

    def encode(self, message, _home_address) -> bytes:
        return bytes((message.status,))

    # Inputs and outputs

    @property
    def statuses(self) -> list[int]:
        """Of all acknowledgements since this was last asked for."""
        return [packet[0] for packet in self.registrations.packets_to_send()]

    def receive(self, sequence_number: int, lifetime_units: int, now: float, *, more_comes: bool = False) -> None:
        update = BindingUpdate(sequence_number, lifetime_units, acknowledge=True, home_registration=True)
        self.registrations.receive(update, "mn", HOME, CARE_OF, now, WALL + now)
        if not more_comes:
            self.registrations.decide(now)

    def pending(self) -> list[PendingRegistration]:
        return self.registrations.pending()

    @property
    def bound(self) -> bool:
        return self.registrations.rules.cache.get(HOME) is not None


@pytest.fixture
def agent() -> Agent:
    return Agent(frozenset())


def test_a_node_that_returns_home_during_duplicate_address_detection_is_not_registered_after_it() -> None:
    agent = Agent(frozenset({HOME_PREFIX}))
    agent.receive(1, 100, 0.0)
    assert agent.pending() == []

    agent.receive(2, 0, 0.5)
    agent.registrations.home_links.handle_timer(1.0)
    agent.registrations.resume(1.0)

    assert agent.statuses == [133]
    assert agent.pending() == []


def test_a_late_request_to_delete_does_not_end_duplicate_address_detection() -> None:
    agent = Agent(frozenset({HOME_PREFIX}))
    agent.receive(8, 100, 0.0)
    agent.receive(7, 0, 0.5)
    agent.registrations.home_links.handle_timer(1.0)
    agent.registrations.resume(1.0)
    assert [each.outcome.sequence_number for each in agent.pending()] == [8]


@pytest.mark.parametrize(("together", "in_store"), [(False, False), (False, True), (True, False)])
def test_what_is_deleted_while_it_is_stored_goes_when_the_node_repeats_that(
    agent: Agent, together: bool, in_store: bool
) -> None:
    agent.receive(1, 100, 0.0, more_comes=together)
    storing = agent.pending() if in_store else []
    agent.receive(2, 0, 0.1)
    for registration in storing or agent.pending():
        agent.registrations.stored([registration], 0.2)
    assert agent.bound
    assert agent.statuses == [0]
    assert agent.pending() == []

    agent.receive(3, 0, 1.1)
    for registration in agent.pending():
        agent.registrations.stored([registration], 1.2)

    assert not agent.bound
    assert agent.statuses == [0]


def test_what_the_store_did_not_take_is_nothing_to_delete(agent: Agent) -> None:
    agent.receive(1, 100, 0.0)
    for registration in agent.pending():
        agent.registrations.not_stored(registration)
    agent.receive(2, 0, 0.1)
    assert agent.statuses == [133]
