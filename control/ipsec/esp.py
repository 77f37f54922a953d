"""The Encapsulating Security Payload in transport mode (RFC 4303), for one security association each.

An ESP packet here is what follows the IPv6 header and its extension headers: SPI, sequence number, payload data,
padding, Next Header, integrity check value. Sequence numbers are the 32-bit ones; extended ones are not negotiated.
"""

from __future__ import annotations

from collections.abc import Callable

from control.ipsec.errors import EspError
from control.ipsec.esp_cipher import EspCipher, esp_cipher
from control.ipsec.replay_window import ReplayWindow
from control.ipsec.security_association import SecurityAssociation

PROTOCOL_ESP = 50
PROTOCOL_NONE = 59
LAST_SEQUENCE_NUMBER = 0xFFFF_FFFF

_HEADER_SIZE = 8
_TRAILER_SIZE = 2  # pad length and next header
_PADDING = bytes(range(1, 256))


def read_spi(packet: bytes) -> int:
    """The Security Parameters Index at the start of an ESP packet.

    Raises:
        EspError: ``truncated``.
    """
    if len(packet) < _HEADER_SIZE:
        raise EspError("truncated", f"{len(packet)} bytes")
    return int.from_bytes(packet[:4], "big")


class EspOutbound:
    """Protects what leaves under one security association."""

    __slots__ = ("_cipher", "_random", "_spi", "security_association", "sequence_number")

    def __init__(self, security_association: SecurityAssociation, random: Callable[[int], bytes]) -> None:
        """Begin with sequence number 1.

        Args:
            security_association: algorithms and keys; its usage counters are left to the caller.
            random: gives that many unpredictable bytes, for the IVs of AES-CBC.
        """
        sa = security_association
        self.security_association = sa
        self.sequence_number = 0
        """The last one used."""
        self._cipher: EspCipher | None = None
        self._random = random
        self._spi = sa.spi.to_bytes(4, "big")

    def protect(self, payload: bytes, next_header: int) -> bytes:
        """The ESP packet that carries ``payload``.

        Args:
            payload: the upper-layer packet.
            next_header: its protocol number.

        Raises:
            EspError: ``sequence-exhausted``; the association must be replaced (RFC 4303 section 3.3.3).
        """
        if self.sequence_number >= LAST_SEQUENCE_NUMBER:
            if self.security_association.replay_window:
                raise EspError("sequence-exhausted", f"SPI {self.security_association.spi:#010x}")
            self.sequence_number = -1  # nobody looks for replays, so the numbers may cycle
        self.sequence_number += 1
        cipher = self._cipher
        if cipher is None:
            cipher = self._cipher = _cipher_of(self.security_association)
        header = self._spi + self.sequence_number.to_bytes(4, "big")
        pad_length = -(len(payload) + _TRAILER_SIZE) % cipher.alignment
        plaintext = payload + _PADDING[:pad_length] + bytes((pad_length, next_header))
        return header + cipher.seal(header, self.sequence_number, plaintext, self._random)


class EspInbound:
    """Checks and opens what arrives under one security association."""

    __slots__ = ("_cipher", "_window", "security_association")

    def __init__(self, security_association: SecurityAssociation) -> None:
        sa = security_association
        self.security_association = sa
        self._cipher: EspCipher | None = None
        self._window = ReplayWindow(sa.replay_window) if sa.replay_window else None

    def unprotect(self, packet: bytes) -> tuple[int, bytes]:
        """The protocol number and the upper-layer packet inside an ESP packet (RFC 4303 section 3.4).

        Raises:
            EspError: ``truncated``, ``unknown-spi`` (not this association's), ``replay``, ``too-old``,
                ``bad-length``, ``bad-icv``, ``bad-padding`` or ``dummy-packet``.
        """
        if read_spi(packet) != self.security_association.spi:
            raise EspError("unknown-spi")
        cipher = self._cipher
        if cipher is None:
            cipher = self._cipher = _cipher_of(self.security_association)
        encrypted_size = len(packet) - _HEADER_SIZE - cipher.overhead
        if encrypted_size < _TRAILER_SIZE:
            raise EspError("truncated", f"{len(packet)} bytes")
        if encrypted_size % cipher.alignment:
            raise EspError("bad-length", f"{encrypted_size} bytes are no whole number of blocks")
        header = packet[:_HEADER_SIZE]
        sequence_number = int.from_bytes(header[4:], "big")
        window = self._window
        if window is None:
            return _strip_trailer(cipher.open(header, packet[_HEADER_SIZE:]))
        refusal = window.check(sequence_number)
        if refusal is not None:
            raise EspError(refusal, f"sequence number {sequence_number}, highest {window.highest}")
        plaintext = cipher.open(header, packet[_HEADER_SIZE:])
        window.accept(sequence_number)
        return _strip_trailer(plaintext)


def _cipher_of(security_association: SecurityAssociation) -> EspCipher:
    """Set up with the first packet: many associations never carry one."""
    sa = security_association
    return esp_cipher(sa.suite, sa.encryption_key, sa.integrity_key)


def _strip_trailer(plaintext: bytes) -> tuple[int, bytes]:
    """Next Header and payload, once the default padding 1, 2, 3, … was verified (RFC 4303 section 2.4)."""
    pad_length, next_header = plaintext[-2], plaintext[-1]
    end = len(plaintext) - _TRAILER_SIZE - pad_length
    if end < 0 or plaintext[end:-_TRAILER_SIZE] != _PADDING[:pad_length]:
        raise EspError("bad-padding", f"pad length {pad_length}")
    if next_header == PROTOCOL_NONE:
        raise EspError("dummy-packet")  # traffic flow confidentiality; dropped in silence (RFC 4303 section 2.6)
    return next_header, plaintext[:end]
