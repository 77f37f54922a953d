"""Rekeying of the IKE SA itself by CREATE_CHILD_SA (RFC 7296 sections 1.3.2, 2.8.2, 2.18 and 2.25.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.choices import choose_ike
from control.ikev2.dh import InvalidPublicValue, KeyPair
from control.ikev2.exchanges import informational
from control.ikev2.exchanges.base import NONCE_SIZE, slug
from control.ikev2.exchanges.informational import DeleteChildExchange, closed_by_error
from control.ikev2.exchanges.key_exchange import answer_key_exchange, shared_secret, wanted_group
from control.ikev2.keys import IkeKeys
from control.ikev2.numbers import DiffieHellmanGroup, ExchangeType, NotifyType, ProtocolId
from control.ikev2.payloads import (
    DeletePayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    ReceivedPayloads,
    SecurityAssociationPayload,
)
from control.ikev2.security import use_keys
from control.ikev2.states import Role, State, Trigger
from control.ikev2.succession import (
    IkeRekeying,
    adopt_rival,
    delete_superfluous,
    inherit,
    make_successor,
    retire,
)
from control.wire import WireError

if TYPE_CHECKING:
    from control.ikev2.proposals import IkeSuite
    from control.ikev2.sa import IkeSa

_TEMPORARY_FAILURE = NotifyPayload(NotifyType.TEMPORARY_FAILURE)


class BadAnswer(Exception):
    """The peer says that it has rekeyed the IKE SA, but no keys follow from its answer."""


class RekeyIkeExchange:
    """This side puts a new IKE SA in the place of the one the exchange is made under.

    Args:
        group: the group of the key exchange, None for the one of the old SA.
    """

    __slots__ = ("_group", "_key_pair", "_nonce", "_retried")

    exchange_type = ExchangeType.CREATE_CHILD_SA

    def __init__(self, group: DiffieHellmanGroup | None = None) -> None:
        self._group = group
        self._retried = group is not None
        self._nonce = b""
        self._key_pair: KeyPair | None = None

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        if sa.state is not State.ESTABLISHED or sa.suite is None:
            return None
        environment = sa.environment
        successor = make_successor(sa, Role.INITIATOR, now)
        sa.rekeying = IkeRekeying(successor)
        self._nonce = environment.random(NONCE_SIZE)
        self._key_pair = environment.key_pairs.take(self._group or sa.suite.group)
        return (
            environment.ike_offer.rekeying(successor.local_spi),
            NoncePayload(self._nonce),
            KeyExchangePayload(self._key_pair.group, self._key_pair.public),
        )

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange."""
        rekeying, sa.rekeying = sa.rekeying, None
        if rekeying is None:
            return
        error = payloads.error
        if error is not None:
            self._refused(sa, rekeying, error, payloads, now)
            return
        try:
            nonce = self._use_answer(sa, rekeying.successor, payloads)
        except (BadAnswer, InvalidPublicValue):
            # The peer uses an SA now that this side knows no keys of.
            sa.environment.count("ike-rekeying-failed-bad-answer")
            rekeying.drop(now)
            sa.terminate("rekeying-failed", now)
            return
        if sa.state is not State.ESTABLISHED:
            # This side has begun to close the old SA since; the peer has to learn that the new one is over as well.
            delete_superfluous(rekeying.successor, now)
            rekeying.drop_rival(now)
            return
        sa.lifetimes.note_success()
        self._decide(sa, rekeying, min(self._nonce, nonce), now)

    def _use_answer(self, sa: IkeSa, successor: IkeSa, payloads: ReceivedPayloads) -> bytes:
        """Give the new SA its keys; returns the peer's nonce."""
        answer = payloads.first(SecurityAssociationPayload)
        nonce = payloads.first(NoncePayload)
        choice = sa.environment.ike_offer.accepted_rekeying(answer) if answer is not None else None
        if choice is None or nonce is None or self._key_pair is None or sa.suite is None:
            raise BadAnswer("the answer is not complete")
        suite, successor.remote_spi = choice
        secret = shared_secret(self._key_pair, payloads)
        if suite.group is not self._key_pair.group or not secret:
            raise BadAnswer("key exchange and chosen group do not agree")
        _use_secret(sa, successor, suite, secret, (self._nonce, nonce.nonce))
        return nonce.nonce

    def _decide(self, sa: IkeSa, rekeying: IkeRekeying, nonce: bytes, now: float) -> None:
        """The new SA takes the place of the old one, unless the peer's does, which was made meanwhile (2.8.2)."""
        successor, rival = rekeying.successor, rekeying.rival
        if rival is None or not rekeying.has_rival:
            inherit(sa, successor, now)
            sa.begin_closing(now)
            return
        sa.environment.count("ike-rekeying-collisions")
        if nonce < rekeying.rival_nonce:
            inherit(sa, rival, now)
            retire(sa, now)
            delete_superfluous(successor, now)
        else:
            inherit(sa, successor, now)
            retire(rival, now)
            sa.begin_closing(now)

    def _refused(
        self, sa: IkeSa, rekeying: IkeRekeying, error: NotifyPayload, payloads: ReceivedPayloads, now: float
    ) -> None:
        if closed_by_error(sa, payloads, now) or sa.state is not State.ESTABLISHED:
            rekeying.drop(now)
            return
        if rekeying.has_rival:
            # The peer had made its own before it heard of this side's, and is about to delete the old one.
            adopt_rival(sa, rekeying, now)
            return
        rekeying.successor.end(now)
        if error.type == NotifyType.INVALID_KE_PAYLOAD and not self._retried:
            offered = (group for each in sa.environment.ike_offer.proposals for group in each.groups)
            group = wanted_group(error, offered)
            if group is not None:
                sa.exchanges.submit(RekeyIkeExchange(group), now)
                return
        sa.environment.count(f"ike-rekeying-failed-{slug(error)}")
        is_temporary = error.type == NotifyType.TEMPORARY_FAILURE
        if is_temporary and sa.lifetimes.note_temporary_failure(now):
            sa.terminate("out-of-sync", now)
            return
        sa.lifetimes.rekey_ike_later(self, now, refused=not is_temporary)


