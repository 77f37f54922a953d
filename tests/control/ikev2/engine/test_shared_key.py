"""The happy way with a shared key, in both roles."""

from __future__ import annotations

import pytest

from control.ikev2.events import ChildEstablished, IkeEstablished
from control.ikev2.states import Role


@pytest.mark.parametrize("agent_begins", [True, False])
def test_ike_and_child_are_established_in_two_exchanges(pair, agent_begins):
    initiator, responder = (pair.agent, pair.node) if agent_begins else (pair.node, pair.agent)
    sa, other = pair.established(initiator)
    sent = {slug: count for slug, count in initiator.endpoint.statistics.items() if slug.startswith("sent-")}
    assert sent == {"sent-ike-sa-init-request": 1, "sent-ike-auth-request": 1}
    assert len(pair.network.carried) == 4
    assert (sa.role, other.role) == (Role.INITIATOR, Role.RESPONDER)
    assert sa.remote_identity == responder.identity
    assert other.remote_identity == initiator.identity
    assert initiator.events(IkeEstablished) == [IkeEstablished(responder.identity, None)]
    assert responder.events(IkeEstablished) == [IkeEstablished(initiator.identity, None)]
    (mine,), (theirs,) = initiator.events(ChildEstablished), responder.events(ChildEstablished)
    assert_matching(mine.child, theirs.child)
    assert mine.child.name == "mobility"
    assert theirs.child.name == "granted"
    assert mine.child.initiated
    assert not theirs.child.initiated


def assert_matching(mine, theirs):
    assert mine.inbound_spi == theirs.outbound_spi
    assert mine.outbound_spi == theirs.inbound_spi
    assert mine.suite == theirs.suite
    assert mine.inbound_encryption_key == theirs.outbound_encryption_key
    assert mine.outbound_encryption_key == theirs.inbound_encryption_key
    assert mine.inbound_encryption_key != mine.outbound_encryption_key
    assert mine.inbound_integrity_key == theirs.outbound_integrity_key
    assert mine.outbound_integrity_key == theirs.inbound_integrity_key
    assert len(mine.inbound_encryption_key) == mine.suite.encryption_key_size
    assert len(mine.inbound_integrity_key) == mine.suite.integrity_key_size
    assert mine.local_selectors == theirs.remote_selectors
    assert mine.remote_selectors == theirs.local_selectors
    assert mine.transport_mode
    assert theirs.transport_mode
