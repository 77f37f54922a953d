"""Certificates and keys on their way to IKE workers."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_pem_x509_certificate

from bench.lab.pki import CertificateAuthority
from control.config.credentials import load_credentials
from control.ike_workers import messages as m
from control.ike_workers.certificates import pack, unpack
from control.ikev2.policy import CertificateMaterial


def der(key):
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048"])
def test_they_arrive_as_they_were_and_the_key_is_in_no_text(kind):
    authority = CertificateAuthority()
    issued = authority.issue("ha1.example.org", kind)
    chain = (issued.certificate_pem + authority.certificate_pem).decode()
    own = load_credentials(chain, issued.private_key_pem.decode())
    message = pack(CertificateMaterial(own, (load_pem_x509_certificate(authority.certificate_pem),)))
    assert repr(message) == "UseCertificates()"
    arrived = unpack(m.COMMANDS.decode(m.COMMANDS.encode(message)))
    assert arrived.trust_anchors == (authority.certificate,)
    assert arrived.credentials.certificates == own.certificates
    assert der(arrived.credentials.private_key) == der(own.private_key)


def test_none_at_all():
    assert unpack(pack(CertificateMaterial())) == CertificateMaterial()
