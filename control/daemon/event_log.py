"""What of the timeline goes into the log: what an operator has to know or looks for, not what is as it should be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from control.home_agent.events import Happening, TimelineEvent, line_of
from control.ikev2.rate_limit import TokenBucket

_LOG = logging.getLogger(__name__)

LEVELS: Mapping[TimelineEvent, int] = {
    TimelineEvent.LEASE_ACQUIRED: logging.INFO,
    TimelineEvent.LEASE_LAPSED: logging.WARNING,
    TimelineEvent.NODES_CLAIMED: logging.WARNING,
    TimelineEvent.GIVEN_UP: logging.WARNING,
    TimelineEvent.TAKEOVER_FINISHED: logging.INFO,
    TimelineEvent.DRAIN_FINISHED: logging.INFO,
    TimelineEvent.IKE_REFUSED: logging.WARNING,
    TimelineEvent.CHILD_REFUSED: logging.WARNING,
    TimelineEvent.IKE_CLOSED: logging.INFO,
    TimelineEvent.BINDING_REFUSED: logging.WARNING,
    TimelineEvent.CLOCK_DIFFERS: logging.WARNING,
    TimelineEvent.NODE_DISMISSED: logging.INFO,
}
"""All others are for ``--log-level debug``. That a lease was lost the daemon says by itself."""

_GIVEN_UP_PER_S = 10.0
"""A takeover can give up thousands at once; its end tells how many, and the timeline has them all."""


class EventLog:
    """Writes lines such as ``ike-refused peer=2001:db8:c1::2 claimed=mn1@example.org reason=…``."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Nothing was written.

        Args:
            now: monotonic seconds.
        """
        self._now = now
        self._given_up = TokenBucket(_GIVEN_UP_PER_S)

    def write(self, happenings: Iterable[Happening]) -> None:
        """Write what is worth it at the level of the log."""
        for happening in happenings:
            level = LEVELS.get(happening.event, logging.DEBUG)
            if not _LOG.isEnabledFor(level):
                continue
            if happening.event is TimelineEvent.GIVEN_UP and not self._given_up.take(self._now()):
                continue
            _LOG.log(level, "%s", line_of(happening.event.value, happening.node, happening.detail))
