"""Certificates and keys, from files or PEM text, with the mistake explained when one does not fit."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from control.config.ike_settings import IkeSettings
from control.config.problems import ConfigurationError, Problem
from control.config.toml_source import read_text
from control.ikev2.policy import CertificateMaterial, Credentials, PrivateKey

_PEM_BEGIN = "-----BEGIN "
_SMALLEST_RSA_BITS = 2048
_KEY_WANTED = "Use an RSA (2048 bits or more), ECDSA P-256 or P-384, or Ed25519 key without a passphrase."


def is_pem(text: str) -> bool:
    """Whether a string is PEM text rather than the name of a file."""
    return text.lstrip().startswith(_PEM_BEGIN)


def certificate_material(ike: IkeSettings) -> CertificateMaterial:
    """All that the configuration names to authenticate with, by certificates.

    Raises:
        ConfigurationError: a file is not what it should be.
    """
    anchors = [certificate for path in ike.trust_anchors for certificate in load_certificates(path)]
    return CertificateMaterial(own_credentials(ike), tuple(anchors))


def own_credentials(ike: IkeSettings) -> Credentials | None:
    """The home agent's certificate chain and key, None if it has none.

    Raises:
        ConfigurationError: see :func:`load_credentials`.
    """
    if ike.certificate is None or ike.private_key is None:
        return None
    return load_credentials(ike.certificate, ike.private_key)


def load_credentials(certificate: str | Path, private_key: str | Path) -> Credentials:
    """A certificate chain, leaf first, and the key of its leaf.

    Args:
        certificate: path or PEM text.
        private_key: path or PEM text.

    Raises:
        ConfigurationError: one cannot be read, is not what it should be, or they do not belong together.
    """
    certificates = load_certificates(certificate)
    text, file = _text(private_key)
    key = _private_key(text, file)
    if certificates[0].public_key() != key.public_key():
        raise _mistake(file, "not the key of the (first) certificate beside it", "Name the key that belongs to it.")
    return Credentials(certificates=certificates, private_key=key)


def load_certificates(source: str | Path) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM file or text, in its order.

    Raises:
        ConfigurationError: it cannot be read, or there are none.
    """
    text, file = _text(source)
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except ValueError:
        raise _mistake(file, "holds no PEM certificate", "Write it as -----BEGIN CERTIFICATE-----.") from None


def _private_key(text: str, file: Path) -> PrivateKey:
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        raise _mistake(file, "holds no PEM private key that can be read", _KEY_WANTED) from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= _SMALLEST_RSA_BITS:
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1 | SECP384R1):
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise _mistake(file, "a key of a kind that IKEv2 cannot use here", _KEY_WANTED)


def _text(source: str | Path) -> tuple[str, Path]:
    if isinstance(source, str) and is_pem(source):
        return source, Path("PEM text")
    file = Path(source)
    return read_text(file), file


def _mistake(file: Path, wrong: str, remedy: str) -> ConfigurationError:
    return ConfigurationError([Problem(file, None, "", wrong, remedy)])
