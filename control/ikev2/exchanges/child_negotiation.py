"""Negotiation of a child SA inside IKE_AUTH and CREATE_CHILD_SA (RFC 7296 sections 1.3.1, 2.9 and 2.17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from control.ikev2.child import ChildPolicy, ChildRequest, ChildSa
from control.ikev2.choices import EspChoice, choose_esp
from control.ikev2.events import ChildFailed
from control.ikev2.keys import child_keys
from control.ikev2.nat import encapsulation_of
from control.ikev2.numbers import NotifyType, PayloadType
from control.ikev2.offers import EspOffer
from control.ikev2.payloads import (
    NotifyPayload,
    Payload,
    ReceivedPayloads,
    SecurityAssociationPayload,
    TrafficSelectorInitiator,
    TrafficSelectorResponder,
    encoded,
)
from control.ikev2.payloads.traffic_selector import encode_selectors
from control.ikev2.proposals import EspSuite
from control.ipsec.traffic_selector import TrafficSelector
from control.records import Record

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

_USE_TRANSPORT_MODE = encoded(NotifyPayload(NotifyType.USE_TRANSPORT_MODE))


class ChildRefused(Exception):
    """No child SA comes of a request.

    Attributes:
        notify: the error to answer with, where this side is asked.
        reason: slug.
    """

    def __init__(self, notify: NotifyType, detail: str = "") -> None:
        super().__init__(detail)
        self.notify = notify
        self.reason = notify.name.lower().replace("_", "-")


class ChildOffer:
    """A child SA this side asks for."""

    __slots__ = ("inbound_spi", "offer", "request")

    def __init__(self, sa: IkeSa, request: ChildRequest) -> None:
        self.request = request
        self.offer = sa.environment.esp_offer if request.proposals is None else EspOffer(request.proposals)
        self.inbound_spi = sa.environment.allocate_spi()

    def payloads(self, *key_exchange: Payload, with_groups: bool = False) -> tuple[Payload, ...]:
        """The wish for transport mode, the SA payload and the selectors, with ``key_exchange`` (Ni, KEi) in its place.

        Args:
            key_exchange: what else the request has.
            with_groups: whether the exchange may carry a key exchange; IKE_AUTH never does (RFC 7296 section 1.2).
        """
        request = self.request
        payloads = (
            self.offer.payload(self.inbound_spi, with_groups=with_groups),
            *key_exchange,
            (PayloadType.TRAFFIC_SELECTOR_INITIATOR, encode_selectors(request.local_selectors)),
            (PayloadType.TRAFFIC_SELECTOR_RESPONDER, encode_selectors(request.remote_selectors)),
        )
        return (_USE_TRANSPORT_MODE, *payloads) if request.transport_mode else payloads

    def accept(self, sa: IkeSa, payloads: ReceivedPayloads, seed: bytes, *, with_secret: bool = False) -> ChildSa:
        """The child SA the responder agreed to; ChildRefused if its answer goes beyond what was asked for.

        Args:
            sa: the IKE SA.
            payloads: the answer.
            seed: what the keys are made of, see :func:`make_child`.
            with_secret: whether there was a key exchange.
        """
        request = self.request
        answer = payloads.first(SecurityAssociationPayload)
        choice = None if answer is None else self.offer.accepted(answer)
        if choice is None:
            raise ChildRefused(NotifyType.NO_PROPOSAL_CHOSEN, "the answer chooses none of the proposals")
        suite, peer_spi = choice
        if with_secret is (suite.group is None):
            raise ChildRefused(NotifyType.NO_PROPOSAL_CHOSEN, "key exchange and chosen group do not agree")
        return make_child(
            sa,
            suite,
            (self.inbound_spi, peer_spi),
            seed,
            _narrowed(payloads.first(TrafficSelectorInitiator), request.local_selectors),
            _narrowed(payloads.first(TrafficSelectorResponder), request.remote_selectors),
            request.name,
            initiated=True,
            transport_mode=request.transport_mode and payloads.notification(NotifyType.USE_TRANSPORT_MODE) is not None,
        )


def _narrowed(
    payload: TrafficSelectorInitiator | TrafficSelectorResponder | None, requested: tuple[TrafficSelector, ...]
) -> tuple[TrafficSelector, ...]:
    """The selectors of an answer; ChildRefused if there are none or they go beyond what was asked for."""
    if payload is None or not payload.selectors:
        raise ChildRefused(NotifyType.TS_UNACCEPTABLE, "the answer has no traffic selectors")
    if payload.selectors is requested:
        return requested
    answer = payload.ipv6_selectors
    if answer == requested:
        return requested
    if not answer or not all(any(wide.contains(narrow) for wide in requested) for narrow in answer):
        raise ChildRefused(NotifyType.TS_UNACCEPTABLE, "the answer widens the traffic selectors")
    return answer


class ChildGrant(Record, frozen=True):
    """A child SA this side agrees to, before it has keys."""

    choice: EspChoice
    policy: ChildPolicy
    transport_mode: bool

    def establish(
        self,
        sa: IkeSa,
        seed: bytes,
        now: float,
        key_exchange: tuple[Payload, ...] = (),
        replaces: ChildSa | None = None,
    ) -> tuple[Payload, ...]:
        """Make the child SA, in the place of ``replaces`` if that is given; for ``seed`` see :func:`make_child`.

        Returns:
            The payloads of the answer, with ``key_exchange`` (Nr, KEr) in its place.
        """
        spi = sa.environment.allocate_spi()
        child = make_child(
            sa,
            self.choice.suite,
            (spi, self.choice.peer_spi),
            seed,
            self.policy.local_selectors,
            self.policy.remote_selectors,
            self.policy.name,
            initiated=False,
            transport_mode=self.transport_mode,
        )
        sa.add_child(child, now, replaces)
        return (
            *((_USE_TRANSPORT_MODE,) if self.transport_mode else ()),
            self.choice.answer(spi),
            *key_exchange,
            TrafficSelectorInitiator(self.policy.remote_selectors),
            TrafficSelectorResponder(self.policy.local_selectors),
        )


def grant(
    sa: IkeSa, payloads: ReceivedPayloads, preferred_group: int | None, replaces: ChildSa | None = None
) -> ChildGrant:
    """What to agree to of the peer's request; ChildRefused if nothing.

    Args:
        sa: the established IKE SA.
        payloads: the request.
        preferred_group: the group of its KE payload, None without one.
        replaces: the child that is to be rekeyed, None for a further one.
    """
    environment = sa.environment
    offer = payloads.first(SecurityAssociationPayload)
    choice = choose_esp(environment.configuration.esp_proposals, offer, preferred_group) if offer is not None else None
    if choice is None:
        raise ChildRefused(NotifyType.NO_PROPOSAL_CHOSEN)
    if replaces is None and len(sa.children) >= environment.configuration.child_limit:
        raise ChildRefused(NotifyType.NO_ADDITIONAL_SAS)
    remote = payloads.first(TrafficSelectorInitiator)
    local = payloads.first(TrafficSelectorResponder)
    if local is None or remote is None or not local.ipv6_selectors or not remote.ipv6_selectors:
        raise ChildRefused(NotifyType.TS_UNACCEPTABLE)
    policy = environment.policy.select_child(sa, local.ipv6_selectors, remote.ipv6_selectors)
    if policy is None:
        asked = ", ".join(map(str, remote.ipv6_selectors))
        raise ChildRefused(NotifyType.TS_UNACCEPTABLE, f"it asked for {asked}")
    if replaces is not None:
        policy = replace(policy, name=replaces.name)
    wants_transport = payloads.notification(NotifyType.USE_TRANSPORT_MODE) is not None
    return ChildGrant(choice, policy, wants_transport and policy.transport_mode)


def refuse_child(sa: IkeSa, refusal: ChildRefused) -> tuple[Payload, ...]:
    """Tell the application and the peer that no child SA comes of the peer's request."""
    sa.environment.count(f"child-failed-{refusal.reason}")
    sa.environment.emit(sa, ChildFailed(None, refusal.reason, str(refusal)))
    return (NotifyPayload(refusal.notify),)


