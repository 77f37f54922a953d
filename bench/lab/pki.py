"""A small certificate authority for the laboratory's home agents and mobile nodes."""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KeyType = Literal["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048"]
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_VALIDITY = datetime.timedelta(days=7)
_CLOCK_SKEW = datetime.timedelta(hours=1)


def generate_key(kind: KeyType = "ecdsa-p256") -> PrivateKey:
    """A fresh private key."""
    if kind == "ecdsa-p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ecdsa-p384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def subject_alternative_name(identity: str) -> x509.GeneralName:
    """The name form that says `identity` in a certificate: an IPv6 address, RFC 822 name or DNS name."""
    try:
        return x509.IPAddress(IPv6Address(identity))
    except AddressValueError:
        return x509.RFC822Name(identity) if "@" in identity else x509.DNSName(identity)


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its private key, PEM."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)

    def write(self, directory: Path, stem: str) -> None:
        """Write STEM.pem, and STEM.key readable by the owner only."""
        (directory / f"{stem}.pem").write_bytes(self.certificate_pem)
        write_private(directory / f"{stem}.key", self.private_key_pem)


class CertificateAuthority:
    """An authority that signs end-entity certificates: a self-signed root, or one that another has certified."""

    def __init__(
        self,
        name: str = "homeagent laboratory CA",
        kind: KeyType = "ecdsa-p256",
        issuer: CertificateAuthority | None = None,
    ) -> None:
        self._key = generate_key(kind)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = issuer or self
        builder = _builder(self._name, issuer._name, self._key, datetime.datetime.now(datetime.UTC))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(certificates=True), critical=True)
        self._certificate = builder.sign(issuer._key, _digest(issuer._key))

    @property
    def certificate(self) -> x509.Certificate:
        """Its own certificate; of a root, the trust anchor."""
        return self._certificate

    @property
    def certificate_pem(self) -> bytes:
        """Its own certificate, PEM."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, identity: str, kind: KeyType = "ecdsa-p256") -> IssuedCertificate:
        """A certificate and a fresh key for an IKE identity."""
        key = generate_key(kind)
        return IssuedCertificate(
            certificate_pem=self.certify(identity, key).public_bytes(serialization.Encoding.PEM),
            private_key_pem=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def certify(self, identity: str, key: PrivateKey) -> x509.Certificate:
        """A certificate for an IKE identity, with that identity as subject alternative name."""
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity)])
        builder = _builder(subject, self._name, key, now)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(certificates=False), critical=True)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([subject_alternative_name(identity)]), critical=False
        )
        # id-kp-ipsecIKE (RFC 4945 5.1.3.12).
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.IPSEC_IKE]), critical=False)
        return builder.sign(self._key, _digest(self._key))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime.datetime) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _CLOCK_SKEW).not_valid_after(now + _VALIDITY)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _digest(key: PrivateKey) -> hashes.SHA256 | None:
    """Ed25519 brings its own digest."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
