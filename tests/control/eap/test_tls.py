"""EAP-TLS with a client of OpenSSL in memory: TLS 1.2 and 1.3, fragments, certificates that do not do, nonsense."""

from __future__ import annotations

import time
from functools import partial

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from bench.lab.pki import CertificateAuthority
from control.daemon.eap_tls import tls_servers
from control.eap.account import EapAccount
from control.eap.authenticator import EapFailure, EapRequest, EapSuccess
from control.eap.packet import EapCode, EapPacket, EapType
from control.eap.server import EapServer
from control.eap.tls_fragments import FRAGMENT_SIZE, MAX_MESSAGE
from control.ikev2.payloads import Identity
from control.ikev2.policy import Credentials, IkeConfiguration

NODE, AGENT = "mn1@example.org", "ha1.example.org"
VERSIONS = {"TLS 1.2": SSL.TLS1_2_VERSION, "TLS 1.3": SSL.TLS1_3_VERSION}
START, MORE, LENGTH = 0x20, 0x40, 0x80
AUTHORITY, STRANGE = CertificateAuthority(), CertificateAuthority("strange")


def credentials(identity, authority=AUTHORITY):
    issued = authority.issue(identity)
    return load_pem_x509_certificate(issued.certificate_pem), load_pem_private_key(issued.private_key_pem, None)


OURS, THEIRS = credentials(AGENT), credentials(NODE)


def authenticator(identity=NODE, at=time.time):
    configuration = IkeConfiguration(
        local_identity=Identity.from_text(AGENT),
        wall_clock=at,
        credentials=Credentials((OURS[0],), OURS[1]),
        trust_anchors=(load_pem_x509_certificate(AUTHORITY.certificate_pem),),
    )
    server = EapServer(AGENT, lambda size: bytes(size), tls_servers(configuration))
    return server.authenticator(EapAccount(EapType.TLS, identity))


class Client:
    """A peer that speaks EAP-TLS by itself, in fragments of any size."""

    def __init__(self, version=SSL.TLS1_3_VERSION, own=THEIRS, fragment=1400, ciphers=b"DEFAULT"):
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_cipher_list(ciphers)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        if own is not None:
            context.use_certificate(own[0])
            context.use_privatekey(own[1])
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.is_1_3 = version == SSL.TLS1_3_VERSION
        self.fragment, self.leaving, self.arriving = fragment, [], b""
        self.said = b""

    def answer(self, data):
        """The data of the response to that of a request."""
        flags, part = data[0], data[1:]
        if flags & LENGTH:
            part = part[4:]
        assert len(part) <= FRAGMENT_SIZE
        if self.leaving:
            assert (flags, part) == (0, b"")
            return self.leaving.pop(0)
        self.arriving += part
        if flags & MORE:
            return b"\0"
        if self.arriving:
            self.tls.bio_write(self.arriving)
            self.arriving = b""
        try:
            self.tls.do_handshake()
            self.said = self.tls.recv(100)
        except SSL.WantReadError:
            pass
        try:
            out = self.tls.bio_read(1 << 16)
        except SSL.WantReadError:
            return b"\0"
        parts = [out[i : i + self.fragment] for i in range(0, len(out), self.fragment)]
        self.leaving = [bytes((MORE if i < len(parts) - 1 else 0,)) + part for i, part in enumerate(parts)]
        if len(parts) > 1:
            self.leaving[0] = bytes((MORE | LENGTH,)) + len(out).to_bytes(4, "big") + parts[0]
        return self.leaving.pop(0)

    def msk(self):
        """What RFC 5216 section 2.3 and RFC 9190 section 2.3 make of the session."""
        if self.is_1_3:
            return self.tls.export_keying_material(b"EXPORTER_EAP_TLS_Key_Material", 128, b"\x0d")[:64]
        return self.tls.export_keying_material(b"client EAP encryption", 128)[:64]


def response(identifier, data):
    return EapPacket(EapCode.RESPONSE, identifier, EapType.TLS, data).to_wire()


def converse(ours, client, change=lambda number, data: data):
    """The last outcome, with what ``change`` makes of each response on the way."""
    packet = ours.begin()
    for number in range(200):
        request = EapPacket.from_wire(packet)
        try:
            data = client.answer(request.data)
        except SSL.Error:
            data = b"\0"
        outcome = ours.receive(response(request.identifier, change(number, data)))
        if not isinstance(outcome, EapRequest):
            return outcome
        packet = outcome.packet
    raise AssertionError("they never come to an end")


