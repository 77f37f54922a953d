"""IKE_AUTH with certificates: every kind of key in both directions, and everything that can be wrong."""

from __future__ import annotations

from hashlib import sha1

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from control.ikev2.authentication import authenticate_with_signature, verify_signature
from control.ikev2.certificates import MAX_CHAIN, CertificateError, CertificateValidator
from control.ikev2.events import ChildEstablished, IkeClosed, IkeEstablished, IkeFailed
from control.ikev2.numbers import AuthenticationMethod, IdentificationType
from control.ikev2.payloads import AuthenticationPayload, Identity, NotifyPayload, encoded
from control.ikev2.policy import Credentials

WALL_CLOCK = 1906502400.0


@pytest.fixture
def certified(pair, pki):
    """A pair whose ends have certificates and trust the same authority."""

    def make(agent_kind="p256", node_kind="p256", **changes):
        for peer, kind in ((pair.agent, agent_kind), (pair.node, node_kind)):
            peer.policy.key = None
            credentials = pki.credentials(str(peer.identity), kind, **changes)
            peer.configure(credentials=credentials, trust_anchors=(pki.root.certificate,))
        return pair

    return make


KINDS = ["rsa", "p256", "p384", "ed25519"]


@pytest.mark.parametrize("agent_begins", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_key_authenticates_in_both_roles(certified, kind, agent_begins):
    pair = certified(kind, "p256")
    sa, other = pair.established(pair.agent if agent_begins else pair.node)
    assert {sa.remote_identity, other.remote_identity} == {pair.agent.identity, pair.node.identity}
    assert pair.agent.events(ChildEstablished)
    assert pair.node.events(ChildEstablished)


def test_rsa_with_pkcs1_padding_is_accepted_too(certified):
    certified("rsa", "rsa", rsa_pss=False).established()


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
def test_a_peer_without_rfc_7427_gets_and_gives_classic_signatures(certified, kind, monkeypatch):
    pair = certified(kind, kind)
    for peer in (pair.agent, pair.node):
        # An unknown status notification in its place: the peer seems to know nothing of RFC 7427.
        peer.endpoint._environment.signature_hashes = encoded(NotifyPayload(40000))
    methods = []
    monkeypatch.setattr(
        "control.ikev2.exchanges.auth.verify_signature",
        lambda proof, key, octets: (methods.append(proof.method), verify_signature(proof, key, octets)),
    )
    pair.established()
    expected = {
        "rsa": AuthenticationMethod.RSA,
        "p256": AuthenticationMethod.ECDSA_256,
        "p384": AuthenticationMethod.ECDSA_384,
    }[kind]
    assert methods == [expected, expected]


def test_ed25519_cannot_serve_a_peer_without_rfc_8420(certified):
    pair = certified("ed25519", "p256")
    pair.node.endpoint._environment.signature_hashes = encoded(NotifyPayload.signature_hash_algorithms((2, 3)))
    pair.connect()
    pair.network.run()
    (failure,) = pair.agent.events(IkeFailed)
    assert failure.reason == "no-credentials"


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ("2001:db8:a1::1", "2001:db8:a1::1"),
        ("HA1.example.org", "ha1.EXAMPLE.org"),
        ("ha1@EXAMPLE.org", "ha1@example.org"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_identities_of_every_type_are_found_in_the_certificate(certified, pki, identity, name):
    pair = certified()
    pair.agent.configure(local_identity=Identity.from_text(identity), credentials=pki.credentials(name))
    sa, other = pair.established(pair.node)
    assert other.remote_identity == pair.node.identity
    assert str(sa.remote_identity) == identity


def test_a_distinguished_name_is_an_identity(certified, pki):
    pair = certified()
    credentials = pki.credentials([])
    name = credentials.certificates[0].subject.public_bytes()
    pair.agent.configure(local_identity=Identity(IdentificationType.DER_ASN1_DN, name), credentials=credentials)
    pair.established()


def fails(pair, reason, initiator=None):
    """Both sides learn that authentication failed, and ``reason`` is counted where it was found out."""
    sa = pair.connect(initiator)
    pair.network.run()
    initiator = initiator or pair.agent
    responder = pair.node if initiator is pair.agent else pair.agent
    assert not sa.is_established
    assert [event.reason for event in initiator.events(IkeFailed)] == ["authentication-failed"]
    assert not initiator.events(IkeEstablished)
    found = initiator.endpoint.statistics + responder.endpoint.statistics
    assert found[f"authentication-{reason}"] == 1, found
    pair.network.advance(pair.network.now + 60)
    assert not any(other.is_established for other in (*initiator.sas(), *responder.sas()))
    assert (len(initiator.endpoint), len(responder.endpoint)) == (0, 0)


BAD = {
    "expired-certificate": {"ends": -1},
    "certificate-not-yet-valid": {"starts": 3600},
}


@pytest.mark.parametrize("agent_begins", [True, False])
@pytest.mark.parametrize("reason", BAD)
def test_certificates_out_of_date_are_refused(certified, pki, reason, agent_begins):
    pair = certified()
    pair.agent.configure(credentials=pki.credentials("ha1.example.org", **BAD[reason]))
    fails(pair, reason, pair.agent if agent_begins else pair.node)


@pytest.mark.parametrize("agent_begins", [True, False])
def test_a_certificate_of_somebody_else_is_refused(certified, pki, agent_begins):
    pair = certified()
    pair.agent.configure(credentials=pki.credentials("ha2.example.org"))
    fails(pair, "identity-not-in-certificate", pair.agent if agent_begins else pair.node)


@pytest.mark.parametrize("agent_begins", [True, False])
def test_a_stranger_authority_is_refused(certified, pki, agent_begins):
    pair = certified()
    pair.agent.configure(credentials=pki.credentials("ha1.example.org", issuer=pki.authority("root", None)))
    pair.agent.configure(credentials=pki.credentials("ha1.example.org", issuer=pki.authority("other root")))
    fails(pair, "untrusted-certificate", pair.agent if agent_begins else pair.node)


@pytest.mark.parametrize("agent_begins", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_without_its_key_is_refused(certified, pki, kind, agent_begins):
    pair = certified(kind)
    good = pki.credentials("ha1.example.org", kind)
    pair.agent.configure(credentials=Credentials(good.certificates, pki.key(kind, "thief")))
    fails(pair, "wrong-signature", pair.agent if agent_begins else pair.node)


def test_a_key_of_another_kind_than_the_certificate_is_refused(certified, pki):
    pair = certified()
    good = pki.credentials("ha1.example.org", "p256")
    pair.agent.configure(credentials=Credentials(good.certificates, ed25519.Ed25519PrivateKey.generate()))
    fails(pair, "wrong-method")


@pytest.mark.parametrize("agent_begins", [True, False])
def test_shared_key_and_certificate_do_not_mix(certified, agent_begins):
    pair = certified()
    pair.agent.policy.key = b"secret"
    if agent_begins:
        fails(pair, "no-certificate", pair.agent)
    else:
        fails(pair, "wrong-method", pair.node)


@pytest.mark.parametrize("agent_begins", [True, False])
def test_different_shared_keys_fail(pair, agent_begins):
    pair.node.policy.key = b"another"
    fails(pair, "wrong-shared-key", pair.agent if agent_begins else pair.node)


@pytest.mark.parametrize("agent_begins", [True, False])
def test_an_unwanted_peer_is_refused_before_its_proof_is_looked_at(pair, agent_begins):
    pair.node.policy.accepted = lambda identity: False
    fails(pair, "unknown-peer", pair.agent if agent_begins else pair.node)
    assert pair.node.policy.asked == [(pair.agent.identity, not agent_begins)]


def test_a_responder_of_another_name_is_refused(pair):
    pair.connect(remote_identity=Identity.from_text("mn2@example.org"))
    pair.network.run()
    (failure,) = pair.agent.events(IkeFailed)
    assert failure.reason == "authentication-failed"
    assert "mn1@example.org instead of mn2@example.org" in failure.detail
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["authentication-failed"]


def test_without_a_wish_any_certified_peer_will_do(certified):
    sa, _ = certified().established(remote_identity=None)
    assert str(sa.remote_identity) == "mn1@example.org"


def test_an_initiator_without_credentials_fails_at_once(pair):
    pair.agent.policy.key = None
    pair.connect()
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeFailed)] == ["no-credentials"]
    assert len(pair.agent.endpoint) == 0


# The validator alone


def chain_of(credentials):
    return [certificate.public_bytes(Encoding.DER) for certificate in credentials.certificates]


@pytest.fixture
def validator(pki):
    return CertificateValidator([pki.root.certificate], lambda: WALL_CLOCK)


NAME = Identity.from_text("mn.example.org")


def refused(validator, credentials, reason):
    chain = chain_of(credentials) if isinstance(credentials, Credentials) else credentials
    with pytest.raises(CertificateError) as caught:
        validator.validate(chain, NAME)
    assert caught.value.reason == reason


def test_chains_through_intermediates_are_followed_in_any_order(pki, validator):
    outer = pki.authority("outer", pki.root)
    inner = pki.authority("inner", outer)
    unrelated = pki.authority("unrelated", pki.root)
    between = (outer.certificate, unrelated.certificate, inner.certificate)
    credentials = pki.credentials("mn.example.org", issuer=inner, intermediates=between)
    assert validator.validate(chain_of(credentials), NAME).curve.name == "secp256r1"
    refused(validator, chain_of(credentials)[:3], "untrusted-certificate")


def test_an_expired_intermediate_spoils_the_chain(pki, validator):
    middle = pki.authority("middle", pki.root, ends=-1)
    credentials = pki.credentials("mn.example.org", issuer=middle, intermediates=(middle.certificate,))
    refused(validator, credentials, "expired-certificate")


def test_a_certificate_that_is_no_authority_cannot_issue(pki, validator):
    fake = pki.authority("fake", pki.root, ca=False)
    credentials = pki.credentials("mn.example.org", issuer=fake, intermediates=(fake.certificate,))
    refused(validator, credentials, "untrusted-certificate")


def test_path_length_constraints_hold(pki, validator):
    short = pki.authority("short", pki.root, path_length=0)
    below = pki.authority("below", short)
    credentials = pki.credentials("mn.example.org", issuer=below, intermediates=(below.certificate, short.certificate))
    refused(validator, credentials, "untrusted-certificate")
    fine = pki.credentials("mn.example.org", issuer=short, intermediates=(short.certificate,))
    validator.validate(chain_of(fine), NAME)


def test_an_authority_that_may_not_sign_certificates_cannot_issue(pki):
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    root = pki._sign(
        "weak root",
        pki.key("p256", "weak").public_key(),
        pki.root,
        [(x509.BasicConstraints(True, None), True), (usage, True)],
    )
    issuer = type(pki.root)(pki.key("p256", "weak"), root)
    credentials = pki.credentials("mn.example.org", issuer=issuer)
    refused(CertificateValidator([root], lambda: WALL_CLOCK), credentials, "untrusted-certificate")


def test_a_trust_anchor_may_be_the_peers_own_certificate(pki):
    credentials = pki.credentials("mn.example.org", issuer=pki.authority("nobody"))
    pinned = CertificateValidator(credentials.certificates, lambda: WALL_CLOCK)
    pinned.validate(chain_of(credentials), NAME)
    refused(pinned, pki.credentials("mn.example.org", issuer=pki.authority("nobody")), "untrusted-certificate")


@pytest.mark.parametrize(
    ("extension", "critical", "reason"),
    [
        (x509.InhibitAnyPolicy(0), True, "unhandled-critical-extension"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False, "wrong-key-usage"),
        (x509.KeyUsage(False, False, True, False, False, False, False, False, False), True, "wrong-key-usage"),
    ],
)
def test_certificates_made_for_something_else_are_refused(pki, validator, extension, critical, reason):
    credentials = pki.credentials("mn.example.org", extensions=((extension, critical),))
    refused(validator, credentials, reason)


def test_the_purpose_ike_is_accepted(pki, validator):
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.IPSEC_IKE])
    validator.validate(chain_of(pki.credentials("mn.example.org", extensions=((purpose, False),))), NAME)


