"""The node's own attempts to reach a home agent: whom it wants, and when it tries again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from random import Random
from typing import TypeGuard

from control.ikev2.events import IkeRedirected
from control.ikev2.redirect import Gateway, RedirectStage
from control.ikev2.sa import IkeSa
from control.mobile_node.settings import RetryTimers
from control.mobility.addresses import is_unicast_routable

_MAX_REDIRECTS = 5
_REDIRECT_LOOP_DETECT_PERIOD_S = 300.0
"""The bounds of RFC 5685 section 7."""


@dataclass(frozen=True, slots=True)
class WantedHomeAgent:
    """A home agent the node wants to be registered with.

    Attributes:
        address: its address.
        identity: the IKE identity it has to prove, None for any trusted one.
        redirected_from: the home agent that has sent the node there, None for none.
    """

    address: IPv6Address
    identity: str | None
    redirected_from: IPv6Address | None = None


class Attempts:
    """At most one attempt is under way; after a failure the next waits, longer each time and at random.

    Attributes:
        wanted: the home agent to turn to, None while the node waits for one to come.
        sa: the IKE SA of the attempt under way.
        retry_at: monotonic seconds of the next attempt, None if none is planned.
    """

    __slots__ = (
        "_broad",
        "_named",
        "_origin",
        "_others",
        "_random",
        "_redirected_at",
        "_refusing",
        "_timers",
        "_wait",
        "retry_at",
        "sa",
        "wanted",
    )

    def __init__(
        self,
        timers: RetryTimers,
        random: Random,
        others: Mapping[IPv6Address, str] | None = None,
        *,
        broad: bool = True,
    ) -> None:
        """Nobody is wanted yet.

        Args:
            timers: how long to wait between attempts.
            random: spreads them.
            others: identities of home agents by address, to turn to when the wanted one does not answer.
            broad: whether one that the node is redirected to, and whose identity is not known beforehand, may be
                any trusted one; else it has to prove the identity of the one that it stands in for.
        """
        self._others = {address: WantedHomeAgent(address, identity) for address, identity in (others or {}).items()}
        self.wanted: WantedHomeAgent | None = None
        self._origin: WantedHomeAgent | None = None
        self._named: deque[IPv6Address] = deque()
        self._refusing: set[IPv6Address] = set()
        self._redirected_at: deque[float] = deque(maxlen=_MAX_REDIRECTS)
        self.sa: IkeSa | None = None
        self.retry_at: float | None = None
        self._broad = broad
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
        if self._origin is not None and self.wanted.redirected_from is not None:
            # A redirect that leads nowhere is forgotten: its sender may be nobody (RFC 5685 section 8).
            self.wanted, self._origin = self._origin, None
            unanswered = False
        if self._named:
            address = self._named.popleft()
            self.wanted = WantedHomeAgent(address, self._identity_of(address))
        elif unanswered:
            self.wanted = self._after(self.wanted)
        self.retry_at = now + self._wait * self._random.uniform(0.5, 2.0)
        self._wait = min(2 * self._wait, self._timers.maximum_s)

    def succeeded(self, wanted: WantedHomeAgent) -> None:
        """The node is registered, by its own attempt or because a home agent came; that one is wanted from now on."""
        self.wanted = wanted
        self._origin = None
        self._named.clear()
        self._refusing.clear()
        self.sa = None
        self.retry_at = None
        self._wait = self._timers.initial_s

    def name(self, home_agents: Iterable[IPv6Address]) -> None:
        """Have these their turn, in order, where the next attempt comes to nothing (RFC 5142 section 6.2)."""
        self._named = deque(home_agents)

    def refused(self) -> WantedHomeAgent | None:
        """The wanted home agent serves the node not at all: another one that has not said so, None if none is left.

        Then the node wants none any more (RFC 3963 section 5.4).
        """
        if self.wanted is not None:
            self._refusing.add(self.wanted.address)
            self.wanted = self._after(self.wanted)
            if self.wanted.address in self._refusing:
                self.wanted = None
        self.sa = None
        self.retry_at = None
        return self.wanted

    def redirected(self, sa: IkeSa, event: IkeRedirected, statistics: Counter[str], now: float) -> bool:
        """Turn to another home agent, at the word of the wanted one; returns whether the node follows.

        Whom it trusts stays the same, and it returns if it is not served there (RFC 5685 sections 3, 7 and 8). What
        comes in a session is not followed: that is what Home Agent Switch is for.
        """
        home_agent, times = event.gateway, self._redirected_at
        is_asked_for = sa is self.sa and event.stage is not RedirectStage.SESSION
        if self.wanted is None or not is_asked_for or not _is_usable(home_agent):
            statistics["redirect-ignored"] += 1
            return False
        if len(times) == _MAX_REDIRECTS and now - times[0] < _REDIRECT_LOOP_DETECT_PERIOD_S:
            statistics["redirect-loop"] += 1
            return False
        times.append(now)
        self._origin = self._origin or self.wanted
        identity = self._identity_of(home_agent)
        if identity is None and not self._broad:
            identity = self.wanted.identity or self._identity_of(self.wanted.address)
        self.wanted = WantedHomeAgent(home_agent, identity, redirected_from=self.wanted.address)
        return True

    def give_up(self, now: float) -> None:
        """End the attempt under way and plan no other."""
        sa, self.sa = self.sa, None
        self.retry_at = None
        if sa is not None and not sa.is_established:
            sa.abandon(now)

    def _identity_of(self, home_agent: IPv6Address) -> str | None:
        known = self._others.get(home_agent)
        return known.identity if known is not None else None

    def _after(self, silent: WantedHomeAgent) -> WantedHomeAgent:
        """Whom to turn to after one that did not answer: all that are known take turns, itself included."""
        if not self._others:
            return silent
        turns = list({**self._others, silent.address: silent}.values())
        # It goes to the end of the row, to have its turn again when the others were as silent.
        self._others.pop(silent.address, None)
        self._others[silent.address] = silent
        return next((each for each in turns if each.address != silent.address), silent)


def _is_usable(gateway: Gateway) -> TypeGuard[IPv6Address]:
    return isinstance(gateway, IPv6Address) and is_unicast_routable(gateway)
