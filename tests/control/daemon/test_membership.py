"""Two home agents on one store: who may write, who takes over, and what the one that was only slow does."""

from __future__ import annotations

import asyncio
import threading
from ipaddress import IPv6Address

import pytest

from control.cluster.sqlite_store import SqliteStore
from control.cluster.store import Lease, LeaseLost, StoreError
from control.eap.account import EapAccount
from control.eap.packet import EapType
from control.home_agent.directory import AuthorisedNode
from control.home_agent.events import TimelineEvent
from tests.control.daemon.members import LEASE_S, OTHER_PREFIX, PREFIX, Member, binding, serving_first


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


def test_a_lapsed_lease_is_taken_over_once_and_the_nodes_are_brought_back(path):
    serving_first(path, binding(1), binding(2, expires_at=2000.0))
    second = Member("ha2", path)
    second.join()
    second.beat_until(2.9)
    assert second.recovered == []
    second.beat_until(4.0)
    assert second.events()[-2:] == [TimelineEvent.LEASE_LAPSED, TimelineEvent.NODES_CLAIMED]
    by_priority = sorted(second.recovered, key=lambda node: node.priority)
    assert [node.identity for node in by_priority] == ["mn2@example.org", "mn1@example.org"]
    assert not any(node.new_home_address for node in second.recovered)
    assert all(node.switch for node in second.recovered)


def test_a_living_home_agent_of_the_same_name_is_not_fenced_out(path):
    first = Member("ha1", path)
    first.join()
    other = Member("ha1", path, address="2001:db8:a9::1")
    with pytest.raises(StoreError, match=r"2001:db8:a1::1 has the name ha1 .* another \[home_agent\] name") as caught:
        other.join()
    assert caught.value.reason == "name-taken"
    first.beat(1.0)
    assert first.membership.lease is not None
    other.now = 1.0 + LEASE_S
    other.join()
    assert other.membership.lease is not None


def test_a_renewed_lease_is_left_alone(path):
    first = serving_first(path, binding(1))
    second = Member("ha2", path)
    second.join()
    for wall in range(1, 10):
        first.beat(float(wall))
        second.beat(float(wall))
    assert second.recovered == []
    assert second.membership.takeovers == 0


def test_nodes_from_another_prefix_get_a_new_home_address(path):
    serving_first(path, binding(1))
    second = Member("ha2", path, prefix=OTHER_PREFIX)
    second.join()
    second.beat_until(5.0)
    [node] = second.recovered
    assert node.new_home_address
    assert node.home_address in OTHER_PREFIX


def test_the_agent_that_was_only_slow_stands_down_and_joins_again(path):
    first = serving_first(path, binding(1))
    second = Member("ha2", path)
    second.join()
    second.beat_until(5.0)
    first.beat(5.1)
    assert first.membership.lease is None
    assert first.stood_down == 1
    assert TimelineEvent.LEASE_LOST in first.events()
    first.beat(6.2)
    assert first.membership.lease is not None
    assert first.resumed == 1
    assert first.store.bindings("ha1") == []


def test_without_take_over_only_the_operator_does(path):
    serving_first(path, binding(1))
    second = Member("ha2", path, take_over=False)
    second.join()
    second.beat_until(10.0)
    assert second.recovered == []
    assert second.take_over_from("ha1", 10.0) == 1
    assert [node.identity for node in second.recovered] == ["mn1@example.org"]


def test_the_operator_may_take_over_from_one_that_lives(path):
    first = serving_first(path, binding(1))
    second = Member("ha2", path)
    second.join()
    assert second.take_over_from("ha1", 1.0) == 1
    first.beat(1.5)
    assert first.membership.lease is None


def test_what_cannot_be_brought_back_is_said_with_a_reason(path):
    serving_first(path, binding(1, expires_at=2.0), binding(3))
    second = Member("ha2", path)
    second.join()
    second.beat_until(5.0)
    assert second.recovered == []
    given_up = {h.node: h.detail["reason"] for h in second.happenings if h.event is TimelineEvent.GIVEN_UP}
    assert given_up == {"mn1@example.org": "no-binding", "mn3@example.org": "not-authorised"}


