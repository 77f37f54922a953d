"""Deletion of child and IKE SAs, liveness, initial contact, errors that end an SA."""

from __future__ import annotations

import pytest

from control.ikev2 import reception
from control.ikev2.events import (
    ChildClosed,
    ChildEstablished,
    ChildFailed,
    IkeClosed,
    IkeFailed,
    PeerAlive,
)
from control.ikev2.message import encrypted_prefix
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payload_chain import encode_payload_chain
from control.ikev2.payloads import DeletePayload, NotifyPayload, UnknownPayload
from control.ikev2.states import InvalidTransition, State, Trigger, next_state
from tests.control.ikev2.engine.conftest import RawRequest


def closed(peer):
    return [event.reason for event in peer.events(IkeClosed)]


def children_closed(peer):
    return [event.reason for event in peer.events(ChildClosed)]


@pytest.mark.parametrize("by_initiator", [True, False])
def test_deleting_the_ike_sa_ends_it_on_both_sides(pair, by_initiator):
    sa, other = pair.established()
    deleter, deleted = (pair.agent, pair.node) if by_initiator else (pair.node, pair.agent)
    (sa if by_initiator else other).delete(pair.network.now)
    assert children_closed(deleter) == ["ike-closed"]
    assert closed(deleter) == []
    pair.network.run()
    assert closed(deleter) == ["deleted"]
    assert children_closed(deleted) == ["ike-closed"]
    assert closed(deleted) == ["deleted-by-peer"]
    pair.network.advance(pair.network.now + 20)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)
    assert pair.agent.endpoint.next_timer() is None
    assert pair.node.endpoint.next_timer() is None


def test_both_sides_delete_at_once(pair):
    sa, other = pair.established()
    sa.delete(pair.network.now)
    other.delete(pair.network.now)
    pair.network.run()
    assert (closed(pair.agent), closed(pair.node)) == (["deleted"], ["deleted"])
    pair.network.advance(pair.network.now + 60)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)


def test_the_answer_to_a_deletion_is_repeated_if_it_was_lost(pair):
    sa, _ = pair.established()
    sa.delete(pair.network.now)
    (request,) = pair.network.gather()
    pair.network.deliver(request)
    assert len(pair.network.gather()) == 1
    pair.network.advance(pair.network.now + 2)
    assert closed(pair.agent) == ["deleted"]
    assert pair.node.endpoint.statistics["responses-repeated"] == 1


def test_a_deletion_nobody_answers_ends_all_the_same(pair):
    sa, _ = pair.established()
    pair.network.keep = lambda datagram: False
    sa.delete(pair.network.now)
    pair.network.advance(pair.network.now + 100)
    assert closed(pair.agent) == ["deleted"]
    assert len(pair.agent.endpoint) == 0


def test_deletion_overtakes_waiting_requests(pair):
    sa, _ = pair.established()
    sa.create_child(pair.request(name="under way"), pair.network.now)
    sa.create_child(pair.request(name="waiting"), pair.network.now)
    (request,) = pair.network.gather()
    sa.delete(pair.network.now)
    pair.network.deliver(request)
    pair.network.run()
    assert closed(pair.agent) == ["deleted"]
    assert [event.child.name for event in pair.agent.events(ChildEstablished)] == ["mobility"]
    assert pair.agent.endpoint.statistics["sent-create-child-sa-request"] == 1
    assert len(pair.node.events(ChildEstablished)) == len(pair.node.events(ChildClosed)) == 2


@pytest.mark.parametrize("by_initiator", [True, False])
def test_deleting_a_child_leaves_the_others(pair, by_initiator):
    sa, other = pair.established()
    sa.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    mine = sa if by_initiator else other
    deleter, deleted = (pair.agent, pair.node) if by_initiator else (pair.node, pair.agent)
    child = next(iter(mine.children.values()))
    mine.delete_child(child, pair.network.now)
    pair.network.run()
    assert [(event.child, event.reason) for event in deleter.events(ChildClosed)] == [(child, "deleted")]
    (event,) = deleted.events(ChildClosed)
    assert (event.child.outbound_spi, event.reason) == (child.inbound_spi, "deleted-by-peer")
    assert len(sa.children) == len(other.children) == 1
    assert sa.is_established
    mine.delete_child(child.inbound_spi, pair.network.now)
    assert pair.network.gather() == []


