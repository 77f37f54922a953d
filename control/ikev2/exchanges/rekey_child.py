"""Rekeying of a child SA by CREATE_CHILD_SA (RFC 7296 sections 1.3.3, 2.8, 2.8.1 and 2.25.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.child import ChildRequest, ChildSa
from control.ikev2.choices import ESP_SPI_SIZE
from control.ikev2.exchanges import create_child
from control.ikev2.exchanges.base import slug
from control.ikev2.exchanges.create_child import CreateChildExchange
from control.ikev2.exchanges.informational import DeleteChildExchange
from control.ikev2.numbers import NotifyType, ProtocolId
from control.ikev2.payloads import NoncePayload, NotifyPayload, Payload, ReceivedPayloads
from control.ikev2.proposals import EspProposal
from control.ipsec.algorithms import IntegrityAlgorithm

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa


class RekeyChildExchange(CreateChildExchange):
    """This side puts a new child SA in the place of one it has.

    Attributes:
        child: the one that is to be replaced.
        nonce: this side's.
    """

    __slots__ = ("_rival", "_rival_nonce", "child")

    def __init__(self, sa: IkeSa, child: ChildSa) -> None:
        super().__init__(_same_again(sa, child))
        self.child = child
        self._rival: ChildSa | None = None
        self._rival_nonce = b""

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        if self.child.inbound_spi not in sa.children or self.child.inbound_spi in sa.superseded:
            return None
        self._rival = None
        payloads = super().build(sa, now)
        spi = self.child.inbound_spi.to_bytes(ESP_SPI_SIZE, "big")
        return None if payloads is None else (NotifyPayload(NotifyType.REKEY_SA, ProtocolId.ESP, spi), *payloads)

    def note_rival(self, rival: ChildSa, nonce: bytes) -> None:
        """The peer has put ``rival`` in the place of the same child meanwhile; ``nonce`` is its lower one."""
        self._rival, self._rival_nonce = rival, nonce

    def agreed(self, sa: IkeSa, child: ChildSa, nonce: bytes, now: float) -> None:
        """The new child SA is there; of two made at the same time the one with the lowest nonce goes (2.8.1)."""
        old, rival = self.child, self._rival
        has_rival = rival is not None and rival.inbound_spi in sa.children
        if has_rival:
            sa.environment.count("child-rekeying-collisions")
        if has_rival and nonce < self._rival_nonce:
            sa.exchanges.submit(DeleteChildExchange(child.inbound_spi, child.outbound_spi), now)
            return
        is_there = old.inbound_spi in sa.children
        if not is_there and not has_rival:
            # One of the two sides has closed it since.
            sa.exchanges.submit(DeleteChildExchange(child.inbound_spi, child.outbound_spi), now)
            return
        sa.environment.count("child-rekeyed")
        sa.add_child(child, now, old if is_there else rival)
        if rival is not None and has_rival:
            sa.supersede(rival, child)
        if is_there:
            sa.exchanges.submit(DeleteChildExchange(old.inbound_spi, old.outbound_spi, replaced=True), now)

    def refused(self, sa: IkeSa, error: NotifyPayload, now: float) -> None:
        """The peer has answered with an error."""
        spi = self.child.inbound_spi
        sa.environment.count(f"child-rekeying-failed-{slug(error)}")
        if error.type == NotifyType.CHILD_SA_NOT_FOUND:
            self._not_found(sa, now)
        elif error.type != NotifyType.TEMPORARY_FAILURE:
            sa.lifetimes.rekey_child_later(self, spi, now, refused=True)
        elif sa.lifetimes.note_temporary_failure(now):
            sa.terminate("out-of-sync", now)
        else:
            sa.lifetimes.rekey_child_later(self, spi, now, refused=False)

    def failed(self, sa: IkeSa, reason: str, detail: str, now: float) -> None:
        """The peer's answer is not acceptable."""
        sa.environment.count(f"child-rekeying-failed-{reason}")
        sa.lifetimes.rekey_child_later(self, self.child.inbound_spi, now, refused=True)

    def _not_found(self, sa: IkeSa, now: float) -> None:
        """The peer does not have the child any more: nor does this side, and a new one takes its place (2.25).

        None is needed where the peer has replaced it already, or closed it while the request was under way.
        """
        spi = self.child.inbound_spi
        was_replaced = spi in sa.superseded
        if sa.remove_child(spi, "unknown-to-peer") is not None and not was_replaced:
            sa.exchanges.submit(CreateChildExchange(self._request), now)


def _same_again(sa: IkeSa, child: ChildSa) -> ChildRequest:
    """The request for a child SA like ``child``: the same selectors, mode and algorithms (section 2.8)."""
    suite = child.suite
    encryption = (suite.encryption, suite.key_bits)
    integrity = () if suite.integrity is IntegrityAlgorithm.NONE else (suite.integrity,)
    configured = (
        group
        for proposal in sa.environment.configuration.esp_proposals
        if encryption in proposal.encryption
        for group in proposal.groups
    )
    groups = dict.fromkeys((*(() if child.group is None else (child.group,)), *configured))
    return ChildRequest(
        child.local_selectors,
        child.remote_selectors,
        child.name,
        child.transport_mode,
        (EspProposal((encryption,), integrity, tuple(groups)),),
    )


def answer(sa: IkeSa, payloads: ReceivedPayloads, rekeyed: NotifyPayload, now: float) -> tuple[Payload, ...]:
    """Answer the peer's request to rekey the child SA that ``rekeyed`` names.

    Raises:
        WireError: the request lacks what it needs, or its key exchange data is none.
    """
    spi = int.from_bytes(rekeyed.spi, "big") if rekeyed.protocol == ProtocolId.ESP else None
    child = next((each for each in sa.children.values() if each.outbound_spi == spi), None)
    if child is None and (_is_closing(sa, spi) or isinstance(sa.exchanges.current, CreateChildExchange)):
        # It is being closed, or is the one whose creation the peer has answered and this side has not heard of yet.
        return _temporary_failure(sa)
    if child is None:
        sa.environment.count("refused-child-sa-not-found")
        return (NotifyPayload(NotifyType.CHILD_SA_NOT_FOUND, rekeyed.protocol, rekeyed.spi),)
    if child.inbound_spi in sa.superseded:
        return _temporary_failure(sa)
    response = create_child.answer(sa, payloads, now, child)
    replacement = sa.children.get(sa.superseded.get(child.inbound_spi, 0))
    current = sa.exchanges.current
    if replacement is not None and isinstance(current, RekeyChildExchange) and current.child is child:
        nonces = [payload.nonce for payload in (*payloads, *response) if isinstance(payload, NoncePayload)]
        current.note_rival(replacement, min(nonces))
    if replacement is not None:
        sa.environment.count("child-rekeyed")
    return response


def _is_closing(sa: IkeSa, outbound_spi: int | None) -> bool:
    pending = sa.exchanges.pending()
    deletions = (each.outbound_spi for each in pending if isinstance(each, DeleteChildExchange))
    return outbound_spi is not None and outbound_spi in deletions


def _temporary_failure(sa: IkeSa) -> tuple[Payload, ...]:
    sa.environment.count("temporary-failures-answered")
    return (NotifyPayload(NotifyType.TEMPORARY_FAILURE),)
