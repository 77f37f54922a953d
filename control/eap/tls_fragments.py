"""TLS messages in EAP-TLS packets of limited size (RFC 5216 sections 2.1.5 and 3)."""

from __future__ import annotations

from enum import IntFlag
from struct import Struct

from control.eap.packet import EapError

FRAGMENT_SIZE = 1024
"""Bytes of TLS data in one packet: an IKE message with it fits into any path without being fragmented."""
MAX_MESSAGE = 32 << 10
"""Bytes of one TLS flight of the peer; a chain of several certificates with large keys has about 8 KiB."""

_LENGTH = Struct(">I")
_ACKNOWLEDGEMENT = b"\x00"


class TlsFlag(IntFlag):
    """Flags of a packet (RFC 5216 section 3.1)."""

    LENGTH_INCLUDED = 0x80
    MORE_FRAGMENTS = 0x40
    START = 0x20


class TlsFragments:
    """Puts what arrives together and takes what leaves apart; only one direction is under way at a time."""

    def __init__(self) -> None:
        self._arriving = bytearray()
        self._announced: int | None = None
        self._leaving = b""
        self._first = False

    @property
    def leaving(self) -> bool:
        """Whether something of the message to be sent is left."""
        return bool(self._leaving)

    def send(self, message: bytes) -> bytes:
        """The data of the first packet of a message."""
        self._leaving, self._first = message, True
        return self.next()

    def next(self) -> bytes:
        """The data of the next packet of the message, or of an empty one where nothing is left."""
        part, self._leaving = self._leaving[:FRAGMENT_SIZE], self._leaving[FRAGMENT_SIZE:]
        flags, length = TlsFlag(0), b""
        if self._leaving:
            flags |= TlsFlag.MORE_FRAGMENTS
            if self._first:
                flags |= TlsFlag.LENGTH_INCLUDED
                length = _LENGTH.pack(len(part) + len(self._leaving))
        self._first = False
        return bytes((flags,)) + length + part

    def receive(self, data: bytes) -> bytes | None:
        """Take the data of a packet.

        Returns:
            The whole message, empty for an acknowledgement; None if more of it has to come.

        Raises:
            EapError: malformed, or larger than allowed.
        """
        if not data:
            raise EapError("malformed-eap-tls", "no flags")
        flags, part = data[0], data[1:]
        if flags & TlsFlag.START:
            raise EapError("malformed-eap-tls", "start")
        if flags & TlsFlag.LENGTH_INCLUDED:
            part = self._check_length(part)
        more = bool(flags & TlsFlag.MORE_FRAGMENTS)
        if more and not part:
            raise EapError("malformed-eap-tls", "an empty fragment")
        self._arriving += part
        size = len(self._arriving)
        if size > MAX_MESSAGE:
            raise EapError("too-large-eap-tls-message", f"more than {MAX_MESSAGE} bytes")
        if more:
            return None
        if self._announced is not None and self._announced != size:
            raise EapError("malformed-eap-tls", f"{size} bytes instead of {self._announced}")
        message = bytes(self._arriving)
        self._arriving.clear()
        self._announced = None
        return message

    def acknowledge(self) -> bytes:
        """The data of the packet that asks for the next fragment."""
        return _ACKNOWLEDGEMENT

    def _check_length(self, part: bytes) -> bytes:
        if len(part) < _LENGTH.size:
            raise EapError("malformed-eap-tls", "no length")
        (length,) = _LENGTH.unpack_from(part)
        if length > MAX_MESSAGE:
            raise EapError("too-large-eap-tls-message", f"{length} bytes")
        if self._announced not in (None, length) or (self._announced is None and self._arriving):
            raise EapError("malformed-eap-tls", "another length")
        self._announced = length
        return part[_LENGTH.size :]