def test_both_sides_delete_the_same_child_at_once(pair):
    sa, other = pair.established()
    (mine,), (theirs,) = sa.children.values(), other.children.values()
    sa.delete_child(mine, pair.network.now)
    other.delete_child(theirs, pair.network.now)
    pair.network.run()
    assert (children_closed(pair.agent), children_closed(pair.node)) == (["deleted"], ["deleted"])
    assert sa.is_established
    assert other.is_established


@pytest.mark.parametrize("by_initiator", [True, False])
def test_a_living_peer_answers_a_probe(pair, by_initiator):
    sa, other = pair.established()
    pair.network.now = 150.0
    (sa if by_initiator else other).probe_liveness(150.0)
    pair.network.run()
    prober = pair.agent if by_initiator else pair.node
    assert prober.events(PeerAlive) == [PeerAlive()]
    assert (sa if by_initiator else other).last_heard_at == 150.0


def test_one_probe_at_a_time(pair):
    sa, _ = pair.established()
    sa.probe_liveness(pair.network.now)
    sa.probe_liveness(pair.network.now)
    assert len(pair.network.gather()) == 1
    assert sa.exchanges.waiting == 0


def test_a_dead_peer_ends_the_sa(pair):
    sa, _ = pair.established()
    pair.network.keep = lambda datagram: False
    sa.probe_liveness(pair.network.now)
    pair.network.advance(pair.network.now + 100)
    assert closed(pair.agent) == ["timeout"]
    assert children_closed(pair.agent) == ["ike-closed"]
    assert len(pair.agent.endpoint) == 0


def test_initial_contact_closes_the_older_sas_of_the_same_peer(pair):
    pair.established()
    pair.agent.restart()
    second, _ = pair.established(initial_contact=True)
    assert closed(pair.node) == ["initial-contact"]
    assert children_closed(pair.node) == ["ike-closed"]
    assert len(pair.node.endpoint) == 1
    assert pair.node.endpoint.sas_with(pair.agent.identity)[0].remote_spi == second.local_spi


def test_without_initial_contact_older_sas_stay(pair):
    pair.established()
    pair.established()
    assert closed(pair.node) == []
    assert len(pair.node.endpoint.sas_with(pair.agent.identity)) == 2


def test_initial_contact_of_an_impostor_closes_nothing(pair):
    pair.established()
    pair.agent.restart()
    pair.agent.policy.key = b"guess"
    pair.connect(initial_contact=True)
    pair.network.run()
    assert closed(pair.node) == []
    assert len(pair.node.endpoint.sas_with(pair.agent.identity)) == 1


@pytest.mark.parametrize("established", [True, False])
def test_abandoning_says_nothing(pair, established):
    sa = pair.established()[0] if established else pair.connect()
    pair.network.gather()
    sa.abandon(pair.network.now)
    assert pair.network.gather() == []
    assert len(pair.agent.endpoint) == 0
    reasons = closed(pair.agent) if established else [event.reason for event in pair.agent.events(IkeFailed)]
    assert reasons == ["abandoned"]
    sa.abandon(pair.network.now)
    assert pair.agent.endpoint.events() == []


def test_deleting_what_is_not_established_abandons_it(pair):
    sa = pair.connect()
    sa.delete(pair.network.now)
    assert [event.reason for event in pair.agent.events(IkeFailed)] == ["abandoned"]


def test_an_unknown_critical_payload_is_refused_and_the_sa_stays(pair):
    sa, other = pair.established()
    request = RawRequest(ExchangeType.INFORMATIONAL, UnknownPayload(201, True, b""), DeletePayload(1))
    sa.exchanges.submit(request, pair.network.now)
    pair.network.run()
    assert request.answer == (NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data=b"\xc9"),)
    assert other.is_established


