"""The payloads of a message one after the other, each with its generic header (RFC 7296 section 3.2).

The headers of one kind of message are the same each time, for its payloads have the same types and sizes. So those of
a message that has come are only compared with those of the one before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from operator import call
from struct import Struct
from typing import NamedTuple

from control.ikev2.errors import UnsupportedCriticalPayload
from control.ikev2.numbers import PayloadType
from control.ikev2.payloads import (
    PAYLOAD_CLASSES,
    Payload,
    ReceivedPayload,
    ReceivedPayloads,
    UnknownPayload,
)
from control.wire import WireError

MAX_PAYLOADS = 64
"""Messages with more payloads than this are refused."""
PAYLOAD_HEADER_SIZE = 4
"""Bytes of the generic payload header."""
CRITICAL = 0x80
"""The flag of a payload that must not be skipped."""
ENCRYPTED_TYPES = frozenset((PayloadType.ENCRYPTED, PayloadType.ENCRYPTED_FRAGMENT))
"""The payloads that others are inside of."""

_HEADER = Struct(">BBH")  # type of the next payload, flags, length

_NONE = int(PayloadType.NONE)
_Parser = Callable[[bytes], ReceivedPayload]
_PARSERS: dict[int, _Parser] = {kind: payload_class.from_wire for kind, payload_class in PAYLOAD_CLASSES.items()}

EncodedChain = tuple[int, bytes]
"""The type of the first payload (NONE for no payloads), and all of them with their generic headers."""


class _Layout(NamedTuple):
    """Where the payloads of one kind of message are.

    Attributes:
        split: gives the generic headers and the bodies in turn, if the message has the layout's size.
        headers: the generic headers: a message that has them has the layout.
        parsers: what reads the bodies.
    """

    split: Callable[[bytes, int], tuple[bytes, ...]]
    headers: tuple[bytes, ...]
    parsers: tuple[_Parser, ...]


_MOST_LAYOUTS = 256
_MOST_PAYLOADS_IN_LAYOUT = 16
_layouts: dict[tuple[int, int], _Layout] = {}  # by first type and size, of the message that had them last


def parse_payloads(first_type: int, data: bytes, offset: int = 0, *, from_stranger: bool = False) -> ReceivedPayloads:
    """A chain of payloads that has to fill ``data`` exactly, such as the contents of an Encrypted payload.

    Args:
        first_type: type of the first payload.
        data: the payloads.
        offset: where in ``data`` they begin.
        from_stranger: whether anybody may have sent them: how they lie is remembered then only where there is room.

    Raises:
        UnsupportedCriticalPayload: a payload of unknown type that must not be skipped.
        WireError: anything malformed, too many payloads, or an Encrypted payload within.
    """
    kind = first_type, len(data) - offset
    layout = _layouts.get(kind)
    if layout is not None:
        split, headers, parsers = layout
        pieces = split(data, offset)
        if pieces[::2] == headers:
            return ReceivedPayloads(map(call, parsers, pieces[1::2]))
    headers, parsers, bodies = _take_apart(first_type, data, offset)
    payloads = ReceivedPayloads(map(call, parsers, bodies))
    is_full = len(_layouts) >= _MOST_LAYOUTS
    if len(bodies) <= _MOST_PAYLOADS_IN_LAYOUT and not (is_full and from_stranger):
        if is_full:
            _layouts.clear()
        sizes = "".join(f"{PAYLOAD_HEADER_SIZE}s{len(body)}s" for body in bodies)
        _layouts[kind] = _Layout(Struct(sizes).unpack_from, headers, parsers)
    return payloads


def _take_apart(
    first_type: int, data: bytes, offset: int
) -> tuple[tuple[bytes, ...], tuple[_Parser, ...], list[bytes]]:
    """The generic headers, what reads the bodies, and the bodies."""
    headers: list[bytes] = []
    parsers: list[_Parser] = []
    bodies: list[bytes] = []
    next_type, size = first_type, len(data)
    while next_type:
        payload_type, start = next_type, offset + PAYLOAD_HEADER_SIZE
        next_type, flags, end = read_payload_header(data, offset)
        headers.append(data[offset:start])
        parsers.append(_PARSERS.get(payload_type) or _parser_of_unknown(payload_type, flags))
        bodies.append(data[start:end])
        if len(bodies) > MAX_PAYLOADS:
            raise WireError("too-many", f"more than {MAX_PAYLOADS} payloads")
        offset = end
    if offset != size:
        raise WireError("trailing-bytes", f"{size - offset} bytes after the last payload")
    return tuple(headers), tuple(parsers), bodies


def _parser_of_unknown(payload_type: int, flags: int) -> _Parser:
    if payload_type in ENCRYPTED_TYPES:
        raise WireError("unexpected-encrypted-payload", "among payloads to be read in the clear")
    if flags & CRITICAL:
        raise UnsupportedCriticalPayload(payload_type)
    return partial(UnknownPayload, payload_type, False)


def read_payload_header(data: bytes, offset: int) -> tuple[int, int, int]:
    """The type of the next payload, the flags, and where the payload at ``offset`` ends.

    Raises:
        WireError: ``truncated``, or ``bad-length`` where it is shorter than its header.
    """
    left = len(data) - offset
    try:
        next_type, flags, length = _HEADER.unpack_from(data, offset)
    except struct.error:
        raise WireError("truncated", f"payload header, {left} bytes left") from None
    if PAYLOAD_HEADER_SIZE <= length <= left:
        return next_type, flags, offset + length
    if length > left:
        raise WireError("truncated", f"payload of {length} bytes, {left} left")
    raise WireError("bad-length", f"payload of {length} bytes")


def encode_payload_chain(payloads: Sequence[Payload]) -> EncodedChain:
    """The payloads as they go on the wire; WireError("field-overflow") for one that is too large."""
    parts: list[bytes] = []
    next_type = _NONE
    try:
        for payload in reversed(payloads):
            if isinstance(payload, tuple):
                payload_type, body = payload
                flags = 0
            else:
                payload_type, body = payload.payload_type, payload.to_wire()
                flags = CRITICAL if isinstance(payload, UnknownPayload) and payload.critical else 0
            # Not by pack(): the call of it would cost as much as all the rest, twenty times in a handshake.
            parts += (body, _HEADER.pack(next_type, flags, PAYLOAD_HEADER_SIZE + len(body)))
            next_type = payload_type
    except struct.error as error:
        raise WireError("field-overflow", str(error)) from None
    parts.reverse()
    return next_type, b"".join(parts)
