"""EAP-TLS by the configuration of IKEv2: the same certificate, trust anchors and revocation lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from control.eap.account import EapAccount
from control.eap.packet import EapError
from control.eap.tls import TlsServer, server_context
from control.ikev2.certificates import CertificateValidator
from control.ikev2.errors import CertificateError
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import IkeConfiguration


def tls_servers(configuration: IkeConfiguration) -> Callable[[EapAccount], TlsServer] | None:
    """Makes the method's runs for accounts; None where this side has no certificate to show."""
    credentials = configuration.credentials
    if credentials is None:
        return None
    context = server_context(credentials.certificates, credentials.private_key)
    validator = CertificateValidator(
        configuration.trust_anchors, configuration.wall_clock, revocation=configuration.revocation
    )
    return lambda account: TlsServer(context, partial(_check, validator, Identity.from_text(account.identity)))


def _check(validator: CertificateValidator, identity: Identity, chain: Sequence[bytes]) -> None:
    try:
        validator.validate(chain, identity)
    except CertificateError as error:
        raise EapError(error.reason, str(error)) from None