def test_short_rsa_keys_are_refused(pki, validator):
    refused(validator, pki.credentials("mn.example.org", "rsa1024"), "weak-certificate")


def test_empty_and_long_chains_are_refused(pki, validator):
    refused(validator, [], "no-certificate")
    refused(validator, chain_of(pki.credentials("mn.example.org")) * (MAX_CHAIN + 1), "too-many-certificates")


def test_broken_certificates_are_refused(pki, validator):
    (data,) = chain_of(pki.credentials("mn.example.org"))
    refused(validator, [b"\x30\x00"], "malformed-certificate")
    for length in range(0, len(data), 7):
        refused(validator, [data[:length]], "malformed-certificate")
    for position in range(0, len(data), 3):
        mutated = bytearray(data)
        mutated[position] ^= 0x11
        with pytest.raises(CertificateError):
            validator.validate([bytes(mutated)], NAME)


def test_a_known_chain_is_only_checked_for_its_dates(pki, monkeypatch):
    clock = [WALL_CLOCK]
    validator = CertificateValidator([pki.root.certificate], lambda: clock[0], cache_size=2)
    chain = chain_of(pki.credentials("mn.example.org"))
    key = validator.validate(chain, NAME)
    monkeypatch.setattr(x509, "load_der_x509_certificate", None)
    assert validator.validate(chain, NAME) is key
    refused_name = Identity.from_text("other.example.org")
    with pytest.raises(CertificateError, match="identity-not-in-certificate"):
        validator.validate(chain, refused_name)
    clock[0] += 200_000
    refused(validator, chain, "expired-certificate")


def test_only_so_many_chains_are_remembered(pki):
    validator = CertificateValidator([pki.root.certificate], lambda: WALL_CLOCK, cache_size=2)
    for _ in range(4):
        validator.validate(chain_of(pki.credentials("mn.example.org")), NAME)
    assert len(validator) == 2


def test_key_hashes_name_the_trust_anchors(pki, validator):
    info = pki.root.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert validator.key_hashes == sha1(info).digest()


def test_a_signature_does_not_pass_for_another_method(pki):
    credentials = pki.credentials("mn.example.org", "rsa")
    proof = authenticate_with_signature(credentials, b"octets", (2,))
    verify_signature(proof, credentials.private_key.public_key(), b"octets")
    for method in (1, 9, 10, 3, 255):
        with pytest.raises(Exception, match="wrong"):
            verify_signature(AuthenticationPayload(method, proof.data), credentials.private_key.public_key(), b"octets")
