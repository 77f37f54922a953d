"""The proposals this side offers, encoded once, and what the answers to them mean (RFC 7296 section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from control.ikev2.choices import ESP_SPI_SIZE, IKE_SPI_SIZE, choose_esp, choose_ike
from control.ikev2.numbers import (
    ExtendedSequenceNumbers,
    PayloadType,
    ProtocolId,
    TransformType,
)
from control.ikev2.payloads import EncodedPayload, Proposal, SecurityAssociationPayload, Transform
from control.ikev2.proposals import Encryption, EspProposal, EspSuite, IkeProposal, IkeSuite

_PROPOSAL_HEADER_SIZE = 8


class _Template:
    """An encoded SA payload with gaps for the SPI of each proposal."""

    __slots__ = ("_pieces",)

    def __init__(self, protocol: ProtocolId, spi_size: int, offered: tuple[tuple[Transform, ...], ...]) -> None:
        gap = bytes(spi_size)
        proposals = (Proposal(number, protocol, gap, each) for number, each in enumerate(offered, 1))
        body = SecurityAssociationPayload(tuple(proposals)).to_wire()
        pieces, start, proposal = [], 0, 0
        for _ in offered:
            spi = proposal + _PROPOSAL_HEADER_SIZE
            pieces.append(body[start:spi])
            start = spi + spi_size
            proposal += int.from_bytes(body[proposal + 2 : proposal + 4], "big")
        self._pieces = (*pieces, body[start:])

    def payload(self, spi: bytes) -> EncodedPayload:
        return PayloadType.SECURITY_ASSOCIATION, spi.join(self._pieces)


class IkeOffer:
    """The SA payloads that offer some IKE proposals, and what answers to them mean."""

    __slots__ = ("_accepted", "_rekeying", "payload", "proposals")

    def __init__(self, proposals: tuple[IkeProposal, ...]) -> None:
        self.proposals = proposals
        offered = tuple(_ike_transforms(proposal) for proposal in proposals)
        self.payload = _Template(ProtocolId.IKE, 0, offered).payload(b"")
        self._rekeying = _Template(ProtocolId.IKE, IKE_SPI_SIZE, offered)
        self._accepted: dict[tuple[Transform, ...], IkeSuite] = {}

    def rekeying(self, spi: bytes) -> EncodedPayload:
        """The offer for an IKE SA that is to take the place of another; ``spi`` is this side's of the new one."""
        return self._rekeying.payload(spi)

    def accepted_rekeying(self, answer: SecurityAssociationPayload) -> tuple[IkeSuite, bytes] | None:
        """The suite and SPI a responder accepted for rekeying; None unless the suite is one of those offered."""
        suite = self.accepted(answer)
        spi = answer.proposals[0].spi if answer.proposals else b""
        return None if suite is None or len(spi) != IKE_SPI_SIZE or not any(spi) else (suite, spi)

    def accepted(self, answer: SecurityAssociationPayload) -> IkeSuite | None:
        """The suite a responder accepted; None unless it is exactly one of those offered."""
        if len(answer.proposals) != 1:
            return None
        proposal = answer.proposals[0]
        if proposal.protocol != ProtocolId.IKE:
            return None
        suite = self._accepted.get(proposal.transforms)
        if suite is None:
            choice = choose_ike(self.proposals, answer, None) if _one_of_each(proposal) else None
            if choice is None:
                return None
            # Only what this side has offered gets here, so the number of entries is bounded.
            suite = self._accepted[proposal.transforms] = choice.suite
        return suite


def _ike_transforms(proposal: IkeProposal) -> tuple[Transform, ...]:
    return (
        *_encryption_transforms(proposal.encryption),
        *_transforms(TransformType.PRF, proposal.prfs),
        *_transforms(TransformType.INTEGRITY, proposal.integrity),
        *_transforms(TransformType.DIFFIE_HELLMAN, proposal.groups),
    )


class EspOffer:
    """The SA payloads that offer some ESP proposals, made once but for the SPI, and what answers to them mean.

    Attributes:
        proposals: them.
        first_group: the most preferred group for perfect forward secrecy, None for none.
    """

    __slots__ = ("_accepted", "_plain", "_with_groups", "first_group", "proposals")

    def __init__(self, proposals: tuple[EspProposal, ...]) -> None:
        self.proposals = proposals
        self.first_group = next((group for proposal in proposals for group in proposal.groups), None)
        plain = tuple(_esp_transforms(proposal, ()) for proposal in proposals)
        with_groups = tuple(_esp_transforms(proposal, proposal.groups) for proposal in proposals)
        self._plain = _Template(ProtocolId.ESP, ESP_SPI_SIZE, plain)
        self._with_groups = _Template(ProtocolId.ESP, ESP_SPI_SIZE, with_groups)
        self._accepted: dict[tuple[Transform, ...], EspSuite] = {}

    def payload(self, spi: int, *, with_groups: bool) -> EncodedPayload:
        """The offer.

        Args:
            spi: the SPI this side will receive on.
            with_groups: whether the exchange may carry a key exchange; IKE_AUTH never does (RFC 7296 section 1.2).
        """
        return (self._with_groups if with_groups else self._plain).payload(spi.to_bytes(ESP_SPI_SIZE, "big"))

    def accepted(self, answer: SecurityAssociationPayload) -> tuple[EspSuite, int] | None:
        """The suite and SPI a responder accepted; None unless it is exactly one of those offered."""
        if len(answer.proposals) != 1:
            return None
        proposal = answer.proposals[0]
        if proposal.protocol != ProtocolId.ESP or len(proposal.spi) != ESP_SPI_SIZE:
            return None
        suite = self._accepted.get(proposal.transforms)
        if suite is None:
            choice = choose_esp(self.proposals, answer, None) if _one_of_each(proposal) else None
            if choice is None:
                return None
            # Only what this side has offered gets here, so the number of entries is bounded.
            suite = self._accepted[proposal.transforms] = choice.suite
        return suite, int.from_bytes(proposal.spi, "big")


def _esp_transforms(proposal: EspProposal, groups: Iterable[int]) -> tuple[Transform, ...]:
    return (
        *_encryption_transforms(proposal.encryption),
        *_transforms(TransformType.INTEGRITY, proposal.integrity),
        *_transforms(TransformType.DIFFIE_HELLMAN, groups),
        Transform(TransformType.EXTENDED_SEQUENCE_NUMBERS, ExtendedSequenceNumbers.NONE),
    )


def _encryption_transforms(encryption: Iterable[Encryption]) -> Iterator[Transform]:
    return (Transform(TransformType.ENCRYPTION, algorithm, bits or None) for algorithm, bits in encryption)


def _transforms(kind: TransformType, identifiers: Iterable[int]) -> Iterator[Transform]:
    return (Transform(kind, identifier) for identifier in identifiers)


def _one_of_each(proposal: Proposal) -> bool:
    kinds = [transform.type for transform in proposal.transforms]
    return len(kinds) == len(set(kinds))
