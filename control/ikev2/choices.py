"""The responder's choice among the proposals it is offered (RFC 7296 sections 2.7 and 3.3.6)."""

from __future__ import annotations

from collections.abc import Iterable

from control.ikev2.numbers import DiffieHellmanGroup, ExtendedSequenceNumbers, Prf, ProtocolId, TransformType
from control.ikev2.payloads import Proposal, SecurityAssociationPayload, Transform
from control.ikev2.proposals import DEFAULT_GROUPS, Encryption, EspProposal, EspSuite, IkeProposal, IkeSuite
from control.ipsec.algorithms import CipherSuite, IntegrityAlgorithm
from control.records import Record

ESP_SPI_SIZE = 4
"""Bytes of an ESP SPI."""
IKE_SPI_SIZE = 8
"""Bytes of an IKE SPI, which stands in proposals only where an IKE SA is rekeyed."""


class IkeChoice(Record, frozen=True):
    """The suite a responder chose and the proposal that says so."""

    suite: IkeSuite
    payload: SecurityAssociationPayload
    peer_spi: bytes = b""

    def answer(self, spi: bytes) -> SecurityAssociationPayload:
        """The SA payload that accepts the choice where an IKE SA is rekeyed; ``spi`` is this side's of the new one."""
        (chosen,) = self.payload.proposals
        return SecurityAssociationPayload((Proposal(chosen.number, chosen.protocol, spi, chosen.transforms),))


class EspChoice(Record, frozen=True):
    """The suite a responder chose for a child SA, and the peer's SPI."""

    suite: EspSuite
    proposal: Proposal
    peer_spi: int

    def answer(self, spi: int) -> SecurityAssociationPayload:
        """The SA payload that accepts the choice; ``spi`` is the one this side will receive on."""
        chosen = self.proposal
        return SecurityAssociationPayload(
            (Proposal(chosen.number, chosen.protocol, spi.to_bytes(ESP_SPI_SIZE, "big"), chosen.transforms),)
        )


class _Offered:
    """The transforms of one proposal of the peer, by type."""

    def __init__(self, proposal: Proposal) -> None:
        self.proposal = proposal
        self.by_type: dict[int, list[Transform]] = {}
        for transform in proposal.transforms:
            self.by_type.setdefault(transform.type, []).append(transform)

    def only(self, *types: int) -> bool:
        """Whether no transform of another type is in it: an unknown type must refuse the proposal (3.3.6)."""
        return all(kind in types for kind in self.by_type)

    def first(self, kind: int, identifiers: Iterable[int], bits: int | None = None) -> Transform | None:
        """The transform for the earliest of ``identifiers`` that is offered."""
        offered = self.by_type.get(kind, ())
        for identifier in identifiers:
            for transform in offered:
                if transform.id == identifier and transform.key_bits == bits and not transform.unknown_attributes:
                    return transform
        return None

    def cipher(
        self, encryption: Iterable[Encryption], integrity: tuple[IntegrityAlgorithm, ...]
    ) -> tuple[CipherSuite, tuple[Transform, ...]] | None:
        """The preferred encryption and integrity algorithms both sides have."""
        for algorithm, bits in encryption:
            chosen = self.first(TransformType.ENCRYPTION, (algorithm,), bits or None)
            if chosen is None:
                continue
            if integrity:
                authenticated = self.first(TransformType.INTEGRITY, integrity)
                if authenticated is None:
                    continue
                return CipherSuite(algorithm, bits, IntegrityAlgorithm(authenticated.id)), (chosen, authenticated)
            if TransformType.INTEGRITY not in self.by_type:
                return CipherSuite(algorithm, bits), (chosen,)
            none = self.first(TransformType.INTEGRITY, (IntegrityAlgorithm.NONE,))
            if none is not None:
                return CipherSuite(algorithm, bits), (chosen, none)
        return None


_IKE_TYPES = (
    TransformType.ENCRYPTION,
    TransformType.PRF,
    TransformType.INTEGRITY,
    TransformType.DIFFIE_HELLMAN,
)
_ESP_TYPES = (
    TransformType.ENCRYPTION,
    TransformType.INTEGRITY,
    TransformType.DIFFIE_HELLMAN,
    TransformType.EXTENDED_SEQUENCE_NUMBERS,
)


