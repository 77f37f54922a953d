"""The cipher suites of ESP: each turns plaintext into IV, ciphertext and integrity check value, and back.

AES-GCM (RFC 4106), ChaCha20-Poly1305 (RFC 7634), AES-CBC (RFC 3602) and NULL (RFC 2410) with HMAC-SHA2 (RFC 4868).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from control.ipsec.algorithms import CipherSuite, EncryptionAlgorithm, IntegrityAlgorithm
from control.ipsec.errors import EspError
from control.ipsec.security_association import SecurityAssociation

_SALT_SIZE = 4
_IV_SIZE = 8
_TAG_SIZE = 16
_AES_BLOCK_SIZE = 16
_ESP_ALIGNMENT = 4  # the Next Header field ends on a 4-byte boundary (RFC 4303 section 2.4)

_HASHES = {
    IntegrityAlgorithm.HMAC_SHA2_256_128: "sha256",
    IntegrityAlgorithm.HMAC_SHA2_384_192: "sha384",
    IntegrityAlgorithm.HMAC_SHA2_512_256: "sha512",
}


Random = Callable[[int], bytes]


class EspCipher(Protocol):
    """What one cipher suite does; the keys are those of the association.

    Attributes:
        alignment: what the plaintext, padding included, must be a multiple of.
        overhead: bytes that :meth:`seal` adds: IV and integrity check value.
    """

    alignment: int
    overhead: int

    def seal(
        self, keys: SecurityAssociation, header: bytes, sequence_number: int, plaintext: bytes, random: Random
    ) -> bytes:
        """IV, ciphertext and integrity check value.

        Args:
            keys: the association, of this suite.
            header: SPI and sequence number, authenticated as well.
            sequence_number: never the same twice.
            plaintext: a multiple of ``alignment``.
            random: gives that many unpredictable bytes, for ciphers whose IV must be.
        """

    def open(self, keys: SecurityAssociation, header: bytes, body: bytes) -> bytes:
        """The plaintext of what :meth:`seal` made.

        ``body`` is at least ``overhead`` bytes, and what exceeds them a multiple of ``alignment``.

        Raises:
            EspError: ``bad-icv``.
        """


class Integrity:
    """A truncated HMAC (RFC 4868)."""

    __slots__ = ("_hash", "size")

    def __init__(self, algorithm: IntegrityAlgorithm, size: int) -> None:
        self._hash = _HASHES[algorithm]
        self.size = size

    def check_value(self, key: bytes, content: bytes) -> bytes:
        """The integrity check value of ``content``."""
        return hmac.digest(key, content, self._hash)[: self.size]

    def verify(self, key: bytes, header: bytes, body: bytes) -> bytes:
        """``body`` without the check value at its end.

        Raises:
            EspError: ``bad-icv``.
        """
        content = body[: -self.size]
        if not hmac.compare_digest(self.check_value(key, header + content), body[-self.size :]):
            raise EspError("bad-icv")
        return content


class CombinedModeCipher:
    """AES-GCM or ChaCha20-Poly1305 with a 16-byte tag and an explicit 8-byte IV (RFC 4106, RFC 7634).

    The IV is the sequence number. It never repeats under one key, because an association ends before its sequence
    numbers do and a new one has new keys (RFC 4106 section 3.1 asks for no more than that).

    The key schedule is made anew for each packet: OpenSSL's takes 3 kB, which an association that carries a packet
    every few minutes would hold all the time, and 5 microseconds to make.
    """

    __slots__ = ("_algorithm",)

    alignment = _ESP_ALIGNMENT
    overhead = _IV_SIZE + _TAG_SIZE

    def __init__(self, algorithm: type[AESGCM | ChaCha20Poly1305]) -> None:
        self._algorithm = algorithm

    def seal(
        self, keys: SecurityAssociation, header: bytes, sequence_number: int, plaintext: bytes, random: Random
    ) -> bytes:
        """See :meth:`EspCipher.seal`."""
        key = keys.encryption_key
        iv = sequence_number.to_bytes(_IV_SIZE, "big")
        return iv + self._algorithm(key[:-_SALT_SIZE]).encrypt(key[-_SALT_SIZE:] + iv, plaintext, header)

    def open(self, keys: SecurityAssociation, header: bytes, body: bytes) -> bytes:
        """See :meth:`EspCipher.open`."""
        key = keys.encryption_key
        nonce = key[-_SALT_SIZE:] + body[:_IV_SIZE]
        try:
            return self._algorithm(key[:-_SALT_SIZE]).decrypt(nonce, body[_IV_SIZE:], header)
        except InvalidTag:
            raise EspError("bad-icv") from None


class CbcCipher:
    """AES-CBC with an unpredictable 16-byte IV (RFC 3602), then HMAC over all of it."""

    __slots__ = ("_integrity", "overhead")

    alignment = _AES_BLOCK_SIZE

    def __init__(self, integrity: Integrity) -> None:
        self._integrity = integrity
        self.overhead = _AES_BLOCK_SIZE + integrity.size

    def seal(
        self, keys: SecurityAssociation, header: bytes, sequence_number: int, plaintext: bytes, random: Random
    ) -> bytes:
        """See :meth:`EspCipher.seal`."""
        iv = random(_AES_BLOCK_SIZE)
        encryptor = Cipher(AES(keys.encryption_key), CBC(iv)).encryptor()
        content = iv + encryptor.update(plaintext) + encryptor.finalize()
        return content + self._integrity.check_value(keys.integrity_key, header + content)

    def open(self, keys: SecurityAssociation, header: bytes, body: bytes) -> bytes:
        """See :meth:`EspCipher.open`."""
        content = self._integrity.verify(keys.integrity_key, header, body)
        decryptor = Cipher(AES(keys.encryption_key), CBC(content[:_AES_BLOCK_SIZE])).decryptor()
        return decryptor.update(content[_AES_BLOCK_SIZE:]) + decryptor.finalize()


class NullCipher:
    """No encryption (RFC 2410), HMAC only."""

    __slots__ = ("_integrity", "overhead")

    alignment = _ESP_ALIGNMENT

    def __init__(self, integrity: Integrity) -> None:
        self._integrity = integrity
        self.overhead = integrity.size

    def seal(
        self, keys: SecurityAssociation, header: bytes, sequence_number: int, plaintext: bytes, random: Random
    ) -> bytes:
        """See :meth:`EspCipher.seal`."""
        return plaintext + self._integrity.check_value(keys.integrity_key, header + plaintext)

    def open(self, keys: SecurityAssociation, header: bytes, body: bytes) -> bytes:
        """See :meth:`EspCipher.open`."""
        return self._integrity.verify(keys.integrity_key, header, body)


_AES_GCM = CombinedModeCipher(AESGCM)
_CHACHA20_POLY1305 = CombinedModeCipher(ChaCha20Poly1305)


def esp_cipher(suite: CipherSuite) -> EspCipher:
    """The cipher of a suite that :attr:`CipherSuite.is_complete`."""
    if suite.encryption is EncryptionAlgorithm.AES_GCM_16:
        return _AES_GCM
    if suite.encryption is EncryptionAlgorithm.CHACHA20_POLY1305:
        return _CHACHA20_POLY1305
    integrity = Integrity(suite.integrity, suite.integrity_check_size)
    return CbcCipher(integrity) if suite.encryption is EncryptionAlgorithm.AES_CBC else NullCipher(integrity)
