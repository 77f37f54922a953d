"""Algorithms: those one side is willing to use, and those that two sides have agreed on (RFC 7296 section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from control.ikev2.numbers import DiffieHellmanGroup, Prf
from control.ipsec.algorithms import CipherSuite, EncryptionAlgorithm, IntegrityAlgorithm

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
DEFAULT_GROUPS = (DiffieHellmanGroup.CURVE25519, DiffieHellmanGroup.ECP256, DiffieHellmanGroup.ECP384)
_GCM: tuple[Encryption, ...] = ((EncryptionAlgorithm.AES_GCM_16, 128), (EncryptionAlgorithm.AES_GCM_16, 256))
_CBC: tuple[Encryption, ...] = ((EncryptionAlgorithm.AES_CBC, 128), (EncryptionAlgorithm.AES_CBC, 256))
_HMACS = (
    IntegrityAlgorithm.HMAC_SHA2_256_128,
    IntegrityAlgorithm.HMAC_SHA2_384_192,
    IntegrityAlgorithm.HMAC_SHA2_512_256,
)

DEFAULT_IKE_PROPOSALS = (IkeProposal(_GCM, (), _PRFS, DEFAULT_GROUPS), IkeProposal(_CBC, _HMACS, _PRFS, DEFAULT_GROUPS))
DEFAULT_ESP_PROPOSALS = (EspProposal(_GCM), EspProposal(_CBC, _HMACS))


def describe_cipher(cipher: CipherSuite) -> str:
    """The name of a cipher suite for people, such as ``AES_GCM_16-128``."""
    name = cipher.encryption.name + (f"-{cipher.key_bits}" if cipher.key_bits else "")
    return name if cipher.integrity is IntegrityAlgorithm.NONE else f"{name}/{cipher.integrity.name}"
