"""Certificates and a private key on their way from the daemon, which has read and checked them, to its workers."""

from __future__ import annotations

from typing import cast

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509 import Certificate, load_der_x509_certificate

from control.ike_workers.messages import UseCertificates
from control.ikev2.policy import CertificateMaterial, Credentials, PrivateKey


def pack(material: CertificateMaterial) -> UseCertificates:
    """As a command."""
    own = material.credentials
    return UseCertificates(
        () if own is None else _encoded(own.certificates),
        b"" if own is None else own.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        _encoded(material.trust_anchors),
    )


def unpack(command: UseCertificates) -> CertificateMaterial:
    """The reverse of :func:`pack`."""
    credentials = None
    if command.certificates:
        key = cast(PrivateKey, load_der_private_key(command.private_key, None))
        credentials = Credentials(_decoded(command.certificates), key)
    return CertificateMaterial(credentials, _decoded(command.trust_anchors))


def _encoded(certificates: tuple[Certificate, ...]) -> tuple[bytes, ...]:
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)


def _decoded(certificates: tuple[bytes, ...]) -> tuple[Certificate, ...]:
    return tuple(load_der_x509_certificate(certificate) for certificate in certificates)
