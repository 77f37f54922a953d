"""The home agent's own certificate, looked at as its nodes will."""

from __future__ import annotations

from cryptography.hazmat.primitives.serialization import Encoding

from control.config.credentials import own_credentials
from control.config.schema import Configuration
from control.ikev2.certificates import CertificateValidator
from control.ikev2.errors import CertificateError
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import Credentials


def own_identity(configuration: Configuration) -> Identity:
    """Who this home agent says it is."""
    settings = configuration.home_agent
    return Identity.from_text(settings.identity or str(settings.address))


def flaw_of_own_certificate(configuration: Configuration, wall: float) -> CertificateError | None:
    """Why nodes will refuse the certificate of this home agent, whatever their trust anchors are.

    Args:
        configuration: names it.
        wall: seconds since the epoch.

    Returns:
        The flaw; None if there is none, or no certificate.

    Raises:
        ConfigurationError: see :func:`control.config.credentials.load_credentials`.
    """
    credentials = own_credentials(configuration.ike)
    return None if credentials is None else flaw_of(credentials, own_identity(configuration), wall)


def flaw_of(credentials: Credentials, identity: Identity, wall: float) -> CertificateError | None:
    """Why nodes will refuse a certificate for this identity at this time, None if they will not."""
    leaf = credentials.certificates[0]
    validator = CertificateValidator([leaf], lambda: wall)
    try:
        validator.validate([leaf.public_bytes(Encoding.DER)], identity)
    except CertificateError as error:
        return error
    return None