def test_a_store_that_does_not_answer_leaves_the_membership_as_it_is(path, caplog):
    first = serving_first(path, binding(1))
    first.store.close()
    first.beat(1.0)
    assert first.membership.lease is not None
    assert first.stood_down == 0
    assert "state store" in caplog.text


def test_a_step_of_the_wall_clock_takes_over_from_nobody(path):
    first = serving_first(path, binding(1))
    second = Member("ha2", path)
    second.join()
    for now in (1.0, 2.0, 3.0):
        first.beat(now)
        second.beat(now)
    second.wall_step = 3600.0
    for now in (4.0, 5.0, 6.0, 7.0):
        first.beat(now)
        second.beat(now)
    assert second.recovered == []


def test_a_lease_that_cannot_be_renewed_stops_being_one(path):
    first = serving_first(path, binding(1))
    first.store.close()
    first.beat_until(2.9)
    assert first.membership.lease is not None
    first.beat_until(3.1)
    assert first.membership.lease is None
    assert first.stood_down == 0  # the nodes are still served: nobody is known to have claimed them


def test_whether_there_are_others_is_what_the_store_said_last(path):
    first = serving_first(path, binding(1))
    assert first.membership.has_others() is None
    first.beat(1.0)
    assert first.membership.has_others() is False
    Member("ha2", path).join()
    first.beat(2.0)
    assert first.membership.has_others() is True
    first.store.close()
    first.beat_until(9.0)
    assert first.membership.has_others() is True


def test_who_first_reaches_a_store_that_was_away_leaves_the_others_what_they_serve(path):
    first = serving_first(path, binding(1))
    second = Member("ha2", path, authorised=("mn1",))
    second.join()
    second.beat(1.0)
    first.thread.away = second.thread.away = True
    for now in (2.0, 4.0, 8.0):
        second.beat(now)
        first.beat(now)
    first.thread.away = second.thread.away = False
    second.beat(8.3)
    first.beat(8.4)
    second.beat(9.3)
    assert first.membership.lease is not None
    assert first.stood_down == 0
    assert TimelineEvent.NODES_CLAIMED not in second.events()


def test_a_node_with_a_password_is_brought_back_only_by_a_shared_key(path):
    serving_first(path, binding(1), binding(2))
    account = EapAccount(EapType.MSCHAPV2, "mn", "secret")
    accounts = (
        AuthorisedNode("mn1@example.org", PREFIX[1], None, account),
        AuthorisedNode("mn2@example.org", PREFIX[2], b"key", account),
    )
    second = Member("ha2", path, accounts=accounts)
    second.join()
    second.beat_until(2 * LEASE_S)
    assert [node.identity for node in second.recovered] == ["mn2@example.org"]
    (given_up,) = (happening for happening in second.happenings if happening.event is TimelineEvent.GIVEN_UP)
    assert (given_up.node, given_up.detail) == ("mn1@example.org", {"reason": "not-possible-with-eap"})


def test_a_peer_whose_clock_is_ahead_is_told_of(path):
    first, second = Member("ha1", path), Member("ha2", path)
    first.wall_step = 600.0
    first.join()
    second.join()
    for now in range(1, 9):
        first.beat(float(now))
        second.beat(float(now) + 0.1)
    [told] = [each for each in second.happenings if each.event is TimelineEvent.CLOCK_DIFFERS]
    assert told.detail["home_agent"] == "ha1"
    assert told.detail["ahead_s"] == pytest.approx(600.0, abs=1.5)


def forget_everything(member, incarnation="another"):
    """As a server does that starts again without what it had."""
    for table in ("leases", "nodes", "bindings"):
        member.store._connection.execute(f"DELETE FROM {table}")
    member.store.incarnation = lambda: incarnation


