"""What can go wrong in the laboratory itself, as opposed to in the product under test."""

from __future__ import annotations


class LabError(Exception):
    """A step of the laboratory failed; the text says which one and, where known, the remedy."""


class LabInterrupted(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP arrived; the laboratory unwinds like for Ctrl-C."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.signal_number = signal_number
