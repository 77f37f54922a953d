"""IKE SAs with strongSwan, begun, rekeyed, probed and ended by either side.

No child SA comes of it on a kernel without ESP; the IKE SA stays, and that is what these tests are about.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.ike_peers import THEIR_NAME, Peers
from control.ikev2.events import IkeClosed, IkeRekeyed, PeerAlive
from control.ikev2.notation import parse_ike_proposal
from control.ikev2.numbers import DiffieHellmanGroup
from control.ikev2.states import Role, State
from tests.interop.credentials import SHARED, connections

pytestmark = pytest.mark.namespaces

OVER = (State.LINGERING, State.OBSOLETE)
CONNECTIONS = connections(SHARED)
_REKEYINGS = 3


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with Peers(tmp_path) as both:
        both.charon.load(CONNECTIONS)
        yield both


@pytest.mark.interop("IKE SA deleted by strongSwan", role="responder", authentication=SHARED)
def test_strongswan_begins_and_ends_an_ike_sa(peers: Peers) -> None:
    peers.swanctl_and_pump("--initiate", "--ike", "ha")
    (sa,) = peers.ours.established()
    assert (sa.role, str(sa.remote_identity)) == (Role.RESPONDER, THEIR_NAME)
    (seen,) = peers.charon.established()
    assert (seen["initiator-spi"], seen["responder-spi"]) == (sa.remote_spi.hex(), sa.local_spi.hex())
    peers.swanctl_and_pump("--terminate", "--ike", "ha")
    assert [event.reason for event in peers.ours.happened(IkeClosed)] == ["deleted-by-peer"]


@pytest.mark.interop("IKE SA deleted by us", role="initiator", authentication=SHARED)
def test_we_begin_and_end_an_ike_sa(peers: Peers) -> None:
    sa = peers.connect()
    (seen,) = peers.charon.established()
    assert (seen["initiator-spi"], seen["responder-spi"]) == (sa.local_spi.hex(), sa.remote_spi.hex())
    sa.delete(time.monotonic())
    peers.ours.wait(lambda: peers.ours.happened(IkeClosed))
    assert not peers.charon.established()


@pytest.mark.interop("liveness probed by us", role="initiator", authentication=SHARED)
def test_we_probe(peers: Peers) -> None:
    sa = peers.connect()
    sa.probe_liveness(time.monotonic())
    peers.ours.wait(lambda: peers.ours.happened(PeerAlive))


@pytest.mark.interop("liveness probed by strongSwan", role="responder", authentication=SHARED)
def test_strongswan_probes(peers: Peers) -> None:
    peers.charon.load(connections(SHARED, settings="dpd_delay = 1s"))
    peers.swanctl_and_pump("--initiate", "--ike", "ha")
    before = peers.endpoint.statistics["received-informational-request"]
    peers.ours.wait(lambda: peers.endpoint.statistics["received-informational-request"] >= before + 2)
    assert len(peers.charon.established()) == 1


@pytest.mark.interop("IKE SA rekeyed by {who}", role="initiator", authentication=SHARED)
@pytest.mark.parametrize("who", ["us", "strongSwan", "both at once"])
def test_the_ike_sa_is_rekeyed(peers: Peers, who: str) -> None:
    peers.connect()
    collisions, rounds = 0, 0
    while rounds < _REKEYINGS or (who == "both at once" and collisions < _REKEYINGS):
        rounds += 1
        assert rounds <= 5 * _REKEYINGS, f"{collisions} collisions in {rounds - 1} tries"
        (sa,) = peers.ours.established()
        if who != "us":
            peers.charon.swanctl("--rekey", "--ike", "ha")
        if who == "both at once":
            # Its request is most likely in our socket by now, unread; the end of the last round may be there before it.
            assert peers.ours.has_arrivals(5.0)
        if who != "strongSwan":
            sa.rekey(time.monotonic())
        peers.ours.wait(lambda count=rounds: len(peers.ours.happened(IkeRekeyed)) == count)
        # strongSwan may take the deletion of the old SA before the answer that makes a collision known to it; then it
        # forgets its own request, and what came of that here is left to expire (RFC 7296 section 2.8.2).
        peers.ours.wait(lambda: len([each for each in peers.endpoint.sas() if each.state not in OVER]) == 1)
        (new,) = peers.ours.established()
        (seen,) = peers.charon.established()
        assert {seen["initiator-spi"], seen["responder-spi"]} == {new.local_spi.hex(), new.remote_spi.hex()}
        collisions = peers.endpoint.statistics["ike-rekeying-collisions"]
    assert not peers.ours.happened(IkeClosed)
    assert who == "both at once" or not collisions


@pytest.mark.interop("COOKIE asked for by us", role="responder", authentication=SHARED)
def test_we_ask_for_a_cookie(tmp_path: Path) -> None:
    with Peers(tmp_path, cookie_threshold=0) as peers:
        peers.charon.load(CONNECTIONS)
        peers.swanctl_and_pump("--initiate", "--ike", "ha")
        assert peers.ours.established()
        assert peers.endpoint.statistics["cookies-sent"] == 1


@pytest.mark.interop("COOKIE asked for by strongSwan", role="initiator", authentication=SHARED)
def test_strongswan_asks_for_a_cookie(tmp_path: Path) -> None:
    with Peers(tmp_path, options="cookie_threshold = 1") as peers:
        peers.charon.load(CONNECTIONS)
        # What makes it ask is an SA that its peer does not complete.
        abandoned = peers.begin()
        peers.ours.sockets.send(peers.endpoint.datagrams_to_send())
        assert peers.ours.has_arrivals(10.0)
        abandoned.abandon(time.monotonic())
        assert list(peers.ours.socket.receive())
        peers.connect()
        assert "IKE_SA_INIT response 0 [ N(COOKIE) ]" in peers.charon.log()


@pytest.mark.interop("INVALID_KE_PAYLOAD, the other group taken", role="initiator", authentication=SHARED)
def test_strongswan_asks_us_for_another_group(tmp_path: Path) -> None:
    proposal = parse_ike_proposal("aes128gcm16-prfsha256-x25519-ecp384")
    with Peers(tmp_path, ike_proposals=(proposal,)) as peers:
        peers.charon.load(CONNECTIONS.replace("x25519", "ecp384"))
        sa = peers.connect()
        assert sa.suite is not None
        assert sa.suite.group is DiffieHellmanGroup.ECP384
        assert "IKE_SA_INIT response 0 [ N(INVAL_KE) ]" in peers.charon.log()