@pytest.mark.parametrize("fragment", [60, 1400])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_with_a_certificate_succeeds_and_both_have_the_same_key(version, fragment):
    client = Client(VERSIONS[version], fragment=fragment)
    outcome = converse(authenticator(), client)
    assert isinstance(outcome, EapSuccess), outcome
    assert len(outcome.msk) == 64
    assert outcome.msk == client.msk()
    assert client.said == (b"\0" if version == "TLS 1.3" else b"")


def later():
    return time.time() + 100 * 365 * 86400


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("own", "ours", "reason"),
    [
        (credentials(NODE, STRANGE), {}, "untrusted-certificate"),
        (THEIRS, {"at": later}, "expired-certificate"),
        (credentials("mn2@example.org"), {}, "identity-not-in-certificate"),
        (None, {}, "tls-failed"),
    ],
    ids=["of another authority", "expired", "of somebody else", "none"],
)
def test_certificates_that_do_not_do(version, own, ours, reason):
    outcome = converse(authenticator(**ours), Client(VERSIONS[version], own))
    assert isinstance(outcome, EapFailure)
    assert outcome.reason == reason


def test_the_name_may_be_another_one_if_the_account_says_so():
    outcome = converse(authenticator("mn2@example.org"), Client(own=credentials("mn2@example.org")))
    assert isinstance(outcome, EapSuccess)


def test_old_versions_of_tls_are_refused():
    outcome = converse(authenticator(), Client(SSL.TLS1_1_VERSION, ciphers=b"ALL:@SECLEVEL=0"))
    assert (type(outcome), outcome.reason) == (EapFailure, "tls-failed")
    assert "protocol" in outcome.detail


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "malformed-eap-tls"),
        (bytes((START,)), "malformed-eap-tls"),
        (bytes((LENGTH, 0)), "malformed-eap-tls"),
        (bytes((MORE,)), "malformed-eap-tls"),
        (bytes((LENGTH,)) + (5).to_bytes(4, "big") + b"abc", "malformed-eap-tls"),
        (bytes((LENGTH | MORE,)) + (MAX_MESSAGE + 1).to_bytes(4, "big") + b"abc", "too-large-eap-tls-message"),
        (b"\0", "unexpected-eap-tls-message"),
        (b"\0not TLS at all", "tls-failed"),
    ],
)
def test_nonsense_at_the_beginning(data, reason):
    ours = authenticator()
    outcome = ours.receive(response(ours.begin()[1], data))
    assert (type(outcome), outcome.reason) == (EapFailure, reason)


def test_a_message_without_end_is_cut_off():
    ours = authenticator()
    packet, rounds = ours.begin(), 0
    while True:
        outcome = ours.receive(response(packet[1], bytes((MORE,)) + bytes(1400)))
        if isinstance(outcome, EapFailure):
            break
        packet, rounds = outcome.packet, rounds + 1
    assert outcome.reason == "too-large-eap-tls-message"
    assert rounds == MAX_MESSAGE // 1400


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fragment_lost_or_out_of_order_fails(version):
    def lose(number, data):
        return b"\0" + data[1:] if number == 1 and data[0] & MORE else data

    def swap(kept, number, data):
        kept.append(data)
        return kept[0] if number == 1 else data

    for change in (lose, partial(swap, [])):
        outcome = converse(authenticator(), Client(VERSIONS[version], fragment=60), change)
        assert isinstance(outcome, EapFailure)


def test_an_acknowledgement_must_be_empty():
    outcome = converse(authenticator(), Client(), lambda number, data: b"\0more" if data == b"\0" else data)
    assert (type(outcome), outcome.reason) == (EapFailure, "unexpected-eap-tls-message")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    version=st.sampled_from(sorted(VERSIONS)),
    number=st.integers(0, 6),
    place=st.integers(0, 3000),
    replacement=st.binary(max_size=40),
    skipped=st.integers(0, 40),
)
def test_whatever_the_peer_sends_gives_an_outcome(version, number, place, replacement, skipped):
    def change(at, data):
        if at != number:
            return data
        start = place % (len(data) + 1)
        return data[:start] + replacement + data[start + skipped :]

    outcome = converse(authenticator(), Client(VERSIONS[version], fragment=300), change)
    assert isinstance(outcome, EapFailure | EapSuccess)
