"""The peer's IKE_AUTH requests: with a proof at once, or with EAP over several rounds (RFC 7296 sections 1.2, 2.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.exchanges import auth, eap_answer
from control.ikev2.payloads import AuthenticationPayload, DeletePayload, Payload, ReceivedPayloads

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa


def answer(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    """Answer the peer's IKE_AUTH request."""
    handshake = sa.handshake
    if handshake is None or (handshake.eap is None and payloads.first(AuthenticationPayload) is not None):
        return auth.answer(sa, payloads, now)
    return eap_answer.answer(sa, payloads, now)


def answer_informational(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    """Answer an INFORMATIONAL request before the end of IKE_AUTH: the peer has found fault with this side (2.21.2)."""
    if payloads.error is not None or payloads.first(DeletePayload) is not None:
        sa.fail("given-up-by-peer", now=now, linger=True)
    return ()
