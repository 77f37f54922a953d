"""INFORMATIONAL: deletion of child and IKE SAs, liveness, error reports (RFC 7296 sections 1.4 and 2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.events import IkeRedirected, PeerAlive
from control.ikev2.exchanges.base import FATAL_ERRORS, ChildMaking, slug
from control.ikev2.numbers import ExchangeType, NotifyType, ProtocolId
from control.ikev2.payloads import DeletePayload, NotifyPayload, Payload, ReceivedPayloads
from control.ikev2.payloads.delete import MAX_SPIS
from control.ikev2.redirect import RedirectStage, redirected_to
from control.ikev2.states import State
from control.ikev2.succession import adopt_rival

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

_SPI_SIZE = 4


class LivenessExchange:
    """An empty request, to see whether the peer is there."""

    __slots__ = ()

    exchange_type = ExchangeType.INFORMATIONAL

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        return ()

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange."""
        if not closed_by_error(sa, payloads, now):
            sa.environment.emit(sa, PeerAlive())


class DeleteChildExchange:
    """Tells the peer that a child SA is closed.

    A child that was asked to be closed is out of use here from then on. One that another has replaced goes on receiving
    until the peer has answered.

    Attributes:
        inbound_spi: this side's SPI of the child.
        outbound_spi: the peer's, None where it is not known.
    """

    __slots__ = ("_replaced", "inbound_spi", "outbound_spi")

    exchange_type = ExchangeType.INFORMATIONAL

    def __init__(self, inbound_spi: int, outbound_spi: int | None = None, *, replaced: bool = False) -> None:
        self.inbound_spi = inbound_spi
        self.outbound_spi = outbound_spi
        self._replaced = replaced

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        if self._replaced and self.inbound_spi not in sa.children:
            return None
        return (DeletePayload(ProtocolId.ESP, (self.inbound_spi.to_bytes(_SPI_SIZE, "big"),)),)

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange: whatever the peer says of it, its half is over."""
        if not closed_by_error(sa, payloads, now):
            sa.remove_child(self.inbound_spi, "deleted")


class DeleteIkeExchange:
    """Tells the peer that the IKE SA is over, by a Delete payload or by the error that ended it."""

    __slots__ = ("_error",)

    exchange_type = ExchangeType.INFORMATIONAL

    def __init__(self, error: NotifyType | None = None) -> None:
        self._error = error

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        return (DeletePayload(ProtocolId.IKE) if self._error is None else NotifyPayload(self._error),)

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange."""
        sa.finish_closing(now)


def closed_by_error(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> bool:
    """Close ``sa`` if the peer's message says that it has; returns whether it was so."""
    error = payloads.error
    if error is None or error.type not in FATAL_ERRORS or sa.state is not State.ESTABLISHED:
        return False
    sa.close(slug(error), now=now)
    return True


def answer(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    """Answer the peer's INFORMATIONAL request."""
    closed_spis: list[bytes] = []
    for payload in payloads:
        if isinstance(payload, DeletePayload):
            if payload.protocol == ProtocolId.IKE:
                _peer_deleted(sa, "deleted-by-peer", now)
                return ()
            if payload.protocol == ProtocolId.ESP:
                closed_spis += _close_children(sa, payload.spis)
        elif isinstance(payload, NotifyPayload) and payload.type in FATAL_ERRORS:
            _peer_deleted(sa, slug(payload), now)
            return ()
        elif isinstance(payload, NotifyPayload) and payload.type == NotifyType.REDIRECT:
            _redirected(sa, payload)
    if closed_spis:
        return (DeletePayload(ProtocolId.ESP, tuple(closed_spis)),)
    return ()


def _redirected(sa: IkeSa, redirect: NotifyPayload) -> None:
    """The gateway that this side has turned to wants it to go elsewhere (RFC 5685 section 5)."""
    if sa.is_initiator and sa.state is State.ESTABLISHED:
        gateway = redirected_to(sa.environment, redirect, RedirectStage.SESSION)
        if gateway is not None:
            sa.environment.emit(sa, IkeRedirected(gateway, RedirectStage.SESSION))


def _peer_deleted(sa: IkeSa, reason: str, now: float) -> None:
    if sa.rekeying is not None and sa.rekeying.has_rival and sa.state is State.ESTABLISHED:
        # The peer has rekeyed it as well, and what this side has asked for meanwhile is void (section 2.8.2).
        adopt_rival(sa, sa.rekeying, now)
    if sa.state is not State.ESTABLISHED:
        # Both sides closed it at once, and each has told the other; or another one has taken its place.
        sa.finish_closing(now, linger=True)
    else:
        sa.close(reason, now=now, linger=True)


def _close_children(sa: IkeSa, peer_spis: tuple[bytes, ...]) -> list[bytes]:
    """Close the children the peer names by its own SPIs; returns this side's SPIs of them.

    Those already closed by this side are not among them, as both sides' requests have crossed (section 1.4.1).
    """
    current: object = sa.exchanges.current
    crossing = current.inbound_spi if isinstance(current, DeleteChildExchange) else None
    by_outbound_spi = {child.outbound_spi.to_bytes(_SPI_SIZE, "big"): child for child in sa.children.values()}
    if isinstance(current, ChildMaking):
        unknown = tuple(spi for spi in peer_spis if spi not in by_outbound_spi)
        current.closed_spis = (*current.closed_spis, *unknown)[-MAX_SPIS:]
    closed = []
    for spi in peer_spis:
        child = by_outbound_spi.get(spi)
        if child is None or sa.remove_child(child.inbound_spi, "deleted-by-peer") is None:
            continue
        if child.inbound_spi != crossing:
            closed.append(child.inbound_spi.to_bytes(_SPI_SIZE, "big"))
    return closed
