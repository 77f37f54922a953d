from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from bench.lab.pki import CertificateAuthority, KeyType


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048"])
def test_issued_by_the_authority_with_a_key_of_the_kind_asked_for(kind: KeyType, tmp_path: Path) -> None:
    authority = CertificateAuthority()
    root = x509.load_pem_x509_certificate(authority.certificate_pem)
    authority.issue("ha1.example.org", kind).write(tmp_path, "ha1")
    leaf = x509.load_pem_x509_certificate((tmp_path / "ha1.pem").read_bytes())
    leaf.verify_directly_issued_by(root)
    key = serialization.load_pem_private_key((tmp_path / "ha1.key").read_bytes(), None)
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    assert key.public_key().public_bytes(serialization.Encoding.DER, spki) == leaf.public_key().public_bytes(
        serialization.Encoding.DER, spki
    )
    assert (tmp_path / "ha1.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("identity", "kind", "value"),
    [
        ("ha1.example.org", x509.DNSName, "ha1.example.org"),
        ("mn1@mn.example.org", x509.RFC822Name, "mn1@mn.example.org"),
        ("2001:db8::1", x509.IPAddress, IPv6Address("2001:db8::1")),
    ],
)
def test_identity_is_the_subject_alternative_name(identity: str, kind: type[x509.GeneralName], value: object) -> None:
    issued = CertificateAuthority().issue(identity)
    leaf = x509.load_pem_x509_certificate(issued.certificate_pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(kind) == [value]


def test_private_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(CertificateAuthority().issue("a.example"))
