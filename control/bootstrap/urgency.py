"""Which of many nodes is brought back first: whoever had traffic most recently, then whose binding lasts longest."""

from __future__ import annotations

from control.mobility.numbers import LIFETIME_UNIT_S, MAX_LIFETIME_UNITS

_CLASS_S = 60.0
_CLASSES = 60
_FRACTION = 0.99
_LONGEST_LIFETIME_S = float(MAX_LIFETIME_UNITS * LIFETIME_UNIT_S)


def urgency(last_traffic: float, lifetime_expires_at: float, wall: float) -> float:
    """The priority of a node in a takeover, for :meth:`Scheduler.submit`: smaller comes first, none is above 0.

    Times of traffic count in minutes, up to an hour, as they are not known any better. Between nodes of the same
    minute the rest of the binding's lifetime decides, in a fraction that never outweighs a minute. So nobody waits for
    others more than an hour longer than by the order of submission.

    Args:
        last_traffic: when the node had traffic last, seconds since the epoch; 0.0 if unknown.
        lifetime_expires_at: when its binding ends, seconds since the epoch.
        wall: now, seconds since the epoch.
    """
    idle_classes = min(_CLASSES, int(max(0.0, wall - last_traffic) / _CLASS_S))
    left = min(1.0, max(0.0, lifetime_expires_at - wall) / _LONGEST_LIFETIME_S)
    return (idle_classes - _CLASSES - left * _FRACTION) * _CLASS_S
