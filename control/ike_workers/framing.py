"""Messages on a stream: each behind its length in 4 bytes."""

from __future__ import annotations

from collections.abc import Iterator

_LENGTH_SIZE = 4


def frame(message: bytes) -> bytes:
    """A message as it goes onto the stream."""
    return len(message).to_bytes(_LENGTH_SIZE, "big") + message


class Unframer:
    """Takes the stream in whatever pieces and gives the messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The messages that are complete now."""
        self._buffer += piece
        start = 0
        while len(self._buffer) - start >= _LENGTH_SIZE:
            end = start + _LENGTH_SIZE + int.from_bytes(self._buffer[start : start + _LENGTH_SIZE], "big")
            if end > len(self._buffer):
                break
            yield bytes(self._buffer[start + _LENGTH_SIZE : end])
            start = end
        del self._buffer[:start]
