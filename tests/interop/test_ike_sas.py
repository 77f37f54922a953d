"""IKE SAs with strongSwan, begun, rekeyed, probed and ended by either side."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from control.ikev2.events import IkeClosed, IkeRekeyed, PeerAlive
from control.ikev2.states import Role, State
from tests.interop.peers import OUR_NAME, OURS, SHARED_KEY, THEIR_NAME, THEIRS, Peers

pytestmark = pytest.mark.namespaces

OVER = (State.LINGERING, State.OBSOLETE)
# No child SA comes of it on a kernel without ESP; the IKE SA stays, and that is what these tests are about.
CONNECTIONS = f"""
connections {{ ha {{
  local_addrs = {THEIRS}
  remote_addrs = {OURS}
  proposals = aes128gcm16-prfsha256-x25519
  local {{ auth = psk
 id = {THEIR_NAME} }}
  remote {{ auth = psk
 id = {OUR_NAME} }}
  children {{ c {{ mode = transport
 esp_proposals = aes128gcm16 }} }}
}} }}
secrets {{ ike {{ id = {OUR_NAME}
 secret = {SHARED_KEY.decode()} }} }}
"""


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with Peers(tmp_path) as both:
        both.charon.load(CONNECTIONS)
        yield both


def test_strongswan_begins_and_ends_an_ike_sa(peers: Peers) -> None:
    peers.swanctl_and_pump("--initiate", "--ike", "ha")
    (sa,) = peers.ours.established()
    assert (sa.role, str(sa.remote_identity)) == (Role.RESPONDER, THEIR_NAME)
    (seen,) = peers.charon.established()
    assert (seen["initiator-spi"], seen["responder-spi"]) == (sa.remote_spi.hex(), sa.local_spi.hex())
    peers.swanctl_and_pump("--terminate", "--ike", "ha")
    assert [event.reason for event in peers.ours.happened(IkeClosed)] == ["deleted-by-peer"]


def test_we_begin_probe_and_end_an_ike_sa(peers: Peers) -> None:
    sa = peers.connect()
    (seen,) = peers.charon.established()
    assert (seen["initiator-spi"], seen["responder-spi"]) == (sa.local_spi.hex(), sa.remote_spi.hex())
    sa.probe_liveness(time.monotonic())
    peers.ours.wait(lambda: peers.ours.happened(PeerAlive))
    sa.delete(time.monotonic())
    peers.ours.wait(lambda: peers.ours.happened(IkeClosed))
    assert not peers.charon.established()


@pytest.mark.parametrize("who", ["we", "strongSwan", "both at once"])
def test_the_ike_sa_is_rekeyed(peers: Peers, who: str) -> None:
    peers.connect()
    for count in range(1, 4):
        (sa,) = peers.ours.established()
        if who != "we":
            peers.charon.swanctl("--rekey", "--ike", "ha")
        if who == "both at once":
            # Its request is in our socket by now, unread.
            assert select.select([peers.ours.socket], [], [], 5.0)[0]
        if who != "strongSwan":
            sa.rekey(time.monotonic())
        peers.ours.wait(lambda count=count: len(peers.ours.happened(IkeRekeyed)) == count)
        # strongSwan may take the deletion of the old SA before the answer that makes a collision known to it; then it
        # forgets its own request, and what came of that here is left to expire (RFC 7296 section 2.8.2).
        peers.ours.wait(lambda: len([each for each in peers.endpoint.sas() if each.state not in OVER]) == 1)
        (new,) = peers.ours.established()
        (seen,) = peers.charon.established()
        assert {seen["initiator-spi"], seen["responder-spi"]} == {new.local_spi.hex(), new.remote_spi.hex()}
    assert not peers.ours.happened(IkeClosed)
    assert peers.endpoint.statistics["ike-rekeying-collisions"] == (3 if who == "both at once" else 0)
