"""Certificates and keys from the files the configuration names, with the mistake explained when one does not fit."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from control.config import Configuration, ConfigurationError, Problem
from control.ikev2.policy import Credentials, PrivateKey

_SMALLEST_RSA_BITS = 2048
_KEY_WANTED = "Use an RSA (2048 bits or more), ECDSA P-256 or P-384, or Ed25519 key without a passphrase."


def load_credentials(configuration: Configuration) -> Credentials | None:
    """The home agent's own certificate chain and key, None if it has none.

    Raises:
        ConfigurationError: a file is missing, not what it should be, or key and certificate do not belong together.
    """
    ike = configuration.ike
    if ike.certificate is None or ike.private_key is None:
        return None
    certificates = load_certificates(ike.certificate)
    key = _load_private_key(ike.private_key)
    if certificates[0].public_key() != key.public_key():
        raise _mistake(
            ike.private_key, f"not the key of the first certificate in {ike.certificate}", "Name the key that is."
        )
    return Credentials(certificates=certificates, private_key=key)


def load_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM file, in its order.

    Raises:
        ConfigurationError: the file cannot be read or holds none.
    """
    try:
        return tuple(x509.load_pem_x509_certificates(_read(path)))
    except ValueError:
        raise _mistake(path, "holds no PEM certificate", "Write it as -----BEGIN CERTIFICATE-----.") from None


def _load_private_key(path: Path) -> PrivateKey:
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError):
        raise _mistake(path, "holds no PEM private key that can be read", _KEY_WANTED) from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= _SMALLEST_RSA_BITS:
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1 | SECP384R1):
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise _mistake(path, "a key of a kind that IKEv2 cannot use here", _KEY_WANTED)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _mistake(path, f"cannot be read: {error.strerror}", "Correct the path or its permissions.") from None


def _mistake(path: Path, wrong: str, remedy: str) -> ConfigurationError:
    return ConfigurationError([Problem(path, None, "", wrong, remedy)])
