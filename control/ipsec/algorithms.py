"""The algorithms of ESP and IKE, by their IKEv2 transform identifiers (RFC 7296 section 3.3.2, IANA registry)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class EncryptionAlgorithm(IntEnum):
    """Transform type 1, encryption algorithm."""

    NULL = 11
    AES_CBC = 12
    AES_GCM_16 = 20
    CHACHA20_POLY1305 = 28


class IntegrityAlgorithm(IntEnum):
    """Transform type 3, integrity algorithm; NONE for combined-mode ciphers."""

    NONE = 0
    HMAC_SHA2_256_128 = 12
    HMAC_SHA2_384_192 = 13
    HMAC_SHA2_512_256 = 14


_INTEGRITY_KEY_SIZES = {
    IntegrityAlgorithm.NONE: 0,
    IntegrityAlgorithm.HMAC_SHA2_256_128: 32,
    IntegrityAlgorithm.HMAC_SHA2_384_192: 48,
    IntegrityAlgorithm.HMAC_SHA2_512_256: 64,
}
"""Bytes of key (RFC 4868 section 2.1.1); the integrity check value is half as long (section 2.3)."""

COMBINED_MODE = frozenset((EncryptionAlgorithm.AES_GCM_16, EncryptionAlgorithm.CHACHA20_POLY1305))
"""Algorithms that encrypt and authenticate."""
_TAG_SIZE = 16
_SALT_SIZE = 4
_CHACHA20_KEY_SIZE = 32
_AES_KEY_BITS = (128, 192, 256)


@dataclass(frozen=True, slots=True)
class CipherSuite:
    """One encryption algorithm with its key length, and the integrity algorithm that goes with it.

    Attributes:
        encryption: how the payload is hidden; NULL only in ESP.
        key_bits: the encryption key's length in bits as negotiated; 0 where the algorithm has only one (ChaCha20) or
            none (NULL).
        integrity: how it is authenticated; NONE exactly when ``encryption`` is a combined mode.
        is_combined_mode: whether the encryption algorithm authenticates as well.
        encryption_key_size: bytes of encryption key material, the 4-byte salt of combined modes at its end (RFC 4106
            section 8.1, RFC 7634 section 2).
        integrity_key_size: bytes of integrity key material (RFC 4868 section 2.1.1).
        is_complete: whether the parts go together: a key length the cipher has, and every packet authenticated exactly
            once.
    """

    encryption: EncryptionAlgorithm
    key_bits: int
    integrity: IntegrityAlgorithm = IntegrityAlgorithm.NONE
    is_combined_mode: bool = field(init=False, repr=False, compare=False)
    encryption_key_size: int = field(init=False, repr=False, compare=False)
    integrity_key_size: int = field(init=False, repr=False, compare=False)
    is_complete: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out once what every key derivation and security association asks for."""
        combined = self.encryption in COMBINED_MODE
        key = _CHACHA20_KEY_SIZE if self.encryption is EncryptionAlgorithm.CHACHA20_POLY1305 else self.key_bits // 8
        object.__setattr__(self, "is_combined_mode", combined)
        object.__setattr__(self, "encryption_key_size", key + (_SALT_SIZE if combined else 0))
        object.__setattr__(self, "integrity_key_size", _INTEGRITY_KEY_SIZES[self.integrity])
        object.__setattr__(self, "is_complete", self._fits_together())

    def _fits_together(self) -> bool:
        if self.encryption is EncryptionAlgorithm.NULL:
            return self.key_bits == 0 and self.integrity is not IntegrityAlgorithm.NONE
        if self.is_combined_mode is not (self.integrity is IntegrityAlgorithm.NONE):
            return False
        if self.encryption is EncryptionAlgorithm.CHACHA20_POLY1305:
            return self.key_bits == 0
        return self.key_bits in _AES_KEY_BITS

    @property
    def integrity_check_size(self) -> int:
        """Bytes of the integrity check value at the end of a packet (RFC 4106 section 6, RFC 4868 section 2.3)."""
        if self.is_combined_mode:
            return _TAG_SIZE
        return _INTEGRITY_KEY_SIZES[self.integrity] // 2

    def __str__(self) -> str:
        """For people, as in ``AES_GCM_16-256`` or ``AES_CBC-128/HMAC_SHA2_256_128``."""
        name = self.encryption.name + (f"-{self.key_bits}" if self.key_bits else "")
        return name if self.integrity is IntegrityAlgorithm.NONE else f"{name}/{self.integrity.name}"


AES_128_GCM = CipherSuite(EncryptionAlgorithm.AES_GCM_16, 128)
AES_256_GCM = CipherSuite(EncryptionAlgorithm.AES_GCM_16, 256)
AES_128_CBC_SHA256 = CipherSuite(EncryptionAlgorithm.AES_CBC, 128, IntegrityAlgorithm.HMAC_SHA2_256_128)
AES_256_CBC_SHA256 = CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_256_128)
NULL_SHA256 = CipherSuite(EncryptionAlgorithm.NULL, 0, IntegrityAlgorithm.HMAC_SHA2_256_128)
