"""CREATE_CHILD_SA: further child SAs (RFC 7296 section 1.3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from control.ikev2.child import ChildRequest
from control.ikev2.dh import InvalidPublicValue, KeyPair, is_supported
from control.ikev2.events import ChildFailed
from control.ikev2.exchanges.base import NONCE_SIZE, error_in, first, notification, slug
from control.ikev2.exchanges.child_negotiation import ChildOffer, ChildRefused, ChildSecrets, grant, refuse_child
from control.ikev2.exchanges.informational import DeleteChildExchange, closed_by_error
from control.ikev2.numbers import DiffieHellmanGroup, ExchangeType, NotifyType, ProtocolId
from control.ikev2.payloads import (
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SecurityAssociationPayload,
)
from control.ikev2.states import State
from control.wire import WireError

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa


class CreateChildExchange:
    """This side asks for a child SA.

    Args:
        request: what is wanted.
        group: the group of the key exchange, None for the first of the proposals, or none.
    """

    __slots__ = ("_group", "_key_pair", "_nonce", "_offer", "_request", "_retried")

    exchange_type = ExchangeType.CREATE_CHILD_SA

    def __init__(self, request: ChildRequest, group: DiffieHellmanGroup | None = None) -> None:
        self._request = request
        self._group = group
        self._retried = group is not None
        self._nonce = b""
        self._key_pair: KeyPair | None = None
        self._offer: ChildOffer | None = None

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        if sa.state is not State.ESTABLISHED:
            return None
        environment = sa.environment
        offer = self._offer = ChildOffer(sa, self._request)
        self._nonce = environment.random(NONCE_SIZE)
        group = self._group or offer.offer.first_group
        key_exchange: tuple[Payload, ...] = ()
        if group is not None:
            self._key_pair = environment.key_pairs.take(group)
            key_exchange = (KeyExchangePayload(group, self._key_pair.public),)
        return (
            *offer.mode(),
            offer.security_association(with_groups=group is not None),
            NoncePayload(self._nonce),
            *key_exchange,
            *offer.selectors(),
        )

    def complete(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        """See Exchange."""
        if sa.state is not State.ESTABLISHED:
            # This side has begun to close the IKE SA since, and with it goes whatever the peer has made.
            return
        error = error_in(payloads)
        if error is not None:
            self._refused(sa, error, payloads, now)
            return
        if self._offer is None:
            return
        nonce = first(payloads, NoncePayload)
        try:
            if nonce is None:
                raise ChildRefused(NotifyType.INVALID_SYNTAX, "the answer has no nonce")
            secret = self._shared_secret(payloads)
            child = self._offer.accept(sa, payloads, ChildSecrets(self._nonce, nonce.nonce, secret))
        except (ChildRefused, InvalidPublicValue) as refusal:
            # The peer believes that there is a child SA.
            self._fail(sa, refusal.reason, str(refusal))
            sa.exchanges.submit(DeleteChildExchange(self._offer.inbound_spi), now)
            return
        sa.add_child(child)

    def _shared_secret(self, payloads: Sequence[Payload]) -> bytes:
        answer = first(payloads, KeyExchangePayload)
        if self._key_pair is None or answer is None:
            return b""
        if answer.group != self._key_pair.group:
            raise InvalidPublicValue(f"group {answer.group}")
        return self._key_pair.exchange(answer.data)

    def _refused(self, sa: IkeSa, error: NotifyPayload, payloads: tuple[Payload, ...], now: float) -> None:
        if closed_by_error(sa, payloads, now):
            return
        if error.type == NotifyType.INVALID_KE_PAYLOAD and not self._retried:
            group = _offered_group(error, self._offer)
            if group is not None:
                sa.exchanges.submit(CreateChildExchange(self._request, group), now)
                return
        self._fail(sa, slug(error))

    def _fail(self, sa: IkeSa, reason: str, detail: str = "") -> None:
        sa.environment.count(f"child-failed-{reason}")
        sa.environment.emit(sa, ChildFailed(self._request.name, reason, detail))


def _offered_group(error: NotifyPayload, offer: ChildOffer | None) -> DiffieHellmanGroup | None:
    """The group an INVALID_KE_PAYLOAD asks for, if this side has offered it."""
    try:
        wanted = error.key_exchange_group()
    except WireError:
        return None
    offered = offer.offer.proposals if offer is not None else ()
    return next((group for proposal in offered for group in proposal.groups if group == wanted), None)


def answer(sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> tuple[Payload, ...]:
    """Answer the peer's CREATE_CHILD_SA request.

    Raises:
        WireError: the request lacks what it needs, or its key exchange data is none.
    """
    if sa.state is not State.ESTABLISHED:
        return (NotifyPayload(NotifyType.TEMPORARY_FAILURE),)
    if _is_rekeying(payloads):
        # Section 1.3 has this answer for implementations that do not rekey: the peer makes a new IKE SA instead.
        return (NotifyPayload(NotifyType.NO_ADDITIONAL_SAS),)
    key_exchange = first(payloads, KeyExchangePayload)
    nonce = first(payloads, NoncePayload)
    if nonce is None:
        raise WireError("missing-nonce")
    try:
        granted = grant(sa, payloads, key_exchange.group if key_exchange is not None else None)
        group = granted.choice.suite.group
        if group is not None and (key_exchange is None or key_exchange.group != group):
            return (NotifyPayload.invalid_ke_payload(group),)
        secret, public = _answer_key_exchange(sa, group, key_exchange)
        response_nonce = sa.environment.random(NONCE_SIZE)
        secrets = ChildSecrets(nonce.nonce, response_nonce, secret)
        return granted.establish(sa, secrets, (NoncePayload(response_nonce), *public))
    except ChildRefused as refusal:
        return refuse_child(sa, refusal)
    except InvalidPublicValue as error:
        raise WireError(error.reason, str(error)) from None


def _is_rekeying(payloads: Sequence[Payload]) -> bool:
    if notification(payloads, NotifyType.REKEY_SA) is not None:
        return True
    offer = first(payloads, SecurityAssociationPayload)
    return offer is not None and all(proposal.protocol == ProtocolId.IKE for proposal in offer.proposals)


def _answer_key_exchange(
    sa: IkeSa, group: DiffieHellmanGroup | None, key_exchange: KeyExchangePayload | None
) -> tuple[bytes, tuple[Payload, ...]]:
    """The shared secret and the KE payload of the answer; nothing of both without a group."""
    if group is None or key_exchange is None or not is_supported(group):
        return b"", ()
    key_pair = sa.environment.key_pairs.take(group)
    return key_pair.exchange(key_exchange.data), (KeyExchangePayload(group, key_pair.public),)
