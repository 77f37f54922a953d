"""CREATE_CHILD_SA: further child SAs (RFC 7296 section 1.3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.child import ChildRequest, ChildSa
from control.ikev2.choices import ESP_SPI_SIZE
from control.ikev2.dh import InvalidPublicValue, KeyPair
from control.ikev2.events import ChildFailed
from control.ikev2.exchanges.base import NONCE_SIZE, ChildMaking, slug
from control.ikev2.exchanges.child_negotiation import ChildOffer, ChildRefused, grant, refuse_child
from control.ikev2.exchanges.informational import DeleteChildExchange, closed_by_error
from control.ikev2.exchanges.key_exchange import answer_key_exchange, shared_secret, wanted_group
from control.ikev2.numbers import DiffieHellmanGroup, ExchangeType, NotifyType, PayloadType
from control.ikev2.payloads import (
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    ReceivedPayloads,
)
from control.ikev2.payloads.key_exchange import encoded_key_exchange
from control.ikev2.states import State
from control.wire import WireError

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa


class CreateChildExchange(ChildMaking):
    """This side asks for a child SA.

    Args:
        request: what is wanted.
        group: the group of the key exchange, None for the first of the proposals, or none.

    Attributes:
        nonce: this side's.
    """

    __slots__ = ("_group", "_key_pair", "_offer", "_request", "_retried", "nonce")

    exchange_type = ExchangeType.CREATE_CHILD_SA

    def __init__(self, request: ChildRequest, group: DiffieHellmanGroup | None = None) -> None:
        super().__init__()
        self.nonce = b""
        self._request = request
        self._group = group
        self._retried = group is not None
        self._key_pair: KeyPair | None = None
        self._offer: ChildOffer | None = None

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        if sa.state is not State.ESTABLISHED:
            return None
        environment = sa.environment
        offer = self._offer = ChildOffer(sa, self._request)
        self.nonce = environment.random(NONCE_SIZE)
        self.closed_spis = ()
        group = self._group or offer.offer.first_group
        nonce = (PayloadType.NONCE, self.nonce)
        if group is None:
            return offer.payloads(nonce)
        self._key_pair = environment.key_pairs.take(group)
        return offer.payloads(nonce, encoded_key_exchange(group, self._key_pair.public), with_groups=True)

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange."""
        if sa.state is not State.ESTABLISHED:
            # This side has begun to close the IKE SA since, and with it goes whatever the peer has made.
            return
        error = payloads.error
        if error is not None:
            if not closed_by_error(sa, payloads, now) and not self._retry(sa, error, now):
                self.refused(sa, error, now)
            return
        if self._offer is None:
            return
        nonce = payloads.first(NoncePayload)
        try:
            if nonce is None:
                raise ChildRefused(NotifyType.INVALID_SYNTAX, "the answer has no nonce")
            secret = shared_secret(self._key_pair, payloads)
            seed = secret + self.nonce + nonce.nonce
            child = self._offer.accept(sa, payloads, seed, with_secret=bool(secret))
        except (ChildRefused, InvalidPublicValue) as refusal:
            # The peer believes that there is a child SA.
            self.failed(sa, refusal.reason, str(refusal), now)
            sa.exchanges.submit(DeleteChildExchange(self._offer.inbound_spi), now)
            return
        sa.lifetimes.note_success()
        if child.outbound_spi.to_bytes(ESP_SPI_SIZE, "big") in self.closed_spis:
            # The deletion of what the peer has made has overtaken its answer.
            self.failed(sa, "deleted-by-peer", "", now)
            return
        self.agreed(sa, child, min(self.nonce, nonce.nonce), now)

    def agreed(self, sa: IkeSa, child: ChildSa, nonce: bytes, now: float) -> None:
        """The child SA is there.

        Args:
            sa: the IKE SA.
            child: the new child.
            nonce: the lower one of those it was made with.
            now: monotonic seconds.
        """
        sa.add_child(child, now)

    def refused(self, sa: IkeSa, error: NotifyPayload, now: float) -> None:
        """The peer has answered with an error; the IKE SA stays."""
        if error.type != NotifyType.TEMPORARY_FAILURE:
            self.failed(sa, slug(error), "", now)
        elif sa.lifetimes.note_temporary_failure(now):
            self.failed(sa, slug(error), "", now)
            sa.terminate("out-of-sync", now)
        else:
            sa.lifetimes.retry(self, now)

    def failed(self, sa: IkeSa, reason: str, detail: str, now: float) -> None:
        """No child SA comes of it."""
        sa.environment.count(f"child-failed-{reason}")
        sa.environment.emit(sa, ChildFailed(self._request.name, reason, detail))

    def _retry(self, sa: IkeSa, error: NotifyPayload, now: float) -> bool:
        """Try once with the group that the peer asks for; returns whether there is one."""
        if error.type != NotifyType.INVALID_KE_PAYLOAD or self._retried or self._offer is None:
            return False
        offered = (group for proposal in self._offer.offer.proposals for group in proposal.groups)
        self._group = wanted_group(error, offered)
        if self._group is None:
            return False
        self._retried = True
        sa.exchanges.submit(self, now)
        return True


def answer(sa: IkeSa, payloads: ReceivedPayloads, now: float, replaces: ChildSa | None = None) -> tuple[Payload, ...]:
    """Answer the peer's request for a child SA, which may be one in the place of another.

    Raises:
        WireError: the request lacks what it needs, or its key exchange data is none.
    """
    key_exchange = payloads.first(KeyExchangePayload)
    nonce = payloads.first(NoncePayload)
    if nonce is None:
        raise WireError("missing-nonce")
    environment = sa.environment
    try:
        granted = grant(sa, payloads, key_exchange.group if key_exchange is not None else None, replaces)
        group = granted.choice.suite.group
        if group is not None and (key_exchange is None or key_exchange.group != group):
            return (NotifyPayload.invalid_ke_payload(group),)
        secret, public = answer_key_exchange(environment, group, key_exchange)
        response_nonce = environment.random(NONCE_SIZE)
        seed = secret + nonce.nonce + response_nonce
        return granted.establish(sa, seed, now, (NoncePayload(response_nonce), *public), replaces)
    except ChildRefused as refusal:
        return refuse_child(sa, refusal)
    except InvalidPublicValue as error:
        raise WireError(error.reason, str(error)) from None