def _use_secret(old: IkeSa, successor: IkeSa, suite: IkeSuite, secret: bytes, nonces: tuple[bytes, bytes]) -> None:
    if old.suite is None:
        raise BadAnswer("the old SA has no keys")
    spis = successor.initiator_spi + successor.responder_spi
    use_keys(successor, suite, IkeKeys.rederive(suite, (old.suite.prf, old.sk_d), secret, *nonces, spis))


def is_ike_rekeying(payloads: ReceivedPayloads) -> bool:
    """Whether a CREATE_CHILD_SA request is to rekey the IKE SA."""
    offer = payloads.first(SecurityAssociationPayload)
    return offer is not None and all(proposal.protocol == ProtocolId.IKE for proposal in offer.proposals)


def answer(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    """Answer the peer's request to rekey the established IKE SA.

    Raises:
        WireError: the request lacks what it needs, or its key exchange data is none.
    """
    if _is_busy(sa):
        sa.environment.count("temporary-failures-answered")
        return (_TEMPORARY_FAILURE,)
    offer = payloads.first(SecurityAssociationPayload)
    key_exchange = payloads.first(KeyExchangePayload)
    nonce = payloads.first(NoncePayload)
    if offer is None or key_exchange is None or nonce is None:
        raise WireError("incomplete-request", "rekeying of an IKE SA needs SA, Ni and KEi")
    environment = sa.environment
    choice = choose_ike(environment.configuration.ike_proposals, offer, key_exchange.group, rekeying=True)
    if choice is None:
        environment.count("refused-no-proposal-chosen")
        return (NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN),)
    if choice.suite.group != key_exchange.group:
        environment.count("refused-invalid-ke-payload")
        return (NotifyPayload.invalid_ke_payload(choice.suite.group),)
    if not any(choice.peer_spi):
        raise WireError("bad-spi", "an IKE SPI of zero")
    try:
        secret, public = answer_key_exchange(environment, choice.suite.group, key_exchange)
    except InvalidPublicValue as error:
        raise WireError(error.reason, str(error)) from None
    successor = make_successor(sa, Role.RESPONDER, now)
    successor.remote_spi = choice.peer_spi
    response_nonce = environment.random(NONCE_SIZE)
    nonces = (nonce.nonce, response_nonce)
    _use_secret(sa, successor, choice.suite, secret, nonces)
    if sa.rekeying is not None:
        successor.change(Trigger.AWAIT_NONCES)
        successor.predecessor = sa
        sa.rekeying.rival, sa.rekeying.rival_nonce = successor, min(nonces)
    else:
        inherit(sa, successor, now)
        retire(sa, now)
    return choice.answer(successor.local_spi), NoncePayload(response_nonce), *public


def _is_busy(sa: IkeSa) -> bool:
    """Whether this side is creating, rekeying or closing a child SA (2.25.1), or has answered the same before."""
    if sa.rekeying is not None:
        return sa.rekeying.has_rival
    current = sa.exchanges.current
    return isinstance(current, DeleteChildExchange) or (
        current is not None and current.exchange_type is ExchangeType.CREATE_CHILD_SA
    )


def receive_undecided(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
    """Take note of a request under an SA that the peer has made while this side was rekeying the same one.

    Unless it deletes the SA, the peer uses it, so it knows already that this is the one that stays. If this side is
    closing the old one, it goes with that.
    """
    is_deletion = any(isinstance(each, DeletePayload) and each.protocol == ProtocolId.IKE for each in payloads)
    old = sa.predecessor
    if is_deletion or old is None or old.rekeying is None or old.state is not State.ESTABLISHED:
        return
    adopt_rival(old, old.rekeying, now)


def answer_undecided(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    """Answer an INFORMATIONAL request under such an SA."""
    receive_undecided(sa, payloads, now)
    return informational.answer(sa, payloads, now)
