"""Protection of the Encrypted payload (RFC 7296 section 3.14; RFC 5282 for AES-GCM, RFC 7634 for ChaCha20-Poly1305)."""

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

_BLOCK = 16
_IV = 8
_TAG = 16
_SALT = 4
_INTEGRITY: dict[IntegrityAlgorithm, tuple[str, int]] = {
    IntegrityAlgorithm.HMAC_SHA2_256_128: ("sha256", 16),
    IntegrityAlgorithm.HMAC_SHA2_384_192: ("sha384", 24),
    IntegrityAlgorithm.HMAC_SHA2_512_256: ("sha512", 32),
}


class ProtectionError(ValueError):
    """An Encrypted payload that does not verify.

    Attributes:
        reason: ``bad-integrity`` or ``bad-padding``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class MessageCipher(Protocol):
    """Both directions of one IKE SA's encryption."""

    def body_size(self, plaintext_size: int) -> int:
        """Bytes of the Encrypted payload's body for a chain of payloads of ``plaintext_size`` bytes."""
        ...

    def seal(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """The body: IV, ciphertext and integrity check.

        Args:
            plaintext: the chain of payloads.
            associated_data: the message from its first byte to the Encrypted payload's generic header.
        """
        ...

    def open(self, body: bytes, associated_data: bytes) -> bytes:
        """The chain of payloads in ``body``; ProtectionError if it does not verify."""
        ...

    def idle(self) -> None:
        """Keep nothing but the keys until there is another message."""
        ...


class KeptStates:
    """The ciphers that keep OpenSSL's states from one message to the next: those that have made theirs last.

    An IKE SA is idle for most of its life, there are tens of thousands of them, and its two states take five kilobytes.
    But in a bootstrap each serves twice, and to make one takes longer than to protect a message by it.

    Args:
        most: how many ciphers.
    """

    __slots__ = ("_ciphers", "_most")

    def __init__(self, most: int) -> None:
        self._ciphers: dict[CombinedModeCipher, None] = {}
        self._most = most

    def add(self, cipher: CombinedModeCipher) -> None:
        """``cipher`` has made a state; the one that did so longest ago may have to drop its own."""
        self._ciphers[cipher] = None
        if len(self._ciphers) > self._most:
            next(iter(self._ciphers)).idle()

    def remove(self, cipher: CombinedModeCipher) -> None:
        """``cipher`` has no states any more."""
        self._ciphers.pop(cipher, None)


class CombinedModeCipher:
    """AES-GCM or ChaCha20-Poly1305 with a 16-byte integrity check.

    The IV is a counter, which need not be secret (RFC 5282 section 3.1, RFC 7634 section 2).
    """

    __slots__ = (
        "_algorithm",
        "_counter",
        "_kept",
        "_receive_key",
        "_receive_salt",
        "_receiver",
        "_send_key",
        "_send_salt",
        "_sender",
    )

    def __init__(
        self, algorithm: type[AESGCM | ChaCha20Poly1305], send_key: bytes, receive_key: bytes, kept: KeptStates
    ) -> None:
        self._algorithm = algorithm
        self._kept = kept
        self._sender: AESGCM | ChaCha20Poly1305 | None = None
        self._receiver: AESGCM | ChaCha20Poly1305 | None = None
        self._send_key = send_key[:-_SALT]
        self._send_salt = send_key[-_SALT:]
        self._receive_key = receive_key[:-_SALT]
        self._receive_salt = receive_key[-_SALT:]
        self._counter = 0

    def body_size(self, plaintext_size: int) -> int:
        """See MessageCipher."""
        return _IV + plaintext_size + 1 + _TAG

    def seal(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """See MessageCipher."""
        self._counter = counter = self._counter + 1
        iv = counter.to_bytes(_IV, "big")
        sender = self._sender
        if sender is None:
            sender = self._sender = self._algorithm(self._send_key)
            self._kept.add(self)
        return iv + sender.encrypt(self._send_salt + iv, plaintext + b"\0", associated_data)

    def open(self, body: bytes, associated_data: bytes) -> bytes:
        """See MessageCipher."""
        if len(body) <= _IV + _TAG:
            raise ProtectionError("bad-integrity")
        receiver = self._receiver
        if receiver is None:
            receiver = self._receiver = self._algorithm(self._receive_key)
            self._kept.add(self)
        try:
            plaintext = receiver.decrypt(self._receive_salt + body[:_IV], body[_IV:], associated_data)
        except InvalidTag:
            raise ProtectionError("bad-integrity") from None
        # A stream cipher needs no padding, and hardly anybody adds any.
        return _without_padding(plaintext) if plaintext[-1] else plaintext[:-1]

    def idle(self) -> None:
        """See MessageCipher."""
        self._sender = self._receiver = None
        self._kept.remove(self)


class CbcCipher:
    """AES-CBC with an HMAC over the whole message up to the check (RFC 3602, RFC 4868)."""

    __slots__ = ("_digest", "_icv_size", "_random", "_receive", "_receive_key", "_send", "_send_key")

    def __init__(
        self,
        integrity: IntegrityAlgorithm,
        send_keys: tuple[bytes, bytes],
        receive_keys: tuple[bytes, bytes],
        random: Callable[[int], bytes],
    ) -> None:
        """Make the cipher.

        Args:
            integrity: the HMAC.
            send_keys: encryption and integrity key of what this side sends.
            receive_keys: the same of what it receives.
            random: source of IVs, which must be unpredictable.
        """
        self._digest, self._icv_size = _INTEGRITY[integrity]
        self._send, self._send_key = AES(send_keys[0]), send_keys[1]
        self._receive, self._receive_key = AES(receive_keys[0]), receive_keys[1]
        self._random = random

    def body_size(self, plaintext_size: int) -> int:
        """See MessageCipher."""
        return _BLOCK + (plaintext_size + _BLOCK) // _BLOCK * _BLOCK + self._icv_size

    def seal(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """See MessageCipher."""
        padding = -(len(plaintext) + 1) % _BLOCK
        iv = self._random(_BLOCK)
        encryptor = Cipher(self._send, CBC(iv)).encryptor()
        padded = plaintext + bytes(padding) + padding.to_bytes(1, "big")
        sealed = iv + encryptor.update(padded) + encryptor.finalize()
        return sealed + self._icv(self._send_key, associated_data + sealed)

    def open(self, body: bytes, associated_data: bytes) -> bytes:
        """See MessageCipher."""
        sealed, icv = body[: -self._icv_size], body[-self._icv_size :]
        if len(sealed) < 2 * _BLOCK or len(sealed) % _BLOCK:
            raise ProtectionError("bad-integrity")
        if not hmac.compare_digest(icv, self._icv(self._receive_key, associated_data + sealed)):
            raise ProtectionError("bad-integrity")
        decryptor = Cipher(self._receive, CBC(sealed[:_BLOCK])).decryptor()
        return _without_padding(decryptor.update(sealed[_BLOCK:]) + decryptor.finalize())

    def idle(self) -> None:
        """See MessageCipher."""

    def _icv(self, key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, self._digest)[: self._icv_size]


def _without_padding(plaintext: bytes) -> bytes:
    payload_size = len(plaintext) - 1 - plaintext[-1]
    if payload_size < 0:
        raise ProtectionError("bad-padding")
    return plaintext[:payload_size]


def make_cipher(
    suite: CipherSuite,
    send_keys: tuple[bytes, bytes],
    receive_keys: tuple[bytes, bytes],
    random: Callable[[int], bytes],
    kept: KeptStates,
) -> MessageCipher:
    """The cipher of an IKE SA.

    Args:
        suite: the negotiated algorithms.
        send_keys: encryption and integrity key (SK_e, SK_a) of what this side sends.
        receive_keys: the same of what it receives.
        random: source of unpredictable IVs.
        kept: what keeps states from message to message.
    """
    if suite.encryption is EncryptionAlgorithm.AES_GCM_16:
        return CombinedModeCipher(AESGCM, send_keys[0], receive_keys[0], kept)
    if suite.encryption is EncryptionAlgorithm.CHACHA20_POLY1305:
        return CombinedModeCipher(ChaCha20Poly1305, send_keys[0], receive_keys[0], kept)
    return CbcCipher(suite.integrity, send_keys, receive_keys, random)
