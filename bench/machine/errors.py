"""What keeps a machine from being started; each message is one sentence with the remedy."""

from __future__ import annotations


class MachineError(Exception):
    """The machine cannot be made or did not do what it was started for."""