def test_a_write_that_was_refused_because_the_store_was_emptied_costs_no_node(path):
    member = Member("ha1", path)
    member.join()
    before = member.membership.lease
    forget_everything(member)
    member.membership.doubt(before)
    assert member.membership.lease is None
    assert member.membership.next_timer() <= member.now
    member.beat(0.0)
    after = member.membership.lease
    assert after.token > before.token
    assert (member.stood_down, member.republished) == (0, [after.token])
    assert TimelineEvent.LEASE_LOST not in member.events()


def test_a_write_that_was_refused_because_of_a_claim_makes_the_agent_stand_down(path):
    first, second = serving_first(path, binding(1)), Member("ha2", path)
    second.join()
    lease = first.membership.lease
    second.take_over_from("ha1", 0.5)
    first.membership.doubt(lease)
    first.beat(0.5)
    assert first.stood_down == 1
    assert first.events()[-1] is TimelineEvent.LEASE_LOST


def test_a_refused_write_under_an_older_lease_says_nothing_of_the_present_one(path):
    member = Member("ha1", path)
    member.join()
    before = member.membership.lease
    forget_everything(member)
    member.beat(1.0)
    member.membership.doubt(before)
    assert member.membership.lease is not None


def test_whoever_waits_for_the_next_beat_is_woken_by_a_doubt(path):
    async def run():
        member = Member("ha1", path)
        await member.membership.join()
        member.membership._monitor.handle_timer(0.0)
        waiting = asyncio.create_task(member.membership.until_next_beat())
        await asyncio.sleep(0)
        assert member.membership.next_timer() == 1.0
        member.membership.doubt(member.membership.lease)
        for _ in range(10):
            await asyncio.sleep(0)
        assert waiting.done()
        member.now = 1.0
        await member.membership.until_next_beat()  # due, so at once

    asyncio.run(run())


def test_a_store_that_is_emptied_in_the_middle_of_a_beat_costs_no_node(path):
    member = Member("ha1", path)
    member.join()
    incarnations = iter(["first", "another", "another"])
    member.membership._incarnation = "first"

    def incarnation():
        said = next(incarnations)
        if said == "first":
            member.store._connection.execute("DELETE FROM leases")
        return said

    member.store.incarnation = incarnation
    member.beat(1.0)
    assert member.membership.lease is not None
    assert (member.stood_down, len(member.republished)) == (0, 1)


def test_what_is_still_this_agents_is_served_again_though_the_store_fails_after_the_lease(path):
    member = Member("ha1", path)
    member.join()
    failures = [StoreError("timeout", "It does not answer in time.", "Wait.")]

    async def resume():
        if failures:
            raise failures.pop()
        member.resumed += 1

    member.membership._resume = resume
    member.store._connection.execute("DELETE FROM leases")  # claimed
    member.beat_until(1.0)
    assert member.stood_down == 1
    member.beat_until(2.0)
    assert (member.resumed, member.membership.store_answers) == (0, False)
    member.beat_until(4.0)
    assert member.resumed == 1
    assert member.events().count(TimelineEvent.LEASE_ACQUIRED) == 2


def test_the_lease_outlives_the_queueing_of_many_nodes(path):
    names = tuple(f"mn{index}" for index in range(1, 1001))
    serving_first(path, *(binding(index) for index in range(1, 1001)))
    second = Member("ha2", path, authorised=names)
    second.join()
    held = []

    def recover(nodes):
        second.now += 1.0  # everything else has its turn between two parts
        held.append(second.membership.lease is not None)
        return len(nodes)

    second.membership._recover = recover
    second.beat_until(3.5)
    assert held == [True] * 10
    third = SqliteStore(path)
    assert {lease.home_agent: lease.expires_at > second.now for lease in third.leases()} == {"ha2": True}


