"""strongSwan, redirected by us to another home agent: in IKE_SA_INIT and in the middle of a session.

Not in IKE_AUTH: charon 5.9.8 ends there with a double free, after it has understood the redirect.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.ike_peers import THEIR_NAME, Ours, Peers, run
from control.ikev2.events import IkeClosed, IkeEstablished
from control.ikev2.redirect import Redirection
from tests.interop.test_ike_sas import CONNECTIONS

pytestmark = pytest.mark.namespaces

ELSEWHERE = IPv6Address("2001:db8:5::9")


def redirection(stage: str) -> Redirection:
    def decide(peer: object, sas: int) -> IPv6Address | None:
        return ELSEWHERE if stage == "init" else None

    return decide


@pytest.mark.interop("REDIRECT of strongSwan, in {stage}", role="responder", authentication="shared key")
@pytest.mark.parametrize("stage", ["init", "session"])
def test_strongswan_goes_where_it_is_sent(tmp_path: Path, stage: str) -> None:
    with Peers(tmp_path, redirection=redirection(stage)) as peers:
        run("ip", "-n", peers.our_namespace, "address", "add", f"{ELSEWHERE}/64", "dev", "wire", "nodad")
        other = Ours(peers.our_namespace, ELSEWHERE, peers.policy)
        try:
            peers.charon.load(CONNECTIONS)
            peers.charon.begin("--initiate", "--ike", "ha")

            def wait_for(condition: Callable[[], object]) -> None:
                def holds() -> object:
                    other.pump(0.01)
                    return condition()

                peers.ours.wait(holds)

            if stage == "session":
                peers.ours.wait(peers.ours.established)
                (sa,) = peers.ours.established()
                assert sa.redirect(ELSEWHERE, time.monotonic())
            wait_for(other.established)
            (sa,) = other.established()
            assert str(sa.remote_identity) == THEIR_NAME
            assert sa.takes_redirects, "it says where it was redirected from"
            if stage != "init":
                wait_for(lambda: peers.ours.happened(IkeClosed))
            wait_for(lambda: [each["remote-host"] for each in peers.charon.established()] == [str(ELSEWHERE)])
            assert len(peers.ours.happened(IkeEstablished)) == (stage != "init")
        finally:
            other.close()
