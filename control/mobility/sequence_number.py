"""Sequence numbers of Binding Updates: free running, compared modulo 2**16 (RFC 6275 section 9.5.1)."""

from __future__ import annotations

SEQUENCE_NUMBERS = 1 << 16

_HALF = 1 << 15


def is_newer(candidate: int, last: int) -> bool:
    """Whether ``candidate`` counts as greater than ``last``.

    It does not if it is ``last`` or one of the 32,768 values before it.
    """
    return 0 < (candidate - last) % SEQUENCE_NUMBERS < _HALF
