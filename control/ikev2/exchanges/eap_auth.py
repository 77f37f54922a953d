"""IKE_AUTH with EAP, this side being the peer that proves itself to a responder with a certificate (2.16)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from control.eap.method import MethodSuccess
from control.eap.packet import EapError
from control.eap.peer import EapPeer
from control.ikev2.authentication import AuthenticationError
from control.ikev2.errors import CertificateError
from control.ikev2.exchanges import auth
from control.ikev2.exchanges.base import slug
from control.ikev2.exchanges.child_negotiation import ChildOffer
from control.ikev2.exchanges.informational import DeleteIkeExchange
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import (
    AuthenticationPayload,
    ConfigurationPayload,
    EapPayload,
    IdentificationInitiator,
    IdentificationResponder,
    Payload,
    ReceivedPayloads,
)
from control.ikev2.states import State

if TYPE_CHECKING:
    from control.ikev2.handshake import Handshake
    from control.ikev2.sa import IkeSa


class _Phase(Enum):
    """Which request of the conversation is to be built, or was sent."""

    WISHES = "wishes"
    RESPONSE = "response"
    PROOF = "proof"


class EapAuthExchange:
    """All rounds: submitted again for each, until both sides are authenticated.

    Args:
        peer: answers the responder's EAP requests.
    """

    exchange_type = ExchangeType.IKE_AUTH

    def __init__(self, peer: EapPeer) -> None:
        self._peer = peer
        self._phase = _Phase.WISHES
        self._offer: ChildOffer | None = None
        self._response = b""
        self._msk = b""
        self._identification: IdentificationResponder | None = None

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        handshake = sa.handshake
        if handshake is None or handshake.keys is None or handshake.first_child is None:
            return None
        if self._phase is _Phase.RESPONSE:
            return (EapPayload(self._response),)
        if self._phase is _Phase.PROOF:
            key = auth.padded_key(sa, self._msk or handshake.keys.sk_pi)
            return (auth.prove(sa, handshake, handshake.keys, key),)
        offer = self._offer = ChildOffer(sa, handshake.first_child)
        return (
            IdentificationInitiator(sa.local_identity),
            *auth.initial_contact(handshake),
            *sa.environment.certificate_request,
            *auth.wanted_responder(handshake),
            *auth.wishes(sa, handshake, offer),
        )

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange."""
        handshake = sa.handshake
        if sa.state is not State.AUTH_SENT or handshake is None:
            return
        refusal, message = payloads.error, payloads.first(EapPayload)
        if refusal is not None and payloads.first(AuthenticationPayload) is None:
            sa.fail(slug(refusal), "the peer refused", now=now)
            return
        try:
            if self._phase is _Phase.PROOF:
                self._finish(sa, handshake, payloads, now)
                return
            if self._phase is _Phase.WISHES:
                self._check_responder(sa, handshake, payloads)
            if message is None:
                raise AuthenticationError("incomplete-answer", "EAP is missing")
            following = self._peer.receive(message.data)
        except (AuthenticationError, CertificateError, EapError) as error:
            sa.environment.count(f"authentication-{error.reason}")
            if error.reason == "eap-failure":
                sa.fail("authentication-failed", "the peer refused", now=now)
                return
            exchange = DeleteIkeExchange(NotifyType.AUTHENTICATION_FAILED)
            sa.refuse(exchange, "authentication-failed", str(error), now)
            return
        if isinstance(following, MethodSuccess):
            self._phase, self._msk = _Phase.PROOF, following.msk
        else:
            self._phase, self._response = _Phase.RESPONSE, following
        sa.exchanges.submit(self, now)

    def _check_responder(self, sa: IkeSa, handshake: Handshake, payloads: ReceivedPayloads) -> None:
        """The responder proves itself before it learns anything (RFC 7296 section 2.16)."""
        identification = payloads.first(IdentificationResponder)
        auth.check_responder(sa, handshake, identification, payloads.first(AuthenticationPayload), payloads)
        self._identification = identification

    def _finish(self, sa: IkeSa, handshake: Handshake, payloads: ReceivedPayloads, now: float) -> None:
        proof = payloads.first(AuthenticationPayload)
        identification = self._identification
        if proof is None or identification is None or handshake.keys is None or self._offer is None:
            raise AuthenticationError("incomplete-answer", "AUTH is missing")
        key = auth.padded_key(sa, self._msk or handshake.keys.sk_pr)
        key.verify(proof, auth.peer_octets(sa, handshake, handshake.keys, identification))
        if auth.take_redirect(sa, payloads, now):
            return
        sa.establish(identification.identity, payloads.first(ConfigurationPayload), now)
        auth.finish_child(sa, handshake, self._offer, payloads, now)
