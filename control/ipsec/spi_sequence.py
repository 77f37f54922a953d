"""Which SPI comes next: every back end chooses those of its inbound associations this way (RFC 4303 section 2.1)."""

from __future__ import annotations

from collections.abc import Callable, Container

FIRST_DYNAMIC_SPI = 0x1_0000
"""SPIs below are for associations keyed by hand, so that a negotiated one never takes theirs."""


class SpiSequence:
    """Walks through the 32-bit values in an order of its own, so none comes back before 4 billion others."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        """Begin somewhere.

        Args:
            random: gives that many unpredictable bytes.
        """
        self._spi = int.from_bytes(random(4), "big")
        self._step = int.from_bytes(random(4), "big") | 1

    def next(self, taken: Container[int]) -> int:
        """The next SPI that is neither reserved, nor for manual keys, nor among those taken."""
        while True:
            self._spi = (self._spi + self._step) & 0xFFFF_FFFF
            if self._spi >= FIRST_DYNAMIC_SPI and self._spi not in taken:
                return self._spi