def make_child(
    sa: IkeSa,
    suite: EspSuite,
    spis: tuple[int, int],
    seed: bytes,
    local_selectors: tuple[TrafficSelector, ...],
    remote_selectors: tuple[TrafficSelector, ...],
    name: str | None,
    *,
    initiated: bool,
    transport_mode: bool,
) -> ChildSa:
    """The child SA with its keys.

    Args:
        sa: the IKE SA.
        suite: the algorithms.
        spis: the SPIs this side and the peer have chosen.
        seed: what the keys are made of: g^ir of the exchange, if it was one with a group, Ni and Nr.
        local_selectors: the agreed traffic of this side.
        remote_selectors: the agreed traffic of the peer.
        name: the label of the child.
        initiated: whether this side began the exchange.
        transport_mode: the agreed mode.
    """
    if sa.suite is None:
        raise ChildRefused(NotifyType.TEMPORARY_FAILURE)
    encryption_i, integrity_i, encryption_r, integrity_r = child_keys(sa.suite.prf, sa.sk_d, suite.cipher, seed)
    return ChildSa(
        inbound_spi=spis[0],
        outbound_spi=spis[1],
        suite=suite.cipher,
        inbound_encryption_key=encryption_r if initiated else encryption_i,
        inbound_integrity_key=integrity_r if initiated else integrity_i,
        outbound_encryption_key=encryption_i if initiated else encryption_r,
        outbound_integrity_key=integrity_i if initiated else integrity_r,
        local_selectors=local_selectors,
        remote_selectors=remote_selectors,
        transport_mode=transport_mode,
        name=name,
        initiated=initiated,
        group=suite.group,
        encapsulation=encapsulation_of(sa),
    )
