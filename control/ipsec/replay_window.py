"""The receiver's sliding window against replayed packets (RFC 4303 section 3.4.3)."""

from __future__ import annotations

MINIMUM_REPLAY_WINDOW = 32
DEFAULT_REPLAY_WINDOW = 64


class ReplayWindow:
    """Which sequence numbers were received, as far back as the window reaches.

    The check comes in two halves: :meth:`check` before the packet is authenticated, which changes nothing, and
    :meth:`accept` after it, so that forged packets cannot move the window.
    """

    __slots__ = ("_full", "_received", "_size", "highest")

    def __init__(self, size: int = DEFAULT_REPLAY_WINDOW) -> None:
        """Start with nothing received.

        Args:
            size: how many sequence numbers the window spans; at least 32 (RFC 4303 section 3.4.3).

        Raises:
            ValueError: the window is too small.
        """
        if size < MINIMUM_REPLAY_WINDOW:
            raise ValueError(f"a replay window of {size} is below the minimum of {MINIMUM_REPLAY_WINDOW}")
        self._size = size
        self._full = (1 << size) - 1
        self._received = 0  # bit n stands for the sequence number `highest - n`
        self.highest = 0

    def check(self, sequence_number: int) -> str | None:
        """Why a packet of this number must be dropped (``replay`` or ``too-old``), None if it may be new."""
        behind = self.highest - sequence_number
        if behind < 0:
            return None
        if sequence_number == 0:
            return "replay"  # a sender starts at 1 (RFC 4303 section 2.2), so 0 was never sent for the first time
        if behind >= self._size:
            return "too-old"
        return "replay" if self._received >> behind & 1 else None

    def accept(self, sequence_number: int) -> None:
        """Remember the number of an authenticated packet that :meth:`check` let pass."""
        ahead = sequence_number - self.highest
        if ahead <= 0:
            self._received |= 1 << -ahead
            return
        # A jump past the whole window empties it; shifting by 2**32 bits first would build a huge integer.
        self._received = (self._received << ahead & self._full | 1) if ahead < self._size else 1
        self.highest = sequence_number
