"""EAP in IKE_AUTH: strongSwan proves itself to us by a password, and we to it (RFC 7296 section 2.16)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from bench.lab.ike_peers import OUR_NAME, THEIR_NAME, Peers, Policy
from bench.lab.pki import CertificateAuthority, IssuedCertificate
from control.daemon.eap_tls import tls_servers
from control.eap.account import EapAccount
from control.eap.authenticator import EapAuthenticator
from control.eap.md5 import Md5Peer
from control.eap.mschapv2 import MsChapV2Peer
from control.eap.packet import EapType
from control.eap.peer import EapPeer
from control.eap.server import EapServer
from control.ikev2.events import IkeFailed
from control.ikev2.payloads import Identity
from control.ikev2.policy import IkeConfiguration
from tests.interop.credentials import certified, connections

pytestmark = pytest.mark.namespaces

ACCOUNT, PASSWORD = "subscriber", "correct horse"
METHODS = {"MD5": EapType.MD5_CHALLENGE, "MSCHAPv2": EapType.MSCHAPV2}
EAP = "EAP-{method}, certificate of the other side"
EAP_TLS = "EAP-TLS by TLS {version}, certificates"


class EapPolicy(Policy):
    """Has strongSwan authenticate by one method."""

    def __init__(self, method: EapType) -> None:
        super().__init__(None)
        # We do not ask for an EAP identity (RFC 7296 section 2.16), and strongSwan uses its IKE identity then.
        self.account = EapAccount(method, THEIR_NAME, PASSWORD)

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        return as_initiator

    def eap_authenticator(self, remote: Identity) -> EapAuthenticator | None:
        return EapServer(OUR_NAME, os.urandom).authenticator(self.account)


@pytest.fixture(scope="module")
def shared_peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    with Peers(tmp_path_factory.mktemp("swan")) as both:
        yield both


@pytest.fixture
def peers(shared_peers: Peers) -> Iterator[Peers]:
    yield shared_peers
    shared_peers.end()


class TlsPolicy(Policy):
    """Has strongSwan authenticate by EAP-TLS."""

    def __init__(self, configuration: IkeConfiguration) -> None:
        super().__init__(None)
        self.server = EapServer(OUR_NAME, os.urandom, tls_servers(configuration))

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        return as_initiator

    def eap_authenticator(self, remote: Identity) -> EapAuthenticator | None:
        return self.server.authenticator(EapAccount(EapType.TLS, THEIR_NAME))


def prepare(peers: Peers, method: str, side: str, password: str = PASSWORD) -> None:
    """Both sides ready, ``side`` of strongSwan's connection, local or remote, to use EAP."""
    made, account = certified("ECDSA P-256"), THEIR_NAME if side == "local" else ACCOUNT
    peers.renew(EapPolicy(METHODS[method]), **made.settings())
    before, after = connections("ECDSA P-256", settings="send_cert = always").split(f"    {side} {{", 1)
    mine = after.replace("auth = pubkey", f"auth = eap-{method.lower()}\n      eap_id = {account}", 1)
    mine = mine.replace("certs = node.pem", "", 1) if side == "local" else mine
    secret = f"secrets {{\n  eap {{\n    id = {account}\n    secret = {password}\n  }}\n"
    peers.charon.load(
        f"{before}    {side} {{{mine}".replace("secrets {\n", secret),
        certificates={"node": made.theirs.certificate_pem},
        authorities=made.authorities,
        private_keys={"node": made.theirs.private_key_pem},
    )


@pytest.mark.interop("IKE SA", role="responder", authentication=EAP)
@pytest.mark.parametrize("method", METHODS)
def test_strongswan_proves_itself(peers: Peers, method: str) -> None:
    prepare(peers, method, "local")
    peers.swanctl_and_pump("--initiate", "--ike", "ha")
    (sa,) = peers.ours.established()
    assert str(sa.remote_identity) == THEIR_NAME
    (seen,) = peers.charon.established()
    assert (seen["local-id"], seen["remote-id"]) == (THEIR_NAME, OUR_NAME)


@pytest.mark.interop("wrong password refused", role="responder", authentication=EAP)
@pytest.mark.parametrize("method", METHODS)
def test_strongswan_has_a_wrong_password(peers: Peers, method: str) -> None:
    prepare(peers, method, "local", "wrong horse")
    peers.swanctl_and_pump("--initiate", "--ike", "ha")
    assert not peers.ours.established()
    assert not peers.charon.established()
    # MSCHAPv2 says by itself that it has failed, and strongSwan does not wait for more.
    reason = "authentication-failed" if method == "MD5" else "given-up-by-peer"
    assert [event.reason for event in peers.ours.happened(IkeFailed)] == [reason]


@pytest.mark.interop("IKE SA", role="initiator", authentication=EAP)
@pytest.mark.parametrize("method", METHODS)
def test_we_prove_ourselves(peers: Peers, method: str) -> None:
    prepare(peers, method, "remote")
    ours = {
        "MD5": lambda: Md5Peer(PASSWORD.encode(), ACCOUNT),
        "MSCHAPv2": lambda: MsChapV2Peer(ACCOUNT, PASSWORD, os.urandom),
    }
    peers.connect(eap=EapPeer(ACCOUNT, {METHODS[method]: ours[method]}))
    (seen,) = peers.charon.established()
    assert seen["remote-eap-id"] == ACCOUNT


def prepare_tls(peers: Peers, theirs: IssuedCertificate) -> None:
    made = certified("ECDSA P-256")
    ike = IkeConfiguration(Identity.from_text(OUR_NAME), wall_clock=time.time, **made.settings())
    peers.renew(TlsPolicy(ike), **made.settings())
    before, after = connections("ECDSA P-256", settings="send_cert = always").split("    local {", 1)
    peers.charon.load(
        f"{before}    local {{{after.replace('auth = pubkey', 'auth = eap-tls', 1)}",
        certificates={"node": theirs.certificate_pem},
        authorities=made.authorities,
        private_keys={"node": theirs.private_key_pem},
    )


# charon 5.9.8 ends when it is to use TLS 1.3 as an EAP client; tests/control/eap has OpenSSL for that.
@pytest.fixture(scope="module", params=["1.2"])
def version(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def tls_peers(version: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    options = f"tls {{\n version_min = {version}\n version_max = {version}\n }}"
    with Peers(tmp_path_factory.mktemp("swan"), options=options) as both:
        yield both


@pytest.fixture
def tls(tls_peers: Peers) -> Iterator[Peers]:
    yield tls_peers
    tls_peers.end()


@pytest.mark.interop("IKE SA", role="responder", authentication=EAP_TLS)
def test_strongswan_proves_itself_by_tls(tls: Peers, version: str) -> None:
    prepare_tls(tls, certified("ECDSA P-256").theirs)
    tls.swanctl_and_pump("--initiate", "--ike", "ha")
    (sa,) = tls.ours.established()
    assert str(sa.remote_identity) == THEIR_NAME
    (seen,) = tls.charon.established()
    assert (seen["local-id"], seen["remote-id"]) == (THEIR_NAME, OUR_NAME)
    assert f"TLS {version}" in tls.charon.log()


@pytest.mark.interop("certificate of another authority refused", role="responder", authentication=EAP_TLS)
def test_strongswan_has_a_certificate_of_another_authority(tls: Peers, version: str) -> None:
    prepare_tls(tls, CertificateAuthority("strange").issue(THEIR_NAME))
    tls.swanctl_and_pump("--initiate", "--ike", "ha")
    assert not tls.ours.established()
    assert not tls.charon.established()
    assert tls.ours.endpoint.statistics["authentication-untrusted-certificate"] == 1
