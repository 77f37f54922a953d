"""How many messages to deal with together."""

from __future__ import annotations


class TurnSize:
    """Finds the number of messages that fills a turn.

    The more messages are dealt with together, the warmer the processor's caches are for each of them; but for as long
    as they keep the home agent busy, everything else waits.

    Attributes:
        size: how many to take next, at least one.
    """

    def __init__(self, turn_s: float, most: int) -> None:
        """Nothing is known of messages yet.

        Args:
            turn_s: how long a turn may last, in seconds.
            most: messages that are taken together at most.
        """
        self.size = most
        self._turn_s = turn_s
        self._most = most

    def took(self, messages: int, elapsed_s: float) -> None:
        """So many messages took so many seconds."""
        fitting = self._most if elapsed_s <= 0 else int(messages * self._turn_s / elapsed_s)
        # At once down, but up in steps: a few cheap messages say little about the next ones.
        self.size = max(1, min(fitting, 2 * self.size, self._most))
