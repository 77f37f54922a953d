"""Who is who, proven to strongSwan and by it in every way both know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.lab.ike_peers import OUR_NAME, THEIR_NAME, Peers
from tests.interop.credentials import AUTHENTICATIONS, KEY_TYPES, connections, prepare

pytestmark = pytest.mark.namespaces

FRAGMENT_SIZE = 800


@pytest.fixture(scope="module")
def shared_peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with Peers(tmp_path_factory.mktemp("swan"), options=f"fragment_size = {FRAGMENT_SIZE}") as both:
        yield both


@pytest.fixture
def peers(shared_peers: Peers) -> Iterator[Peers]:
    yield shared_peers
    shared_peers.end()


def begin(peers: Peers, role: str) -> None:
    if role == "initiator":
        peers.connect()
    else:
        peers.swanctl_and_pump("--initiate", "--ike", "ha")


def check(peers: Peers) -> None:
    (sa,) = peers.ours.established()
    (seen,) = peers.charon.established()
    assert (str(sa.local_identity), str(sa.remote_identity)) == (OUR_NAME, THEIR_NAME)
    assert (seen["remote-id"], seen["local-id"]) == (OUR_NAME, THEIR_NAME)


@pytest.mark.interop("IKE SA", role="{role}", authentication="{authentication}")
@pytest.mark.parametrize("role", ["initiator", "responder"])
@pytest.mark.parametrize("authentication", AUTHENTICATIONS)
def test_both_sides_are_authenticated(peers: Peers, authentication: str, role: str) -> None:
    prepare(peers, authentication)
    begin(peers, role)
    check(peers)


@pytest.mark.interop("certificate chain in fragments each way", role="{role}", authentication="{authentication}")
@pytest.mark.parametrize("role", ["initiator", "responder"])
@pytest.mark.parametrize("authentication", KEY_TYPES)
def test_a_chain_in_fragments(peers: Peers, authentication: str, role: str) -> None:
    text = connections(authentication, settings="fragmentation = yes")
    prepare(peers, authentication, text, intermediates=2, fragment_size=FRAGMENT_SIZE)
    reassembled = peers.charon.log().count("reassembled fragmented IKE message")
    begin(peers, role)
    check(peers)
    assert peers.endpoint.statistics["reassembled-messages"] == 1
    assert peers.charon.log().count("reassembled fragmented IKE message") == reassembled + 1
