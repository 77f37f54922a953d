"""Certificates and keys of mobile nodes, from files or from PEM text."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from control.config import ConfigurationError, Problem
from control.config.toml_source import read_text
from control.ikev2.policy import Credentials
from control.mobile_daemon.configuration import is_pem


def load_node_credentials(certificate: str | Path, private_key: str | Path) -> Credentials:
    """A node's own certificate chain, leaf first, and its key.

    Args:
        certificate: path or PEM text.
        private_key: path or PEM text.

    Raises:
        ConfigurationError: unreadable, or key and certificate do not belong together.
    """
    certificates = load_chain(certificate)
    text, file = _text(private_key)
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        raise _mistake(file, "holds no PEM private key that can be read", "Use one without a passphrase.") from None
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise _mistake(file, "a key of a kind that IKEv2 cannot use here", "Use an RSA, ECDSA or Ed25519 key.")
    if certificates[0].public_key() != key.public_key():
        raise _mistake(file, "not the key of the node's certificate", "Name the key that belongs to it.")
    return Credentials(certificates=certificates, private_key=key)


def load_chain(source: str | Path) -> tuple[x509.Certificate, ...]:
    """All certificates of a PEM file or text.

    Raises:
        ConfigurationError: there are none.
    """
    text, file = _text(source)
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except ValueError:
        raise _mistake(file, "holds no PEM certificate", "Write it as -----BEGIN CERTIFICATE-----.") from None


def _text(source: str | Path) -> tuple[str, Path]:
    if isinstance(source, str) and is_pem(source):
        return source, Path("PEM text")
    file = Path(source)
    return read_text(file), file


def _mistake(file: Path, wrong: str, remedy: str) -> ConfigurationError:
    return ConfigurationError([Problem(file, None, "", wrong, remedy)])
