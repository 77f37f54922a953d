"""Who is told of what happens: the timeline, the log, the record of the takeover, and who waits for first packets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from control.bootstrap.scheduler import Progress
from control.daemon.event_log import EventLog
from control.daemon.first_packets import FirstPackets
from control.daemon.takeover_record import TakeoverRecord
from control.daemon.timeline import Timeline
from control.home_agent.engine import HomeAgent
from control.home_agent.events import Happening, TimelineEvent
from datapath.bindings import BindingMap


class Chronicle:
    """Tells them all.

    Attributes:
        timeline: what happened.
        takeover: when nodes were brought back, and how many by when.
    """

    def __init__(self, agent: HomeAgent, bindings: BindingMap, clock: Callable[[], float]) -> None:
        """Begin.

        Args:
            agent: whom it is about.
            bindings: where packets of recovered nodes are counted.
            clock: monotonic seconds.
        """
        self.timeline = Timeline()
        self.takeover = TakeoverRecord()
        self._agent = agent
        self._clock = clock
        self._log = EventLog(clock)
        self._first_packets = FirstPackets(bindings)

    def record(self, happenings: Iterable[Happening]) -> None:
        """This has happened now."""
        happenings, wall = list(happenings), time.time()
        if not happenings:
            return
        self.timeline.add(happenings, wall)
        self._log.write(happenings)
        self.takeover.happened(happenings, self._progress, wall)
        for happening in happenings:
            if happening.event is TimelineEvent.RECOVERED and happening.node is not None:
                home_address = self._agent.directory.home_address(happening.node)
                if home_address is not None:
                    self._first_packets.watch(happening.node, home_address)

    def look(self) -> None:
        """See how far a takeover is, and whether recovered nodes have packets; for some times a second."""
        if self._agent.takeover.active:
            self.takeover.sample(self._progress(), time.time())
        if self._first_packets.waiting:
            self.record(self._first_packets.poll())

    def _progress(self) -> Progress:
        return self._agent.takeover.progress(self._clock())
