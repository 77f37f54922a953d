"""Which node is tried when: bounds on what is under way and on its rate, retries, giving up.

draft-li-mip6-ha-init-bootstrap-00 section 5: an initiating home agent "SHOULD control the number of IKE exchange
simultaneously to prevent Denial of Service due to overloaded by cryptographic algorithm". The clock and the dice are
the caller's. Every operation takes amortised logarithmic time in the number of nodes.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum, auto
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

from control.bootstrap.concurrency import ConcurrencyPolicy
from control.bootstrap.limits import Limits
from control.records import MutableRecord, Record

_PACE_SAMPLES = 256
_BURST_S = 0.1
_SLACK_BEFORE_COMPACTION = 64
_NO_TICKET = -1


class GiveUpCause(Enum):
    """Why no further attempt is made for a key."""

    NOT_RETRYABLE = "not-retryable"
    ATTEMPTS = "attempts-exhausted"
    TIME = "time-exhausted"
    TOTAL_TIME = "total-time-exhausted"
    CANCELLED = "cancelled"


class GivenUp(Record, frozen=True):
    """A key that will not be tried again.

    Attributes:
        cause: which limit was reached.
        reason: why the last attempt failed, as the caller put it.
        attempts: how many were begun.
    """

    cause: GiveUpCause
    reason: str
    attempts: int


class Progress(Record, frozen=True):
    """How far the scheduler is.

    Attributes:
        total: keys submitted since it was last idle.
        recovered: those of them that succeeded.
        given_up: those that will not be tried again.
        in_flight: attempts under way now.
        waiting: keys that wait for their first or next attempt.
        peak_in_flight: most attempts under way at once.
        limit: how many may be under way at once at present.
        paused: whether nothing is begun for now.
        eta_s: seconds until nothing is left, from the recent pace; None while there is none to go by.
    """

    total: int
    recovered: int
    given_up: int
    in_flight: int
    waiting: int
    peak_in_flight: int
    limit: int
    paused: bool
    eta_s: float | None


class _State(Enum):
    READY = auto()
    BACKING_OFF = auto()
    IN_FLIGHT = auto()


class _Entry(MutableRecord):
    key: str
    priority: float
    ticket: int
    group: str
    state: _State = _State.READY
    attempts: int = 0
    started_at: float = 0.0
    spent_s: float = 0.0  # in attempts and in backing off, but not in waiting for a turn


_Place: TypeAlias = tuple[float, int, _Entry]
"""In a heap: when or in which order, ticket, and whose. A ticket that is not the entry's any more is out of date."""


class RateGate:
    """Lets at most ``rate_per_s`` times ``t`` plus ``burst`` pass in any ``t`` seconds.

    A token bucket kept as one time (the generic cell rate algorithm): whether something may pass is one comparison
    with :attr:`opens_at`, so a caller that comes exactly then is never turned away by a rounding error.

    Attributes:
        opens_at: from when on the next one may pass (monotonic seconds); long past if the gate is open.
    """

    __slots__ = ("_interval_s", "_slack_s", "_spent_until", "opens_at")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._interval_s = 1.0 / rate_per_s
        self._slack_s = (burst - 1.0) * self._interval_s
        self._spent_until = 0.0
        self.opens_at = -self._slack_s

    def take(self, now: float) -> None:
        """One passes."""
        self._spent_until = max(self._spent_until, now) + self._interval_s
        self.opens_at = self._spent_until - self._slack_s


