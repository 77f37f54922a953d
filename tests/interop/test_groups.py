"""Every Diffie-Hellman group and cipher with strongSwan, as the side that begins and the side that answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lab.ike_peers import Peers
from control.ikev2.notation import parse_ike_proposal
from control.ikev2.states import Role
from tests.interop.test_ike_sas import CONNECTIONS

pytestmark = pytest.mark.namespaces

GROUPS = ("modp2048", "modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519")
OFFERED_FIRST = "aes128gcm16-prfsha256-x25519"
OURS = (parse_ike_proposal(f"{OFFERED_FIRST}-{'-'.join(GROUPS[:-1])}"), parse_ike_proposal("aes256-sha512-modp2048"))


def connections(proposals: str) -> str:
    return CONNECTIONS.replace(f"proposals = {OFFERED_FIRST}", f"proposals = {proposals}", 1)


@pytest.mark.interop(f"Diffie-Hellman groups {', '.join(GROUPS)}", role="both", authentication="shared key")
def test_each_group_begun_by_either_side(tmp_path: Path) -> None:
    with Peers(tmp_path, ike_proposals=OURS) as peers:
        for number, group in enumerate(GROUPS):
            peers.charon.load(connections(f"aes128gcm16-prfsha256-{group}"))
            sa = peers.connect()
            assert sa.suite is not None
            assert sa.suite.group is parse_ike_proposal(f"aes128gcm16-prfsha256-{group}").groups[0]
            peers.swanctl_and_pump("--terminate", "--ike", "ha")
            peers.swanctl_and_pump("--initiate", "--ike", "ha")
            answered = [sa for sa in peers.ours.established() if sa.role is Role.RESPONDER]
            assert [str(sa.suite).rpartition("/")[2] for sa in answered] == [sa.suite.group.name]
            peers.swanctl_and_pump("--terminate", "--ike", "ha")
            peers.ours.wait(lambda: not peers.ours.established())
            assert peers.endpoint.statistics["established"] == 2 * (number + 1)


@pytest.mark.interop("INVALID_KE_PAYLOAD, the other group taken", role="responder", authentication="shared key")
def test_we_ask_strongswan_for_another_group(tmp_path: Path) -> None:
    with Peers(tmp_path, ike_proposals=(parse_ike_proposal("aes128gcm16-prfsha256-ecp521-modp3072"),)) as peers:
        for group in ("ecp521", "modp3072"):
            peers.charon.load(connections(f"aes128gcm16-prfsha256-x25519-{group}"))
            peers.swanctl_and_pump("--initiate", "--ike", "ha")
            (sa,) = peers.ours.established()
            assert str(sa.suite).endswith(group.upper())
            peers.swanctl_and_pump("--terminate", "--ike", "ha")
        assert peers.endpoint.statistics["refused-invalid-ke-payload"] == 2


@pytest.mark.interop("IKE SA with {proposal}", role="initiator", authentication="shared key")
@pytest.mark.parametrize(
    "proposal", ["chacha20poly1305-prfsha256-x25519", "aes192gcm16-prfsha384-x25519", "aes256-sha512-ecp256"]
)
def test_each_cipher(tmp_path: Path, proposal: str) -> None:
    ours = parse_ike_proposal(proposal)
    with Peers(tmp_path, ike_proposals=(ours,)) as peers:
        peers.charon.load(connections(proposal))
        sa = peers.connect()
        assert sa.suite is not None
        assert (sa.suite.cipher.encryption, sa.suite.cipher.key_bits) == ours.encryption[0]
        peers.swanctl_and_pump("--terminate", "--ike", "ha")