def test_an_agent_that_comes_back_just_before_it_is_claimed_is_no_trouble_of_the_store(path, caplog):
    first, second = serving_first(path, binding(1)), Member("ha2", path)
    second.join()
    second.beat_until(2.9)
    leases = second.store.leases

    def leases_before_it_renews():
        found = leases()
        first.store.renew_lease(first.membership._monitor.lease, second.now, LEASE_S)
        return found

    second.store.leases = leases_before_it_renews
    second.beat(3.1)
    assert TimelineEvent.LEASE_LAPSED in second.events()
    assert second.membership.store_answers
    assert (second.recovered, caplog.messages) == ([], [])


def test_a_step_of_the_clock_between_renewal_and_claim_costs_no_node(path):
    serving_first(path, binding(1))
    second = Member("ha2", path)
    second.join()
    second.beat_until(2.9)
    leases, steps = second.store.leases, [60.0]

    def leases_before_the_clock_is_set():
        found = leases()
        if second.now >= 3.0 and steps:
            second.wall_step += steps.pop()
        return found

    second.store.leases = leases_before_the_clock_is_set
    second.beat_until(5.0)
    assert steps == []
    assert second.stood_down == 0
    assert [node.identity for node in second.recovered] == ["mn1@example.org"]


def test_whoever_is_claimed_while_it_claims_brings_nothing_back(path):
    serving_first(path, *(binding(index) for index in range(1, 3)))
    second, third = Member("ha2", path), SqliteStore(path)
    second.join()
    second.beat_until(2.9)
    renew, claimed = second.store.renew_lease, []

    def renew_after_being_claimed(lease, now, duration):
        if not claimed and second.now > 3.0 and third.nodes("ha2"):
            other = third.acquire_lease("ha3", IPv6Address("2001:db8:a3::1"), now, 30.0)
            claimed.extend(third.claim("ha2", other, now, force=True))
        return renew(lease, now, duration)

    second.store.renew_lease = renew_after_being_claimed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("control.daemon.membership._CLAIMED_AT_ONCE", 1)
        second.beat(3.1)
    assert len(claimed) == 1
    assert second.recovered == []
    second.beat(4.2)
    assert second.stood_down == 1


def test_nodes_whose_claim_was_made_but_not_answered_are_brought_back(path):
    serving_first(path, binding(1), binding(2))
    second = Member("ha2", path)
    second.join()
    claim, answers_lost = second.store.claim, [True]

    def claim_unheard(*arguments, **options):
        claimed = claim(*arguments, **options)
        if answers_lost:
            answers_lost.pop()
            raise StoreError("timeout", "It does not answer in time.", "Wait.")
        return claimed

    second.store.claim = claim_unheard
    second.beat_until(5.0)
    assert sorted(node.identity for node in second.recovered) == ["mn1@example.org", "mn2@example.org"]


def test_a_takeover_goes_on_when_the_operator_has_gone(path, caplog):
    serving_first(path, *(binding(index) for index in (1, 2)))
    second = Member("ha2", path)
    second.join()
    claim, begun = second.store.claim, threading.Event()
    may_claim = threading.Event()

    def slow_claim(*arguments, **options):
        begun.set()
        assert may_claim.wait(60)
        return claim(*arguments, **options)

    second.store.claim = slow_claim

    async def run():
        asked = asyncio.create_task(second.membership.take_over_from("ha1"))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        may_claim.set()
        while len(second.recovered) < 2:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert caplog.messages == []


def test_a_takeover_that_nobody_waits_for_says_in_the_log_why_it_failed(path, caplog):
    member = Member("ha1", path)

    async def run():
        with pytest.raises(LeaseLost):
            await member.membership.take_over_from("ha2")

    asyncio.run(run())
    assert ["a takeover that was asked for failed" in message for message in caplog.messages] == [True]


def test_a_renewal_by_another_thread_counts_for_the_lease_it_was_of(path):
    member = Member("ha1", path)
    member.join()
    lease = member.membership.lease
    member.now = 2.5
    member.membership.renewed(lease, 2.0)
    member.now = 4.9
    assert member.membership.lease == lease
    member.membership.renewed(Lease("ha1", lease.token + 1, 99.0), 4.9)
    assert member.membership.lease == lease
    member.now = 5.1
    assert member.membership.lease is None