def test_deleting_unknown_children_is_harmless(pair):
    sa, other = pair.established()
    request = RawRequest(
        ExchangeType.INFORMATIONAL,
        DeletePayload(3, (b"none", b"such")),
        DeletePayload(2, (b"ahah",)),
        NotifyPayload(40000),
    )
    sa.exchanges.submit(request, pair.network.now)
    pair.network.run()
    assert request.answer == ()
    assert len(other.children) == 1


def malformed(sa, exchange, message_id, is_response):
    """An authentic message whose contents are no payloads."""
    _, chain = encode_payload_chain((NotifyPayload(40000),))
    chain = chain[:-1]
    prefix = encrypted_prefix(
        sa.header(exchange, message_id, is_response=is_response), 41, sa.cipher.body_size(len(chain))
    )
    return prefix + sa.cipher.seal(chain, prefix)


def test_an_authentic_malformed_request_ends_the_sa_with_invalid_syntax(pair):
    sa, other = pair.established()
    request = RawRequest(ExchangeType.INFORMATIONAL)
    sa.exchanges.submit(request, pair.network.now)
    pair.network.gather()
    data = malformed(sa, ExchangeType.INFORMATIONAL, 2, is_response=False)
    pair.node.endpoint.receive_datagram(data, pair.node.address, pair.agent.address, pair.network.now)
    assert closed(pair.node) == ["invalid-syntax"]
    pair.network.run()
    assert request.answer == (NotifyPayload(NotifyType.INVALID_SYNTAX),)
    assert other.state is State.LINGERING


def test_an_authentic_malformed_answer_makes_this_side_delete_the_sa(pair):
    sa, other = pair.established()
    sa.probe_liveness(pair.network.now)
    pair.network.gather()
    data = malformed(other, ExchangeType.INFORMATIONAL, 2, is_response=True)
    other.exchanges.expected_id += 1
    pair.agent.endpoint.receive_datagram(data, pair.agent.address, pair.node.address, pair.network.now)
    pair.network.run()
    assert closed(pair.agent) == ["deleted"]
    assert closed(pair.node) == ["deleted-by-peer"]


@pytest.mark.parametrize("as_answer", [True, False])
def test_a_fatal_error_from_the_peer_ends_the_sa(pair, as_answer, monkeypatch):
    sa, _ = pair.established()
    fatal = NotifyPayload(NotifyType.INVALID_SYNTAX)
    if as_answer:
        monkeypatch.setitem(
            reception._ANSWERS, (State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA), lambda *arguments: (fatal,)
        )
        sa.create_child(pair.request(), pair.network.now)
        pair.network.run()
        assert closed(pair.agent) == ["invalid-syntax"]
        assert not pair.agent.events(ChildFailed)
    else:
        sa.exchanges.submit(RawRequest(ExchangeType.INFORMATIONAL, fatal), pair.network.now)
        pair.network.run()
        assert closed(pair.node) == ["invalid-syntax"]


def test_a_child_asked_for_while_closing_is_temporarily_refused(pair):
    sa, other = pair.established()
    sa.delete(pair.network.now)
    (deletion,) = pair.network.gather()
    other.create_child(pair.request(), pair.network.now)
    pair.network.run()
    assert pair.node.endpoint.statistics["temporary-failures"] == 1
    assert not pair.node.events(ChildFailed)
    pair.network.deliver(deletion)
    pair.network.advance(pair.network.now + 30)
    assert closed(pair.agent) == ["deleted"]
    assert closed(pair.node) == ["deleted-by-peer"]


def test_what_the_table_does_not_know_is_a_fault_of_the_program():
    assert next_state(State.IDLE, Trigger.SEND_INIT) is State.INIT_SENT
    with pytest.raises(InvalidTransition, match="authenticated in state idle"):
        next_state(State.IDLE, Trigger.AUTHENTICATED)
    with pytest.raises(InvalidTransition):
        next_state(State.CLOSED, Trigger.FORGET)
