"""Name constraints of authorities, and the bounds on what a peer's chain may cost."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from control.ikev2.certificates import MAX_CERTIFICATE, CertificateValidator
from control.ikev2.errors import CertificateError
from control.ikev2.name_constraints import check_name_constraints
from control.ikev2.numbers import IdentificationType
from control.ikev2.payloads import Identity

WALL_CLOCK = 1_906_545_600.0  # 2030-06-01


def distinguished(**parts):
    oids = {"c": NameOID.COUNTRY_NAME, "o": NameOID.ORGANIZATION_NAME, "cn": NameOID.COMMON_NAME}
    return x509.DirectoryName(x509.Name([x509.NameAttribute(oids[key], value) for key, value in parts.items()]))


def constrained(permitted=None, excluded=None):
    return ((x509.NameConstraints(permitted, excluded), True),)


def verdict(pki, authority, *names, intermediates=()):
    """The reason of the refusal of a certificate with these names, None if it is taken."""
    credentials = pki.credentials(list(names), issuer=authority)
    anchors = [pki.root.certificate]
    validator = CertificateValidator(anchors, lambda: WALL_CLOCK)
    chain = [
        certificate.public_bytes(Encoding.DER)
        for certificate in (*credentials.certificates, authority.certificate, *intermediates)
    ]
    try:
        validator.validate(chain, Identity.from_text(names[0]))
    except CertificateError as error:
        return error.reason
    return None


DNS, MAIL = x509.DNSName, x509.RFC822Name


@pytest.mark.parametrize(
    ("permitted", "excluded", "name", "allowed"),
    [
        ([DNS("example.org")], None, "mn1.example.org", True),
        ([DNS("example.org")], None, "example.org", True),
        ([DNS("example.org")], None, "MN1.Example.ORG", True),
        ([DNS("example.org")], None, "badexample.org", False),
        ([DNS("example.org")], None, "mn1.example.com", False),
        ([DNS(".example.org")], None, "example.org", False),
        ([DNS(".example.org")], None, "mn1.example.org", True),
        ([DNS("a.org"), DNS("b.org")], None, "x.b.org", True),
        (None, [DNS("evil.example.org")], "mn1.example.org", True),
        (None, [DNS("evil.example.org")], "mn1.evil.example.org", False),
        ([DNS("example.org")], [DNS("evil.example.org")], "evil.example.org", False),
        (None, [DNS("")], "mn1.example.org", False),
        ([DNS("example.org")], None, "mn1@elsewhere.com", True),
        ([MAIL("example.org")], None, "mn1@example.org", True),
        ([MAIL("example.org")], None, "mn1@sub.example.org", False),
        ([MAIL(".example.org")], None, "mn1@sub.example.org", True),
        ([MAIL(".example.org")], None, "mn1@example.org", False),
        ([MAIL("mn1@example.org")], None, "mn1@EXAMPLE.org", True),
        ([MAIL("mn1@example.org")], None, "mn2@example.org", False),
        (None, [MAIL("mn1@example.org")], "mn1@example.org", False),
        ([x509.IPAddress(ip_network("2001:db8::/32"))], None, "2001:db8:a1::1", True),
        ([x509.IPAddress(ip_network("2001:db8::/32"))], None, "2001:db9::1", False),
        ([x509.IPAddress(ip_network("192.0.2.0/24"))], None, "2001:db8:a1::1", False),
        (None, [x509.IPAddress(ip_network("2001:db8:a1::/48"))], "2001:db8:a1::1", False),
    ],
)
def test_names_within_and_without(pki, permitted, excluded, name, allowed):
    authority = pki.authority("constrained", pki.root, extensions=constrained(permitted, excluded))
    assert verdict(pki, authority, name) == (None if allowed else "name-not-permitted")


def test_every_name_of_the_certificate_counts_not_only_the_identity(pki):
    authority = pki.authority("constrained", pki.root, extensions=constrained([DNS("example.org")]))
    assert verdict(pki, authority, "mn1.example.org", "mn1.example.com") == "name-not-permitted"


def test_the_constraints_of_all_authorities_above_hold(pki):
    upper = pki.authority("upper", pki.root, extensions=constrained([DNS("example.org")]))
    lower = pki.authority("lower", upper, extensions=constrained([DNS("mobile.example.org"), DNS("example.com")]))
    above = (upper.certificate,)
    assert verdict(pki, lower, "mn1.mobile.example.org", intermediates=above) is None
    assert verdict(pki, lower, "ha1.example.org", intermediates=above) == "name-not-permitted"
    assert verdict(pki, lower, "mn1.example.com", intermediates=above) == "name-not-permitted"


def test_the_subject_is_a_name_too(pki):
    authority = pki.authority("constrained", pki.root, extensions=constrained([distinguished(cn="LEAF")]))
    assert verdict(pki, authority, "mn1.example.org") is None
    authority = pki.authority("constrained", pki.root, extensions=constrained([distinguished(o="leaf")]))
    assert verdict(pki, authority, "mn1.example.org") == "name-not-permitted"
    authority = pki.authority("constrained", pki.root, extensions=constrained(None, [distinguished(cn=" leaf  ")]))
    assert verdict(pki, authority, "mn1.example.org") == "name-not-permitted"


def test_constraints_of_the_trust_anchor_hold(pki):
    anchor = pki.authority("anchor", extensions=constrained([DNS("example.org")]))
    validator = CertificateValidator([anchor.certificate], lambda: WALL_CLOCK)
    for name, allowed in (("mn1.example.org", True), ("mn1.example.com", False)):
        (certificate,) = pki.credentials(name, issuer=anchor).certificates
        chain = [certificate.public_bytes(Encoding.DER)]
        if allowed:
            validator.validate(chain, Identity.from_text(name))
        else:
            with pytest.raises(CertificateError, match="name-not-permitted"):
                validator.validate(chain, Identity.from_text(name))


def test_kinds_of_names_that_are_not_understood_are_refused_where_constrained(pki):
    uri = x509.UniformResourceIdentifier
    extensions = constrained([uri("example.org")])
    authority = pki.authority("constrained", pki.root, extensions=extensions)
    assert verdict(pki, authority, "mn1.example.org") is None
    key = pki.key("p256", "uri").public_key()
    alternatives = [(x509.SubjectAlternativeName([uri("https://example.org/")]), False)]
    leaf = pki._sign("leaf", key, authority, alternatives)
    with pytest.raises(CertificateError, match="UniformResourceIdentifier"):
        check_name_constraints((leaf, authority.certificate, pki.root.certificate))


def test_mailboxes_in_the_subject_count_where_there_are_no_others(pki):
    authority = pki.authority("constrained", pki.root, extensions=constrained([MAIL("example.org")]))
    subject = x509.Name([x509.NameAttribute(NameOID.EMAIL_ADDRESS, "mn1@example.com")])
    key = pki.key("p256", "mail")
    builder = x509.CertificateBuilder(
        authority.certificate.subject,
        subject,
        key.public_key(),
        7,
        authority.certificate.not_valid_before_utc,
        authority.certificate.not_valid_after_utc,
    )
    leaf = builder.sign(authority.key, authority.certificate.signature_hash_algorithm)
    with pytest.raises(CertificateError, match=r"mn1@example\.com"):
        check_name_constraints((leaf, authority.certificate))


def test_more_names_than_anybody_needs_are_refused_unlooked_at(pki):
    many = [DNS(f"{number}.example.org") for number in range(200)]
    authority = pki.authority("constrained", pki.root, extensions=constrained(many))
    names = [f"x.{number}.example.org" for number in range(101)]
    assert verdict(pki, authority, *names) == "too-many-names"


def test_a_certificate_of_monstrous_size_is_not_read(pki):
    names = [f"host{number}.example.org" for number in range(1200)]
    (certificate,) = pki.credentials(names).certificates
    data = certificate.public_bytes(Encoding.DER)
    assert len(data) > MAX_CERTIFICATE
    validator = CertificateValidator([pki.root.certificate], lambda: WALL_CLOCK)
    with pytest.raises(CertificateError, match="too-large-certificate"):
        validator.validate([data], Identity.from_text(names[0]))


def test_look_alike_authorities_do_not_make_the_search_for_a_path_endless(pki):
    """Seven authorities of one name that have certified each other: without a bound every order of them is tried."""
    stranger = pki.authority("stranger")
    alike = [pki._sign("stranger", stranger.key.public_key(), stranger, _authority()) for _ in range(7)]
    (leaf,) = pki.credentials("mn1.example.org", issuer=stranger).certificates
    validator = CertificateValidator([pki.root.certificate], lambda: WALL_CLOCK)
    chain = [certificate.public_bytes(Encoding.DER) for certificate in (leaf, *alike)]
    with pytest.raises(CertificateError, match="too-complex-chain"):
        validator.validate(chain, Identity.from_text("mn1.example.org"))


def _authority():
    return [(x509.BasicConstraints(True, None), True)]


def test_a_key_identifier_is_in_no_certificate(pki):
    validator = CertificateValidator([pki.root.certificate], lambda: WALL_CLOCK)
    (certificate,) = pki.credentials("mn1.example.org").certificates
    identity = Identity(IdentificationType.KEY_ID, b"mn1.example.org")
    with pytest.raises(CertificateError, match="identity-not-in-certificate"):
        validator.validate([certificate.public_bytes(Encoding.DER)], identity)
