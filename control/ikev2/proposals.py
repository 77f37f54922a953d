"""Algorithm proposals: what is offered, and how one is chosen (RFC 7296 sections 2.7 and 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from control.ikev2.numbers import DiffieHellmanGroup, ExtendedSequenceNumbers, Prf, ProtocolId, TransformType
from control.ikev2.payloads.security_association import Proposal, SecurityAssociationPayload, Transform
from control.ipsec.algorithms import CipherSuite, EncryptionAlgorithm, IntegrityAlgorithm

_ESP_SPI_SIZE = 4

Encryption = tuple[EncryptionAlgorithm, int]
"""An encryption algorithm and its key length in bits, 0 where it has none."""


@dataclass(frozen=True, slots=True)
class IkeProposal:
    """A set of algorithms for IKE SAs that may be combined freely, each list most preferred first.

    Attributes:
        encryption: algorithms with key lengths; either all combined-mode or none.
        integrity: empty exactly when ``encryption`` is combined-mode (RFC 5282 section 8).
        prfs: pseudorandom functions.
        groups: Diffie-Hellman groups.
    """

    encryption: tuple[Encryption, ...]
    integrity: tuple[IntegrityAlgorithm, ...]
    prfs: tuple[Prf, ...]
    groups: tuple[DiffieHellmanGroup, ...]


@dataclass(frozen=True, slots=True)
class EspProposal:
    """A set of algorithms for child SAs.

    Attributes:
        encryption: algorithms with key lengths; either all combined-mode or none.
        integrity: empty exactly when ``encryption`` is combined-mode.
        groups: groups for perfect forward secrecy in CREATE_CHILD_SA, empty for none.
    """

    encryption: tuple[Encryption, ...]
    integrity: tuple[IntegrityAlgorithm, ...] = ()
    groups: tuple[DiffieHellmanGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class IkeSuite:
    """The algorithms of one IKE SA."""

    cipher: CipherSuite
    prf: Prf
    group: DiffieHellmanGroup

    def __str__(self) -> str:
        return f"{describe_cipher(self.cipher)}/{self.prf.name}/{self.group.name}"


@dataclass(frozen=True, slots=True)
class EspSuite:
    """The algorithms of one child SA; ``group`` is None without perfect forward secrecy."""

    cipher: CipherSuite
    group: DiffieHellmanGroup | None = None


_PRFS = (Prf.HMAC_SHA2_256, Prf.HMAC_SHA2_384, Prf.HMAC_SHA2_512)
_GROUPS = (DiffieHellmanGroup.CURVE25519, DiffieHellmanGroup.ECP256, DiffieHellmanGroup.ECP384)
_GCM: tuple[Encryption, ...] = ((EncryptionAlgorithm.AES_GCM_16, 128), (EncryptionAlgorithm.AES_GCM_16, 256))
_CBC: tuple[Encryption, ...] = ((EncryptionAlgorithm.AES_CBC, 128), (EncryptionAlgorithm.AES_CBC, 256))
_HMACS = (
    IntegrityAlgorithm.HMAC_SHA2_256_128,
    IntegrityAlgorithm.HMAC_SHA2_384_192,
    IntegrityAlgorithm.HMAC_SHA2_512_256,
)

DEFAULT_IKE_PROPOSALS = (IkeProposal(_GCM, (), _PRFS, _GROUPS), IkeProposal(_CBC, _HMACS, _PRFS, _GROUPS))
DEFAULT_ESP_PROPOSALS = (EspProposal(_GCM), EspProposal(_CBC, _HMACS))


def describe_cipher(cipher: CipherSuite) -> str:
    """The name of a cipher suite for people, such as ``AES_GCM_16-128``."""
    name = cipher.encryption.name + (f"-{cipher.key_bits}" if cipher.key_bits else "")
    return name if cipher.integrity is IntegrityAlgorithm.NONE else f"{name}/{cipher.integrity.name}"


class IkeOffer:
    """The SA payload that offers some IKE proposals, and what answers to it mean."""

    __slots__ = ("_accepted", "payload", "proposals")

    def __init__(self, proposals: tuple[IkeProposal, ...]) -> None:
        self.proposals = proposals
        self.payload = SecurityAssociationPayload(
            tuple(
                Proposal(number, ProtocolId.IKE, b"", _ike_transforms(proposal))
                for number, proposal in enumerate(proposals, 1)
            )
        )
        self._accepted: dict[tuple[Transform, ...], IkeSuite] = {}

    def accepted(self, answer: SecurityAssociationPayload) -> IkeSuite | None:
        """The suite a responder accepted; None unless it is exactly one of those offered."""
        if len(answer.proposals) != 1:
            return None
        proposal = answer.proposals[0]
        if proposal.protocol != ProtocolId.IKE or not _one_of_each(proposal):
            return None
        suite = self._accepted.get(proposal.transforms)
        if suite is None:
            choice = _choose_ike(self.proposals, answer, None)
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
    """The SA payloads that offer some ESP proposals, made once but for the SPI, and what answers to them mean."""

    __slots__ = ("_accepted", "_plain", "_with_groups", "proposals")

    def __init__(self, proposals: tuple[EspProposal, ...]) -> None:
        self.proposals = proposals
        self._plain = tuple(_esp_transforms(proposal, ()) for proposal in proposals)
        self._with_groups = tuple(_esp_transforms(proposal, proposal.groups) for proposal in proposals)
        self._accepted: dict[tuple[Transform, ...], EspSuite] = {}

    @property
    def first_group(self) -> DiffieHellmanGroup | None:
        """The most preferred group for perfect forward secrecy, None for none."""
        return next((group for proposal in self.proposals for group in proposal.groups), None)

    def payload(self, spi: int, *, with_groups: bool) -> SecurityAssociationPayload:
        """The offer.

        Args:
            spi: the SPI this side will receive on.
            with_groups: whether the exchange may carry a key exchange; IKE_AUTH never does (RFC 7296 section 1.2).
        """
        encoded = spi.to_bytes(_ESP_SPI_SIZE, "big")
        offered = self._with_groups if with_groups else self._plain
        return SecurityAssociationPayload(
            tuple(Proposal(number, ProtocolId.ESP, encoded, transforms) for number, transforms in enumerate(offered, 1))
        )

    def accepted(self, answer: SecurityAssociationPayload) -> tuple[EspSuite, int] | None:
        """The suite and SPI a responder accepted; None unless it is exactly one of those offered."""
        if len(answer.proposals) != 1:
            return None
        proposal = answer.proposals[0]
        if proposal.protocol != ProtocolId.ESP or len(proposal.spi) != _ESP_SPI_SIZE or not _one_of_each(proposal):
            return None
        suite = self._accepted.get(proposal.transforms)
        if suite is None:
            choice = choose_esp(self.proposals, answer, None)
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


@dataclass(frozen=True, slots=True)
class IkeChoice:
    """The suite a responder chose and the proposal that says so."""

    suite: IkeSuite
    payload: SecurityAssociationPayload


@dataclass(frozen=True, slots=True)
class EspChoice:
    """The suite a responder chose for a child SA, and the peer's SPI."""

    suite: EspSuite
    proposal: Proposal
    peer_spi: int

    def answer(self, spi: int) -> SecurityAssociationPayload:
        """The SA payload that accepts the choice; ``spi`` is the one this side will receive on."""
        chosen = self.proposal
        return SecurityAssociationPayload(
            (Proposal(chosen.number, chosen.protocol, spi.to_bytes(_ESP_SPI_SIZE, "big"), chosen.transforms),)
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
    ours: tuple[IkeProposal, ...], offer: SecurityAssociationPayload, preferred_group: int
) -> IkeChoice | None:
    """The responder's choice for an IKE SA: its own most preferred algorithms among those offered.

    Args:
        ours: what this side accepts.
        offer: the initiator's SA payload.
        preferred_group: the group of the KE payload at hand, taken before others as that spares a round trip.

    Returns:
        None if nothing fits (NO_PROPOSAL_CHOSEN). The chosen group may differ from ``preferred_group``.
    """
    return _choose_ike(ours, offer, (preferred_group,)) or _choose_ike(ours, offer, None)


def _choose_ike(
    ours: tuple[IkeProposal, ...], offer: SecurityAssociationPayload, only_groups: tuple[int, ...] | None
) -> IkeChoice | None:
    candidates = [_Offered(proposal) for proposal in offer.proposals if proposal.protocol == ProtocolId.IKE]
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
                IkeSuite(suite, Prf(prf.id), DiffieHellmanGroup(group.id)), SecurityAssociationPayload((chosen,))
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
        if proposal.protocol == ProtocolId.ESP and len(proposal.spi) == _ESP_SPI_SIZE
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
    accepted: tuple[int, ...] = mine.groups or _GROUPS
    if preferred is None:
        order: tuple[int, ...] = (DiffieHellmanGroup.NONE, *accepted)
    else:
        order = (*(group for group in accepted if group == preferred), *accepted, DiffieHellmanGroup.NONE)
    chosen = offered.first(TransformType.DIFFIE_HELLMAN, order)
    return None if chosen is None else (chosen,)


def _one_of_each(proposal: Proposal) -> bool:
    kinds = [transform.type for transform in proposal.transforms]
    return len(kinds) == len(set(kinds))