def choose_ike(
    ours: tuple[IkeProposal, ...],
    offer: SecurityAssociationPayload,
    preferred_group: int | None,
    *,
    rekeying: bool = False,
) -> IkeChoice | None:
    """The responder's choice for an IKE SA: its own most preferred algorithms among those offered.

    Args:
        ours: what this side accepts.
        offer: the initiator's SA payload.
        preferred_group: the group of the KE payload at hand, taken before others as that spares a round trip; None
            without a preference.
        rekeying: whether proposals need an SPI.

    Returns:
        None if nothing fits (NO_PROPOSAL_CHOSEN). The chosen group may differ from ``preferred_group``.
    """
    candidates = [
        _Offered(proposal)
        for proposal in offer.proposals
        if proposal.protocol == ProtocolId.IKE and (not rekeying or len(proposal.spi) == IKE_SPI_SIZE)
    ]
    chosen = None if preferred_group is None else _choose_ike_in(ours, candidates, (preferred_group,))
    return chosen or _choose_ike_in(ours, candidates, None)


def _choose_ike_in(
    ours: tuple[IkeProposal, ...], candidates: list[_Offered], only_groups: tuple[int, ...] | None
) -> IkeChoice | None:
    for mine in ours:
        groups = mine.groups if only_groups is None else tuple(group for group in mine.groups if group in only_groups)
        for offered in candidates:
            cipher = offered.cipher(mine.encryption, mine.integrity)
            prf = offered.first(TransformType.PRF, mine.prfs)
            group = offered.first(TransformType.DIFFIE_HELLMAN, groups)
            if cipher is None or prf is None or group is None or not offered.only(*_IKE_TYPES):
                continue
            suite, (encryption, *integrity) = cipher
            chosen = Proposal(offered.proposal.number, ProtocolId.IKE, b"", (encryption, prf, *integrity, group))
            return IkeChoice(
                IkeSuite(suite, Prf(prf.id), DiffieHellmanGroup(group.id)),
                SecurityAssociationPayload((chosen,)),
                offered.proposal.spi,
            )
    return None


def choose_esp(
    ours: tuple[EspProposal, ...], offer: SecurityAssociationPayload, preferred_group: int | None
) -> EspChoice | None:
    """The responder's choice for a child SA.

    Args:
        ours: what this side accepts.
        offer: the initiator's SA payload.
        preferred_group: the group of the KE payload at hand; None without one, and then no group is chosen where
            the initiator leaves that open.
    """
    candidates = [
        _Offered(proposal)
        for proposal in offer.proposals
        if proposal.protocol == ProtocolId.ESP and len(proposal.spi) == ESP_SPI_SIZE
    ]
    for mine in ours:
        for offered in candidates:
            cipher = offered.cipher(mine.encryption, mine.integrity)
            sequence_numbers = _sequence_numbers(offered)
            if cipher is None or sequence_numbers is None or not offered.only(*_ESP_TYPES):
                continue
            group = _esp_group(offered, mine, preferred_group)
            if group is None:
                continue
            suite, transforms = cipher
            chosen = Proposal(
                offered.proposal.number,
                ProtocolId.ESP,
                offered.proposal.spi,
                (*transforms, *group, *sequence_numbers),
            )
            selected = DiffieHellmanGroup(group[0].id) if group and group[0].id != DiffieHellmanGroup.NONE else None
            return EspChoice(EspSuite(suite, selected), chosen, int.from_bytes(offered.proposal.spi, "big"))
    return None


def _sequence_numbers(offered: _Offered) -> tuple[Transform, ...] | None:
    """The transform for 32-bit sequence numbers; an offer that leaves the type out means them too."""
    if TransformType.EXTENDED_SEQUENCE_NUMBERS not in offered.by_type:
        return ()
    chosen = offered.first(TransformType.EXTENDED_SEQUENCE_NUMBERS, (ExtendedSequenceNumbers.NONE,))
    return None if chosen is None else (chosen,)


def _esp_group(offered: _Offered, mine: EspProposal, preferred: int | None) -> tuple[Transform, ...] | None:
    """The group transform to answer with, empty for none offered, None if the proposal cannot be met."""
    if TransformType.DIFFIE_HELLMAN not in offered.by_type:
        return ()
    accepted: tuple[int, ...] = mine.groups or DEFAULT_GROUPS
    if preferred is None:
        order: tuple[int, ...] = (DiffieHellmanGroup.NONE, *accepted)
    else:
        order = (*(group for group in accepted if group == preferred), *accepted, DiffieHellmanGroup.NONE)
    chosen = offered.first(TransformType.DIFFIE_HELLMAN, order)
    return None if chosen is None else (chosen,)
