"""The node's own attempts to reach a home agent: whom it wants, and when it tries again."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from random import Random

from control.ikev2.sa import IkeSa
from control.mobile_node.settings import RetryTimers


@dataclass(frozen=True, slots=True)
class WantedHomeAgent:
    """A home agent the node wants to be registered with.

    Attributes:
        address: its address.
        identity: the IKE identity it has to prove, None for any trusted one.
    """

    address: IPv6Address
    identity: str | None


class Attempts:
    """At most one attempt is under way; after a failure the next waits, longer each time and at random.

    Attributes:
        wanted: the home agent to turn to, None while the node waits for one to come.
        sa: the IKE SA of the attempt under way.
        retry_at: monotonic seconds of the next attempt, None if none is planned.
    """

    __slots__ = ("_random", "_timers", "_wait", "retry_at", "sa", "wanted")

    def __init__(self, timers: RetryTimers, random: Random) -> None:
        self.wanted: WantedHomeAgent | None = None
        self.sa: IkeSa | None = None
        self.retry_at: float | None = None
        self._timers = timers
        self._random = random
        self._wait = timers.initial_s

    @property
    def idle(self) -> bool:
        """Whether no attempt is under way and none is planned."""
        return self.sa is None and self.retry_at is None

    def due(self, now: float) -> bool:
        """Whether the next attempt is to begin."""
        return self.retry_at is not None and now >= self.retry_at

    def begun(self, sa: IkeSa) -> None:
        """An attempt is under way."""
        self.sa = sa
        self.retry_at = None

    def rekeyed(self, sa: IkeSa, successor: IkeSa) -> None:
        """Another IKE SA has taken the place of ``sa``."""
        if self.sa is sa:
            self.sa = successor

    def failed(self, now: float) -> None:
        """The attempt came to nothing; plan the next one if it is known whom to turn to.

        The wait is spread between half and the double, so that the nodes of a failed home agent do not come together.
        """
        self.sa = None
        if self.wanted is None:
            return
        self.retry_at = now + self._wait * self._random.uniform(0.5, 2.0)
        self._wait = min(2 * self._wait, self._timers.maximum_s)

    def succeeded(self, wanted: WantedHomeAgent) -> None:
        """The node is registered, by its own attempt or because a home agent came; that one is wanted from now on."""
        self.wanted = wanted
        self.sa = None
        self.retry_at = None
        self._wait = self._timers.initial_s

    def give_up(self, now: float) -> None:
        """End the attempt under way and plan no other."""
        sa, self.sa = self.sa, None
        self.retry_at = None
        if sa is not None and not sa.is_established:
            sa.abandon(now)
