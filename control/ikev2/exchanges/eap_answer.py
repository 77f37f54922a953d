"""IKE_AUTH with EAP, this side being the authenticator (RFC 7296 section 2.16).

The first request has no AUTH payload; its answer proves this side by its certificate and holds the first EAP request.
After EAP-Success both sides prove once more that they have spoken with each other: with the key that the method has
made, or with SK_pi and SK_pr where it makes none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from control.eap.authenticator import EapAuthenticator, EapFailure, EapSuccess
from control.ikev2.authentication import AuthenticationError
from control.ikev2.exchanges import auth
from control.ikev2.numbers import NotifyType
from control.ikev2.payloads import (
    AuthenticationPayload,
    EapPayload,
    IdentificationInitiator,
    IdentificationResponder,
    Identity,
    NotifyPayload,
    Payload,
    ReceivedPayloads,
)

if TYPE_CHECKING:
    from control.ikev2.handshake import Handshake
    from control.ikev2.sa import IkeSa

_AUTHENTICATION_FAILED = NotifyPayload(NotifyType.AUTHENTICATION_FAILED)


@dataclass(slots=True)
class EapConversation:
    """What is kept from round to round.

    Attributes:
        identification: IDi of the first request.
        wishes: the first request: what the peer wants once it is authenticated.
        authenticator: decides.
        succeeded: whether EAP-Success was sent, so that the peer's AUTH is awaited.
        msk: the key that the method has made, empty if it makes none.
    """

    identification: IdentificationInitiator
    wishes: ReceivedPayloads = field(repr=False)
    authenticator: EapAuthenticator
    succeeded: bool = False
    msk: bytes = field(default=b"", repr=False)


def answer(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    """Answer one IKE_AUTH request of the conversation."""
    handshake = sa.handshake
    if handshake is None:
        return (_AUTHENTICATION_FAILED,)
    try:
        if handshake.eap is None:
            return _begin(sa, handshake, payloads)
        if not handshake.eap.succeeded:
            return _proceed(sa, handshake.eap, payloads, now)
        return _finish(sa, handshake, handshake.eap, payloads, now)
    except AuthenticationError as error:
        named = handshake.eap.identification if handshake.eap is not None else payloads.first(IdentificationInitiator)
        return _fail(sa, error.reason, str(error), now, None if named is None else named.identity)


def _begin(sa: IkeSa, handshake: Handshake, payloads: ReceivedPayloads) -> tuple[Payload, ...]:
    identification = payloads.first(IdentificationInitiator)
    if identification is None or handshake.keys is None:
        raise AuthenticationError("incomplete-request", "IDi or AUTH is missing")
    authenticator = sa.environment.policy.eap_authenticator(identification.identity)
    if authenticator is None:
        raise AuthenticationError("incomplete-request", f"no AUTH, and {identification.identity} may not use EAP")
    proof = auth.prove(sa, handshake, handshake.keys, None)
    handshake.eap = EapConversation(identification, payloads, authenticator)
    sa.environment.count("eap-begun")
    return (
        IdentificationResponder(sa.local_identity),
        *sa.environment.certificate_payloads,
        proof,
        EapPayload(authenticator.begin()),
    )


def _proceed(sa: IkeSa, conversation: EapConversation, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    response = payloads.first(EapPayload)
    if response is None:
        raise AuthenticationError("incomplete-request", "EAP is missing")
    outcome = conversation.authenticator.receive(response.data)
    if isinstance(outcome, EapFailure):
        detail = f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
        claimed = conversation.identification.identity
        return _fail(sa, outcome.reason, detail, now, claimed, EapPayload(outcome.packet))
    if isinstance(outcome, EapSuccess):
        conversation.succeeded = True
        conversation.msk = outcome.msk
    return (EapPayload(outcome.packet),)


def _finish(
    sa: IkeSa, handshake: Handshake, conversation: EapConversation, payloads: ReceivedPayloads, now: float
) -> tuple[Payload, ...]:
    proof = payloads.first(AuthenticationPayload)
    if proof is None or handshake.keys is None:
        raise AuthenticationError("incomplete-request", "AUTH is missing")
    key = auth.padded_key(sa, conversation.msk or handshake.keys.sk_pi)
    key.verify(proof, auth.peer_octets(sa, handshake, handshake.keys, conversation.identification))
    own_key = auth.padded_key(sa, conversation.msk or handshake.keys.sk_pr)
    own_proof = auth.prove(sa, handshake, handshake.keys, own_key)
    sa.environment.count("eap-succeeded")
    peer = conversation.identification.identity
    return (own_proof, *auth.establish(sa, handshake, peer, conversation.wishes, now))


def _fail(
    sa: IkeSa, reason: str, detail: str, now: float, claimed: Identity | None, *payloads: Payload
) -> tuple[Payload, ...]:
    sa.environment.count(f"authentication-{reason}")
    sa.fail("authentication-failed", detail, now=now, linger=True, claimed=claimed)
    return (*payloads, _AUTHENTICATION_FAILED)
