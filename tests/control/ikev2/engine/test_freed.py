"""An IKE SA that is over is freed at once: the daemon lets its garbage collector look at everything only rarely."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest

from control.ikev2.sa import IkeSa
from tests.control.ikev2.engine.conftest import Pair


def deleted(pair: Pair) -> None:
    sa, _ = pair.established()
    sa.create_child(pair.request(name="another"), pair.network.now)
    pair.network.run()
    sa.rekey_child(next(iter(sa.children.values())), pair.network.now)
    pair.network.run()
    sa.delete(pair.network.now)


def deleted_by_the_responder(pair: Pair) -> None:
    _, other = pair.established()
    other.delete(pair.network.now)


def rekeyed(pair: Pair) -> None:
    sa, _ = pair.established()
    sa.rekey(pair.network.now)
    pair.network.run()
    for successor in pair.agent.sas():
        successor.delete(pair.network.now)


def rekeyed_by_both_at_once(pair: Pair) -> None:
    sa, other = pair.established()
    sa.rekey(pair.network.now)
    other.rekey(pair.network.now)
    pair.network.run()
    for successor in pair.agent.sas():
        successor.delete(pair.network.now)


def refused(pair: Pair) -> None:
    pair.node.policy.key = b"another"
    pair.connect()


def never_answered(pair: Pair) -> None:
    pair.network.keep = lambda datagram: False
    pair.connect()


def left_half_open(pair: Pair) -> None:
    pair.connect()
    (request,) = pair.network.gather()
    pair.network.deliver(request)
    pair.network.keep = lambda datagram: False


def given_up(pair: Pair) -> None:
    for sa in pair.established():
        sa.probe_liveness(pair.network.now)
    pair.network.keep = lambda datagram: False


def abandoned(pair: Pair) -> None:
    for sa in pair.established():
        sa.abandon(pair.network.now)
    pair.connect().abandon(pair.network.now)


@pytest.fixture
def _no_collections() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.parametrize(
    "over",
    [
        deleted,
        deleted_by_the_responder,
        rekeyed,
        rekeyed_by_both_at_once,
        refused,
        never_answered,
        left_half_open,
        given_up,
        abandoned,
    ],
)
def test_nothing_of_it_is_left_to_the_garbage_collector(pair: Pair, over: Callable[[Pair], None]) -> None:
    before = len(living())
    over(pair)
    assert len(living()) > before
    pair.network.advance(pair.network.now + 400)
    for peer in (pair.agent, pair.node):
        assert len(peer.endpoint) == 0
        assert peer.endpoint.next_timer() is None
        peer.collect()
        peer.reported.clear()  # each event is with its SA
    assert len(living()) == before


def living() -> list[IkeSa]:
    return [found for found in gc.get_objects() if isinstance(found, IkeSa)]
