"""IKE fragmentation: large protected messages in several datagrams (RFC 7383).

What a stranger can make this side keep is bounded three times: fragments are kept only if they are authentic, so it
has to complete the key exchange first; one message has at most MAX_FRAGMENTS fragments and MAX_CONTENT bytes; and
all half-open IKE SAs together have to do with the configuration's ``fragment_memory``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.cipher import MessageCipher
from control.ikev2.message import (
    FRAGMENT_HEADER_SIZE,
    HEADER_SIZE,
    EncryptedMessage,
    FragmentPosition,
    Header,
    fragment_prefix,
)
from control.ikev2.payload_chain import PAYLOAD_HEADER_SIZE
from control.ikev2.states import State
from control.records import Record

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

MAX_FRAGMENTS = 64
"""Messages in more fragments than this are refused."""
MAX_CONTENT = 0xFFFF
"""Most bytes of payloads in a message put together of fragments."""
MIN_FRAGMENT_SIZE = 512
"""Least number of bytes a fragment may be limited to: what is around its content takes up to a hundred."""

_OVERHEAD = HEADER_SIZE + PAYLOAD_HEADER_SIZE + FRAGMENT_HEADER_SIZE


class OpenedMessage(Record, frozen=True):
    """The authentic contents of a protected message.

    Attributes:
        first_type: type of the first payload.
        chain: the payloads.
        datagram: what came; of a message in fragments the first one, whose repetition is that of the message.
    """

    first_type: int
    chain: bytes
    datagram: bytes


def seal_fragments(
    cipher: MessageCipher, header: Header, first_type: int, chain: bytes, datagram_size: int
) -> tuple[bytes, ...]:
    """The datagrams of a message that is too large for one.

    Args:
        cipher: protects each of them.
        header: of the message.
        first_type: type of the first payload in ``chain``.
        chain: the payloads.
        datagram_size: most bytes of a datagram, MIN_FRAGMENT_SIZE or more.
    """
    # What the cipher adds to no content at all is the most that it adds to any, as padding goes.
    size = datagram_size - _OVERHEAD - cipher.body_size(0)
    chunks = [chain[start : start + size] for start in range(0, len(chain), size)]
    datagrams = []
    for number, chunk in enumerate(chunks, 1):
        position = FragmentPosition(number, len(chunks))
        prefix = fragment_prefix(header, first_type, position, cipher.body_size(len(chunk)))
        datagrams.append(prefix + cipher.seal(chunk, prefix))
    return tuple(datagrams)


class PartialMessage:
    """The authentic fragments of one message that have come so far.

    Attributes:
        message_id: of the message.
        total: how many fragments it has.
        held: bytes kept.
        expires_at: when this side stops to wait for the others.
    """

    __slots__ = ("_chunks", "_first", "_first_type", "expires_at", "held", "message_id", "total")

    def __init__(self, message_id: int, total: int, expires_at: float) -> None:
        self.message_id = message_id
        self.total = total
        self.expires_at = expires_at
        self.held = 0
        self._chunks: dict[int, bytes] = {}
        self._first_type = 0
        self._first = b""

    def wants(self, position: FragmentPosition) -> bool:
        """Whether a fragment is a new one of this set, or of a set of more and smaller ones that supersedes it."""
        if position.total == self.total:
            return position.number not in self._chunks
        return position.total > self.total

    def add(self, number: int, first_type: int, chunk: bytes, datagram: bytes) -> None:
        """Keep the content of a fragment, and of the first one the datagram as well."""
        self._chunks[number] = chunk
        self.held += len(chunk)
        if number == 1:
            self._first_type, self._first = first_type, datagram
            self.held += len(datagram)

    def complete(self) -> OpenedMessage | None:
        """The message, None while fragments are missing."""
        if len(self._chunks) < self.total:
            return None
        chain = b"".join(self._chunks[number] for number in range(1, self.total + 1))
        return OpenedMessage(self._first_type, chain, self._first)

    @property
    def is_oversized(self) -> bool:
        """Whether there is more of it than any message needs."""
        return self.held - len(self._first) > MAX_CONTENT


class FragmentMemory:
    """Keeps account of the fragments of half-open IKE SAs: where they are too many, the oldest have to go.

    An honest peer's fragments come together, so that they are not kept for long.

    Args:
        limit: most bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sas: dict[IkeSa, int] = {}
        self.held = 0
        """Bytes kept now."""

    def set(self, sa: IkeSa, held: int) -> None:
        """Note how much ``sa`` keeps, and make others drop theirs if it is too much in all."""
        self.held += held - self._sas.get(sa, 0)
        if held:
            self._sas[sa] = held
        else:
            self._sas.pop(sa, None)
        while self.held > self._limit and self._sas:
            oldest = next(iter(self._sas))
            oldest.environment.count("dropped-fragments-of-strangers")
            drop_fragments(oldest)


def take_fragment(
    sa: IkeSa, message: EncryptedMessage, position: FragmentPosition, datagram: bytes, now: float
) -> OpenedMessage | None:
    """Take a fragment of the message that is expected (RFC 7383 section 2.6); returns the message once it is complete.

    Raises:
        ProtectionError: the fragment is not authentic.
    """
    environment, header = sa.environment, message.header
    if sa.cipher is None or not sa.uses_fragments:
        environment.count("dropped-unexpected-fragment")
        return None
    if position.total > MAX_FRAGMENTS:
        environment.count("dropped-too-many-fragments")
        return None
    partial = sa.partial_messages.get(header.is_response)
    if partial is not None and partial.message_id != header.message_id:
        partial = None
    if partial is not None and not partial.wants(position):
        environment.count("dropped-repeated-fragment")
        return None
    chunk = sa.cipher.open(message.body, message.associated_data)
    if partial is None or position.total > partial.total:
        partial = PartialMessage(header.message_id, position.total, now + environment.retransmission.patience_s)
        sa.partial_messages[header.is_response] = partial
    partial.add(position.number, message.first_inner_type, chunk, datagram)
    opened = partial.complete()
    if partial.is_oversized:
        environment.count("dropped-oversized-message")
        opened = None
        del sa.partial_messages[header.is_response]
    elif opened is not None:
        environment.count("reassembled-messages")
        del sa.partial_messages[header.is_response]
    _account(sa)
    return opened


def drop_fragments(sa: IkeSa, *, of_responses: bool | None = None) -> None:
    """Drop what has come of an incomplete request, of an answer, or by default of both."""
    for kind in (False, True) if of_responses is None else (of_responses,):
        sa.partial_messages.pop(kind, None)
    _account(sa)


def drop_expired_fragments(sa: IkeSa, now: float) -> None:
    """Drop what has come of messages that have not been completed in time."""
    for kind, partial in tuple(sa.partial_messages.items()):
        if now >= partial.expires_at:
            sa.environment.count("dropped-incomplete-message")
            drop_fragments(sa, of_responses=kind)


def _account(sa: IkeSa) -> None:
    is_stranger = sa.state is State.HALF_OPEN
    held = sum(partial.held for partial in sa.partial_messages.values()) if is_stranger else 0
    sa.environment.fragment_memory.set(sa, held)
