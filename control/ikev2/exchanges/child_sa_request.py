"""The peer's CREATE_CHILD_SA requests: for a further child SA, or to rekey a child SA or the IKE SA (1.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.exchanges import create_child, rekey_child, rekey_ike
from control.ikev2.numbers import NotifyType
from control.ikev2.payloads import NotifyPayload, Payload, ReceivedPayloads
from control.ikev2.states import State

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa


def answer(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    """Answer the peer's CREATE_CHILD_SA request.

    Raises:
        WireError: the request lacks what it needs, or its key exchange data is none.
    """
    rekey_ike.receive_undecided(sa, payloads, now)
    rekeyed_child = payloads.notification(NotifyType.REKEY_SA)
    if sa.state is State.ESTABLISHED and rekeyed_child is None and rekey_ike.is_ike_rekeying(payloads):
        return rekey_ike.answer(sa, payloads, now)
    if sa.state is not State.ESTABLISHED or sa.rekeying is not None:
        # The SA is being replaced or closed (sections 2.25.1 and 2.25.2).
        sa.environment.count("temporary-failures-answered")
        return (NotifyPayload(NotifyType.TEMPORARY_FAILURE),)
    if rekeyed_child is not None:
        return rekey_child.answer(sa, payloads, rekeyed_child, now)
    return create_child.answer(sa, payloads, now)
