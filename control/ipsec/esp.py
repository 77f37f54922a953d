"""The Encapsulating Security Payload in transport mode (RFC 4303), for one security association each.

An ESP packet here is what follows the IPv6 header and its extension headers: SPI, sequence number, payload data,
padding, Next Header, integrity check value. Sequence numbers are the 32-bit ones; extended ones are not negotiated.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from control.ipsec.errors import EspError
from control.ipsec.esp_cipher import esp_cipher
from control.ipsec.replay_window import ReplayWindow
from control.ipsec.security_association import SecurityAssociation

PROTOCOL_ESP = 50
PROTOCOL_NONE = 59
LAST_SEQUENCE_NUMBER = 0xFFFF_FFFF

_HEADER = Struct(">II")  # SPI, sequence number
_HEADER_SIZE = _HEADER.size
_TRAILER_SIZE = 2  # pad length and next header
_PADDINGS = tuple(bytes((*range(1, length + 1), length)) for length in range(256))
"""The default padding 1, 2, 3, … of every length, and that length behind it (RFC 4303 section 2.4)."""


def read_spi(packet: bytes) -> int:
    """The Security Parameters Index at the start of an ESP packet.

    Raises:
        EspError: ``truncated``.
    """
    if len(packet) < _HEADER_SIZE:
        raise EspError("truncated", f"{len(packet)} bytes")
    return int.from_bytes(packet[:4], "big")


class EspOutbound:
    """Protects what leaves under one security association.

    Attributes:
        sequence_number: the last one used.
    """

    __slots__ = ("_association", "_cipher", "_random", "sequence_number")

    def __init__(self, security_association: SecurityAssociation, random: Callable[[int], bytes]) -> None:
        """Begin with sequence number 1.

        Args:
            security_association: algorithms and keys; its usage counters are left to the caller.
            random: gives that many unpredictable bytes, for the IVs of AES-CBC.
        """
        self.sequence_number = 0
        self._association = security_association
        self._cipher = esp_cipher(security_association.suite)
        self._random = random

    def protect(self, payload: bytes, next_header: int) -> bytes:
        """The ESP packet that carries ``payload``.

        Args:
            payload: the upper-layer packet.
            next_header: its protocol number.

        Raises:
            EspError: ``sequence-exhausted``; the association must be replaced (RFC 4303 section 3.3.3).
        """
        association, cipher, number = self._association, self._cipher, self.sequence_number + 1
        if number > LAST_SEQUENCE_NUMBER:
            if association.replay_window:
                raise EspError("sequence-exhausted", f"SPI {association.spi:#010x}")
            number = 0  # nobody looks for replays
        self.sequence_number = number
        header = _HEADER.pack(association.spi, number)
        padding = _PADDINGS[-(len(payload) + _TRAILER_SIZE) % cipher.alignment]
        plaintext = payload + padding + bytes((next_header,))
        return header + cipher.seal(association, header, number, plaintext, self._random)


class EspInbound:
    """Checks and opens what arrives under one security association."""

    __slots__ = ("_association", "_cipher", "_window")

    def __init__(self, security_association: SecurityAssociation) -> None:
        size = security_association.replay_window
        self._association = security_association
        self._cipher = esp_cipher(security_association.suite)
        self._window = ReplayWindow(size) if size else None

    def unprotect(self, packet: bytes) -> tuple[int, bytes]:
        """The protocol number and the upper-layer packet inside an ESP packet (RFC 4303 section 3.4).

        Raises:
            EspError: ``truncated``, ``unknown-spi`` (not this association's), ``replay``, ``too-old``,
                ``bad-length``, ``bad-icv``, ``bad-padding`` or ``dummy-packet``.
        """
        association, cipher = self._association, self._cipher
        encrypted_size = len(packet) - _HEADER_SIZE - cipher.overhead
        if encrypted_size < _TRAILER_SIZE:
            raise EspError("truncated", f"{len(packet)} bytes")
        if encrypted_size % cipher.alignment:
            raise EspError("bad-length", f"{encrypted_size} bytes are no whole number of blocks")
        header = packet[:_HEADER_SIZE]
        spi, number = _HEADER.unpack(header)
        if spi != association.spi:
            raise EspError("unknown-spi")
        window = self._window
        refusal = None if window is None else window.check(number)
        if refusal is not None:
            raise EspError(refusal, f"sequence number {number}")
        plaintext = cipher.open(association, header, packet[_HEADER_SIZE:])
        if window is not None:
            window.accept(number)
        pad_length, next_header = plaintext[-_TRAILER_SIZE:]
        end = encrypted_size - _TRAILER_SIZE - pad_length
        if end < 0 or plaintext[end:-1] != _PADDINGS[pad_length]:
            raise EspError("bad-padding", f"pad length {pad_length}")
        if next_header == PROTOCOL_NONE:
            raise EspError("dummy-packet")  # traffic flow confidentiality; dropped in silence (RFC 4303 section 2.6)
        return next_header, plaintext[:end]
