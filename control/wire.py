"""A bounds-checked reader and writer for wire formats of the control plane, and addresses and checksums in them.

A codec built on this module raises :class:`WireError` for whatever bytes a stranger sends, and nothing else.
All integers are in network byte order.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address
from socket import AF_INET6, inet_ntop


class WireError(ValueError):
    """Bytes that are not a well-formed message.

    Attributes:
        reason: a short stable slug (``truncated``, ``trailing-bytes``, …), fit for a metric label.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class Reader:
    """Reads fields from a block of bytes, front to back, never past its end."""

    __slots__ = ("_data", "_end", "_offset")

    def __init__(self, data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> None:
        if not isinstance(data, bytes):
            data = bytes(data)
        size = len(data)
        if end is None:
            end = size
        if not 0 <= offset <= end <= size:
            raise WireError("truncated", f"block {offset}..{end} of {size} bytes")
        self._data = data
        self._offset = offset
        self._end = end

    @property
    def remaining(self) -> int:
        """Bytes left in this block."""
        return self._end - self._offset

    def _take(self, size: int) -> int:
        start = self._offset
        if size < 0 or start + size > self._end:
            raise WireError("truncated", f"{size} bytes wanted, {self._end - start} left")
        self._offset = start + size
        return start

    def u8(self) -> int:
        """One byte."""
        return self._data[self._take(1)]

    def u16(self) -> int:
        """Two bytes."""
        start = self._take(2)
        return int.from_bytes(self._data[start : start + 2], "big")

    def u32(self) -> int:
        """Four bytes."""
        start = self._take(4)
        return int.from_bytes(self._data[start : start + 4], "big")

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        start = self._take(size)
        return self._data[start : start + size]

    def rest(self) -> bytes:
        """All that is left in this block."""
        start, self._offset = self._offset, self._end
        return self._data[start : self._end]

    def ipv6(self) -> IPv6Address:
        """A 16-byte IPv6 address."""
        start = self._take(16)
        return ipv6_address(self._data[start : start + 16])

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes."""
        self._take(size)

    def sub(self, size: int) -> Reader:
        """A reader for the next ``size`` bytes only, which this reader passes over."""
        start = self._take(size)
        return Reader(self._data, start, start + size)

    def expect_end(self) -> None:
        """Raise WireError("trailing-bytes") unless all of the block was read."""
        if self._offset != self._end:
            raise WireError("trailing-bytes", f"{self._end - self._offset} bytes")


class Writer:
    """Appends fields to a growing block of bytes."""

    __slots__ = ("buffer",)

    def __init__(self) -> None:
        self.buffer = bytearray()

    def __len__(self) -> int:
        return len(self.buffer)

    def u8(self, value: int) -> None:
        """One byte."""
        self.buffer += _encode(value, 1)

    def u16(self, value: int) -> None:
        """Two bytes."""
        self.buffer += _encode(value, 2)

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """The bytes as they are."""
        self.buffer += data

    def ipv6(self, address: IPv6Address) -> None:
        """A 16-byte IPv6 address."""
        self.buffer += address.packed

    def patch_u8(self, offset: int, value: int) -> None:
        """Overwrite one byte written earlier."""
        self.buffer[offset : offset + 1] = _encode(value, 1)

    def finish(self) -> bytes:
        """What was written."""
        return bytes(self.buffer)


def _encode(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise WireError("field-overflow", f"{value} does not fit {size} bytes") from None


@lru_cache(maxsize=4_096)
def ipv6_address(packed: bytes) -> IPv6Address:
    """The address in 16 bytes, the same object while it is remembered.

    A packet often names the same address twice. Whoever compares the two finds that out without the standard library's
    comparison, which is written in Python and takes a microsecond.
    """
    return IPv6Address(packed)


@lru_cache(maxsize=16_384)
def address_text(address: IPv6Address) -> str:
    """``str(address)``, in a fifth of its time and cached: it is wanted eight times for each recovered node."""
    if not address.scope_id:
        text = inet_ntop(AF_INET6, address.packed)
        if "." not in text:  # the C library writes some as IPv4 addresses
            return text
    return str(address)


def internet_checksum(data: bytes | bytearray, initial: int = 0) -> int:
    """The 16-bit one's complement checksum of RFC 1071 over ``data`` (odd lengths padded with zero)."""
    if len(data) % 2:
        data = bytes(data) + b"\0"
    # The sum of 16-bit words is congruent to the big integer modulo 0xFFFF, which Python computes in C.
    total = (int.from_bytes(data, "big") + initial) % 0xFFFF
    if total == 0 and (initial or any(data)):
        total = 0xFFFF
    return total ^ 0xFFFF


def ipv6_pseudo_header(source: IPv6Address, destination: IPv6Address, length: int, protocol: int) -> bytes:
    """The 40-byte pseudo-header of RFC 8200 section 8.1 for an upper-layer packet of ``length`` bytes."""
    return source.packed + destination.packed + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
