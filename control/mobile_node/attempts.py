"""The node's own attempts to reach a home agent: whom it wants, and when it tries again."""

from __future__ import annotations

from collections.abc import Mapping
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

    __slots__ = ("_others", "_random", "_timers", "_wait", "retry_at", "sa", "wanted")

    def __init__(self, timers: RetryTimers, random: Random, others: Mapping[IPv6Address, str] | None = None) -> None:
        """Nobody is wanted yet.

        Args:
            timers: how long to wait between attempts.
            random: spreads them.
            others: identities of home agents by address, to turn to when the wanted one does not answer.
        """
        self._others = {address: WantedHomeAgent(address, identity) for address, identity in (others or {}).items()}
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

    def failed(self, now: float, *, unanswered: bool = False) -> None:
        """The attempt came to nothing; plan the next one if it is known whom to turn to.

        One that did not answer gives way to another one that is known. The wait is spread between half and the double,
        so that the nodes of a failed home agent do not come together.
        """
        self.sa = None
        if self.wanted is None:
            return
        if unanswered:
            self.wanted = self._after(self.wanted)
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

    def _after(self, silent: WantedHomeAgent) -> WantedHomeAgent:
        """Whom to turn to after one that did not answer: all that are known take turns, itself included."""
        if not self._others:
            return silent
        turns = list({**self._others, silent.address: silent}.values())
        # It goes to the end of the row, to have its turn again when the others were as silent.
        self._others.pop(silent.address, None)
        self._others[silent.address] = silent
        return next((each for each in turns if each.address != silent.address), silent)