class Scheduler:
    """Bounds attempts in flight and attempts begun per second.

    Of the groups that wait, say one for each failed home agent, the one with the fewest attempts under way is next, so
    none waits for another to end. Within a group the next key is that with the lowest sum of priority and time at which
    it began to wait. Between keys submitted together that is the priority alone; but a priority is worth only so many
    seconds of waiting, so whatever is submitted later, every key has its turn.

    Attributes:
        recovered_total: keys that succeeded, ever.
        given_up_total: keys given up, ever.
        reasons: of those given up, by reason.
        given_up: those given up since the scheduler was last idle.
        paused: whether nothing is begun for now; what is under way goes on.
    """

    def __init__(
        self,
        concurrency: ConcurrencyPolicy,
        limits: Limits,
        dice: random.Random,
        others_in_flight: Callable[[], int] = int,
    ) -> None:
        """Start idle.

        Args:
            concurrency: how many attempts may be under way at once.
            limits: what else it keeps to.
            dice: for the waits.
            others_in_flight: how many exchanges that nodes have begun are under way; they take from the concurrency,
                beyond the reserve too.
        """
        self.recovered_total = 0
        self.given_up_total = 0
        self.reasons: Counter[str] = Counter()
        self.given_up: dict[str, GivenUp] = {}
        self.paused = False
        self._concurrency = concurrency
        self._limits = limits
        self._dice = dice
        self._others_in_flight = others_in_flight
        self._gate = RateGate(limits.rate_per_s, max(1.0, min(limits.largest_burst, limits.rate_per_s * _BURST_S)))
        self._entries: dict[str, _Entry] = {}
        self._ready: dict[str, list[_Place]] = {}
        self._backing_off: list[_Place] = []
        self._in_flight_of: Counter[str] = Counter()
        self._tickets = count()
        self._in_flight = 0
        self._peak_in_flight = 0
        self._recovered = 0
        self._round_began_at = 0.0
        self._settled_at: deque[float] = deque(maxlen=_PACE_SAMPLES)

    @property
    def limit(self) -> int:
        """Most attempts of this scheduler under way at once, at present."""
        return self._share_of(self._concurrency.limit)

    def _share_of(self, bound: int) -> int:
        return max(1, min(int(bound * (1 - self._limits.reserve)), bound - self._others_in_flight()))

    def _used_of_bound(self) -> int:
        """Attempts under way, scaled up by what is kept from them: a policy must see that its bound is reached."""
        bound = self._concurrency.limit
        return round(self._in_flight * bound / self._share_of(bound))

    def observe_lag(self, lag_s: float) -> None:
        """The event loop came ``lag_s`` seconds late to a timer: what the CPU bears shows in it."""
        self._concurrency.lagged(lag_s)

    def submit(self, key: str, priority: float, now: float, group: str = "") -> bool:
        """Queue a key.

        Args:
            key: what to try.
            priority: smaller comes first; a difference of one is worth one second of waiting.
            now: monotonic seconds.
            group: keys of different groups take turns.

        Returns:
            False, without effect, if the key is waiting or under way already.
        """
        if key in self._entries:
            return False
        if not self._entries:
            self._begin_round(now)
        if self.given_up:
            self.given_up.pop(key, None)
        entry = self._entries[key] = _Entry(key, priority, next(self._tickets), group)
        self._make_ready(entry, now)
        return True

    def start_ready(self, now: float) -> list[str]:
        """The keys to begin now, in order; they count as under way from here on."""
        self._end_backing_off(now)
        started: list[str] = []
        room = 0 if self.paused else self.limit - self._in_flight
        while len(started) < room and now >= self._gate.opens_at:
            group = self._next_group()
            if group is None:
                break
            entry = heappop(self._ready[group])[2]
            entry.state = _State.IN_FLIGHT
            entry.attempts += 1
            entry.started_at = now
            self._gate.take(now)
            self._in_flight_of[group] += 1
            started.append(entry.key)
        self._in_flight += len(started)
        self._peak_in_flight = max(self._peak_in_flight, self._in_flight)
        return started

    def attempt(self, key: str) -> int | None:
        """Which attempt of a key was begun last, from 1; None for the last one that it has."""
        attempts = self._entries[key].attempts
        return attempts if attempts < self._limits.attempts else None

    def succeeded(self, key: str, now: float) -> None:
        """A key is done, whether its attempt did it or it happened otherwise. Unknown keys are ignored."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if entry.state is _State.IN_FLIGHT:
            self._concurrency.succeeded(now - entry.started_at, self._used_of_bound())
        self._remove(entry)
        self._recovered += 1
        self.recovered_total += 1
        self._settled_at.append(now)

    def failed(self, key: str, reason: str, now: float, *, retry: bool = True, answered: bool = True) -> bool:
        """The attempt under way failed; without effect for keys that are not under way.

        Args:
            key: whose.
            reason: slug.
            now: monotonic seconds.
            retry: whether another attempt could help.
            answered: whether the attempt had come any way. Silence from the start says that the node is gone, not that
                too much is under way.

        Returns:
            Whether the key is given up; otherwise it is tried again later.
        """
        entry = self._entries.get(key)
        if entry is None or entry.state is not _State.IN_FLIGHT:
            return False
        if retry and answered:
            self._concurrency.failed(self._used_of_bound())
        ceiling_s = min(self._limits.backoff_max_s, self._limits.backoff_initial_s * 2.0 ** (entry.attempts - 1))
        wait_s = self._dice.uniform(0.0, ceiling_s)
        entry.spent_s += now - entry.started_at + wait_s
        cause = self._cause_to_give_up(entry, retry)
        if cause is not None:
            self._give_up(entry, cause, reason)
            self._settled_at.append(now)
            return True
        self._leave_flight(entry)
        entry.state = _State.BACKING_OFF
        entry.ticket = next(self._tickets)
        heappush(self._backing_off, (now + wait_s, entry.ticket, entry))
        return False

    def cancel(self, key: str, reason: str = "cancelled") -> bool:
        """Give a key up at once, waiting or under way; an attempt under way is the caller's to break off.

        Returns:
            Whether it was there.
        """
        entry = self._entries.get(key)
        if entry is None:
            return False
        self._give_up(entry, GiveUpCause.CANCELLED, reason)
        return True

    def give_up_overdue(self, now: float) -> list[str]:
        """Everything that is left when the total time is over, given up; attempts under way are the caller's to end."""
        if not self._limits.total_give_up_after_s or now < self._round_began_at + self._limits.total_give_up_after_s:
            return []
        overdue = list(self._entries.values())
        for entry in overdue:
            self._give_up(entry, GiveUpCause.TOTAL_TIME, "total-time-exhausted")
        return [entry.key for entry in overdue]

    def pause(self) -> None:
        """Begin nothing until :meth:`resume`."""
        self.paused = True

    def resume(self) -> None:
        """Go on; :meth:`next_timer` says when."""
        self.paused = False

    def next_timer(self) -> float | None:
        """When :meth:`start_ready` may have something to begin (monotonic seconds, perhaps long past).

        None if only the end of an attempt, a submission or :meth:`resume` can change anything.
        """
        end = self._round_began_at + self._limits.total_give_up_after_s if self._limits.total_give_up_after_s else None
        if not self._entries:
            return None
        times = [time for time in (end, self._next_start()) if time is not None]
        return min(times, default=None)

    def _next_start(self) -> float | None:
        if self.paused or self._in_flight >= self.limit:
            return None
        if self._next_group() is not None:
            return self._gate.opens_at
        _drop_outdated(self._backing_off)
        if self._backing_off:
            return max(self._gate.opens_at, self._backing_off[0][0])
        return None

    def progress(self, now: float) -> Progress:
        """How far it is."""
        left = len(self._entries)
        given_up = len(self.given_up)
        return Progress(
            total=left + self._recovered + given_up,
            recovered=self._recovered,
            given_up=given_up,
            in_flight=self._in_flight,
            waiting=left - self._in_flight,
            peak_in_flight=self._peak_in_flight,
            limit=self.limit,
            paused=self.paused,
            eta_s=self._eta_s(now),
        )

    def _eta_s(self, now: float) -> float | None:
        """From the pace of the last settled keys; the bound on the rate is the most that can be hoped for."""
        left = len(self._entries)
        if not left:
            return 0.0
        if not self._settled_at or self.paused:
            return None
        full = len(self._settled_at) == _PACE_SAMPLES
        elapsed_s = now - (self._settled_at[0] if full else self._round_began_at)
        by_pace = left * max(0.0, elapsed_s) / len(self._settled_at)
        return max(by_pace, (left - self._in_flight) / self._limits.rate_per_s)

    def _cause_to_give_up(self, entry: _Entry, retry: bool) -> GiveUpCause | None:
        if not retry:
            return GiveUpCause.NOT_RETRYABLE
        if entry.attempts >= self._limits.attempts:
            return GiveUpCause.ATTEMPTS
        return GiveUpCause.TIME if entry.spent_s >= self._limits.give_up_after_s else None

    def _begin_round(self, now: float) -> None:
        self._round_began_at = now
        self._recovered = 0
        self._peak_in_flight = 0
        self._in_flight_of.clear()
        self._settled_at.clear()
        self.given_up.clear()

    def _give_up(self, entry: _Entry, cause: GiveUpCause, reason: str) -> None:
        self._remove(entry)
        self.given_up[entry.key] = GivenUp(cause, reason, entry.attempts)
        self.given_up_total += 1
        self.reasons[reason] += 1

    def _remove(self, entry: _Entry) -> None:
        del self._entries[entry.key]
        entry.ticket = _NO_TICKET
        if entry.state is _State.IN_FLIGHT:
            self._leave_flight(entry)
        else:
            self._compact()

    def _leave_flight(self, entry: _Entry) -> None:
        self._in_flight -= 1
        self._in_flight_of[entry.group] -= 1

    def _make_ready(self, entry: _Entry, since: float) -> None:
        heap = self._ready.get(entry.group)
        if heap is None:
            heap = self._ready[entry.group] = []
        heappush(heap, (since + entry.priority, entry.ticket, entry))

    def _next_group(self) -> str | None:
        """Of the groups with a key to begin, the one with the fewest attempts under way; then by their first keys."""
        for group, heap in list(self._ready.items()):
            _drop_outdated(heap)
            if not heap:
                del self._ready[group]
        if len(self._ready) <= 1:
            return next(iter(self._ready), None)
        return min(self._ready, key=lambda group: (self._in_flight_of[group], self._ready[group][0]))

    def _end_backing_off(self, now: float) -> None:
        while self._backing_off and self._backing_off[0][0] <= now:
            due_at, ticket, entry = heappop(self._backing_off)
            if ticket == entry.ticket:
                entry.state = _State.READY
                self._make_ready(entry, due_at)

    def _compact(self) -> None:
        """Keep the heaps from filling up with keys that were settled while they waited."""
        waiting = len(self._entries) - self._in_flight
        kept = sum(map(len, self._ready.values())) + len(self._backing_off)
        if kept <= 2 * waiting + _SLACK_BEFORE_COMPACTION:
            return
        for heap in (*self._ready.values(), self._backing_off):
            heap[:] = [place for place in heap if place[1] == place[2].ticket]
            heapify(heap)


def _drop_outdated(heap: list[_Place]) -> None:
    while heap and heap[0][1] != heap[0][2].ticket:
        heappop(heap)
