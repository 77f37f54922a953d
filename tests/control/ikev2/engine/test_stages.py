"""Messages that come together are opened before any is acted upon, and requests begin when all has been dealt with."""

from __future__ import annotations

from control.ikev2.events import ChildEstablished, ChildFailed, IkeClosed, IkeEstablished, IkeFailed


def receive_together(pair, receiver, datagrams) -> None:
    receiver.endpoint.receive_datagrams([(each.data, each.remote, each.local) for each in datagrams], pair.network.now)


def test_handshakes_go_on_together(pair):
    sas = [pair.connect() for _ in range(3)]
    for expected in (0, 0, 3):
        requests = pair.network.take(pair.agent)
        assert len(pair.agent.events(IkeEstablished)) == expected
        receive_together(pair, pair.node, requests)
        receive_together(pair, pair.agent, pair.network.take(pair.node))
    assert all(sa.is_established and len(sa.children) == 1 for sa in sas)
    assert len(pair.agent.events(ChildEstablished)) == len(pair.node.events(ChildEstablished)) == 3


def test_a_repetition_in_the_same_batch_counts_once(pair):
    pair.connect()
    for _ in range(2):
        (request,) = pair.network.take(pair.agent)
        receive_together(pair, pair.node, [request, request, request])
        answers = pair.network.take(pair.node)
        assert len(answers) == 3
        assert len({answer.data for answer in answers}) == 1
        receive_together(pair, pair.agent, answers)
    assert len(pair.agent.events(IkeEstablished)) == len(pair.node.events(IkeEstablished)) == 1
    assert len(pair.agent.events(ChildEstablished)) == 1
    assert pair.agent.endpoint.statistics["dropped-unexpected-response"] == 4
    assert pair.node.endpoint.statistics["responses-repeated"] == 4


def test_an_sa_that_an_earlier_message_of_the_batch_has_closed_takes_no_more(pair):
    older, _ = pair.established()
    older.create_child(pair.request(name="too late"), pair.network.now)
    (too_late,) = pair.network.take(pair.agent)
    pair.connect(initial_contact=True)
    (init,) = pair.network.take(pair.agent)
    pair.network.deliver(init)
    (answer,) = pair.network.take(pair.node)
    pair.network.deliver(answer)
    (auth,) = pair.network.take(pair.agent)

    receive_together(pair, pair.node, [auth, too_late])

    assert [event.reason for event in pair.node.events(IkeClosed)] == ["initial-contact"]
    assert pair.node.endpoint.statistics["dropped-unexpected-request"] == 1
    assert len(pair.node.events(ChildEstablished)) == 2  # of the two IKE_AUTH, none of the closed SA's request
    (answer,) = pair.network.take(pair.node)
    pair.network.deliver(answer)
    assert len(pair.agent.events(IkeEstablished)) == 2


def test_what_is_asked_for_together_leaves_in_order_and_only_if_it_is_still_wanted(pair):
    sa, _ = pair.established()
    sa.create_child(pair.request(name="never begun"), pair.network.now)
    sa.probe_liveness(pair.network.now)
    assert sa.exchanges.waiting == 1  # any request asks for a sign of life
    sa.delete(pair.network.now)
    pair.network.run()
    assert pair.agent.endpoint.statistics["sent-create-child-sa-request"] == 0
    assert pair.agent.endpoint.statistics["sent-informational-request"] == 1
    assert not pair.agent.events(ChildFailed)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted"]


def test_whoever_asks_for_events_until_there_are_none_hears_of_requests_that_cannot_begin(pair):
    pair.agent.policy.key = None
    pair.connect()
    (init,) = pair.network.take(pair.agent)
    pair.network.deliver(init)
    (answer,) = pair.network.take(pair.node)
    pair.agent.reported.clear()
    receive_together(pair, pair.agent, [answer])
    happened = []
    while events := pair.agent.endpoint.events():
        happened += [event for _, event in events]
    assert [event.reason for event in happened if isinstance(event, IkeFailed)] == ["no-credentials"]
    assert not pair.network.take(pair.agent)
