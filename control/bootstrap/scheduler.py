"""Which node is tried when: bounds on what is under way and on its rate, retries, giving up.

draft-li-mip6-ha-init-bootstrap-00 section 5: an initiating home agent "SHOULD control the number of IKE exchange
simultaneously to prevent Denial of Service due to overloaded by cryptographic algorithm". The clock and the dice are
the caller's. Every operation takes at most logarithmic time in the number of nodes.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heappop, heappush
from itertools import count


class _State(Enum):
    WAITING = auto()
    IN_FLIGHT = auto()


@dataclass(slots=True)
class _Entry:
    priority: float
    ticket: int
    state: _State = _State.WAITING
    attempts: int = 0
    first_started_at: float | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the scheduler is.

    Attributes:
        total: keys submitted since it was last idle.
        recovered: those of them that succeeded.
        given_up: those that will not be tried again.
        in_flight: attempts under way now.
        waiting: keys that wait for their first or next attempt.
        peak_in_flight: most attempts under way at once.
        eta_s: seconds until nothing is left, from the pace so far; None while there is none to go by.
    """

    total: int
    recovered: int
    given_up: int
    in_flight: int
    waiting: int
    peak_in_flight: int
    eta_s: float | None


class Scheduler:
    """Bounds attempts in flight and attempts begun per second.

    Attributes:
        recovered_total: keys that succeeded, ever.
        given_up_total: keys given up, ever.
        reasons: of those given up, by reason.
        paused: whether nothing is begun for now; what is under way goes on.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        rate_per_s: float,
        attempts: int,
        backoff_initial_s: float,
        backoff_max_s: float,
        give_up_after_s: float,
        random: random.Random,
    ) -> None:
        """Start idle.

        Args:
            concurrency: most attempts under way at once.
            rate_per_s: most attempts begun per second; a tenth of a second's worth may come at once.
            attempts: most attempts per key.
            backoff_initial_s: upper end of the first random wait; it doubles with each attempt.
            backoff_max_s: upper end of any wait.
            give_up_after_s: after this time since its first attempt began, a failed key is not tried again.
            random: dice for the waits.

        Raises:
            ValueError: a bound that would let nothing happen.
        """
        if concurrency < 1 or attempts < 1 or rate_per_s <= 0:
            raise ValueError("concurrency and attempts must be at least 1, the rate above 0")
        self.recovered_total = 0
        self.given_up_total = 0
        self.reasons: Counter[str] = Counter()
        self.paused = False
        self._concurrency = concurrency
        self._rate = rate_per_s
        self._attempts = attempts
        self._backoff_initial_s = backoff_initial_s
        self._backoff_max_s = backoff_max_s
        self._give_up_after_s = give_up_after_s
        self._random = random
        self._burst = max(1.0, rate_per_s / 10)
        self._tokens = self._burst
        self._filled_at: float | None = None
        self._entries: dict[str, _Entry] = {}
        # Heap entries whose ticket is not that of their key any more are out of date and passed over.
        self._ready: list[tuple[float, int, str]] = []
        self._delayed: list[tuple[float, int, str]] = []
        self._tickets = count()
        self._in_flight = 0
        self._round_began_at: float | None = None
        self._total = 0
        self._recovered = 0
        self._given_up = 0
        self._peak_in_flight = 0

    def submit(self, key: str, priority: float, now: float) -> bool:
        """Queue a key; smaller priorities are begun first, equal ones in order of submission.

        Returns:
            False, without effect, if the key is waiting or under way already.
        """
        if key in self._entries:
            return False
        if not self._entries:
            self._begin_round(now)
        if self._filled_at is None:
            self._filled_at = now
        entry = _Entry(priority, next(self._tickets))
        self._entries[key] = entry
        heappush(self._ready, (priority, entry.ticket, key))
        self._total += 1
        return True

    def start_ready(self, now: float) -> list[str]:
        """The keys to begin now, best priority first; they count as under way from here on."""
        self._refill(now)
        self._wake_delayed(now)
        started: list[str] = []
        while not self.paused and self._in_flight < self._concurrency and self._tokens >= 1.0:
            key = self._pop_ready()
            if key is None:
                break
            entry = self._entries[key]
            entry.state = _State.IN_FLIGHT
            entry.attempts += 1
            if entry.first_started_at is None:
                entry.first_started_at = now
            self._tokens -= 1.0
            self._in_flight += 1
            self._peak_in_flight = max(self._peak_in_flight, self._in_flight)
            started.append(key)
        return started

    def succeeded(self, key: str, now: float) -> None:
        """A key is done, whether its attempt did it or it happened otherwise. Unknown keys are ignored."""
        if self._remove(key):
            self._recovered += 1
            self.recovered_total += 1

    def failed(self, key: str, reason: str, now: float, *, retry: bool = True) -> bool:
        """The attempt under way failed.

        Args:
            key: whose.
            reason: slug.
            now: monotonic seconds.
            retry: whether another attempt could help.

        Returns:
            Whether the key is given up; otherwise it is tried again later.
        """
        entry = self._entries.get(key)
        if entry is None or entry.state is not _State.IN_FLIGHT:
            return False
        spent = now - (entry.first_started_at if entry.first_started_at is not None else now)
        if not retry or entry.attempts >= self._attempts or spent >= self._give_up_after_s:
            self._give_up(key, reason)
            return True
        self._in_flight -= 1
        entry.state = _State.WAITING
        entry.ticket = next(self._tickets)
        ceiling = min(self._backoff_max_s, self._backoff_initial_s * 2 ** (entry.attempts - 1))
        heappush(self._delayed, (now + self._random.uniform(0.0, ceiling), entry.ticket, key))
        return False

    def cancel(self, key: str, reason: str = "cancelled") -> bool:
        """Give a key up at once, waiting or under way. Returns whether it was there."""
        if key not in self._entries:
            return False
        self._give_up(key, reason)
        return True

    def next_timer(self) -> float | None:
        """When :meth:`start_ready` may have something to begin (monotonic seconds), None for not by itself."""
        if self.paused or self._in_flight >= self._concurrency or self._filled_at is None:
            return None
        self._drop_outdated(self._ready)
        self._drop_outdated(self._delayed)
        times = []
        if self._ready:
            times.append(self._filled_at)
        if self._delayed:
            times.append(self._delayed[0][0])
        if not times:
            return None
        next_token_at = self._filled_at + max(0.0, 1.0 - self._tokens) / self._rate
        return max(min(times), next_token_at)

    def progress(self, now: float) -> Progress:
        """How far it is."""
        left = len(self._entries)
        done = self._recovered + self._given_up
        eta_s = None
        if left and done and self._round_began_at is not None and now > self._round_began_at:
            eta_s = left * (now - self._round_began_at) / done
        return Progress(
            total=self._total,
            recovered=self._recovered,
            given_up=self._given_up,
            in_flight=self._in_flight,
            waiting=left - self._in_flight,
            peak_in_flight=self._peak_in_flight,
            eta_s=eta_s if left else 0.0,
        )

    def _begin_round(self, now: float) -> None:
        self._round_began_at = now
        self._total = 0
        self._recovered = 0
        self._given_up = 0
        self._peak_in_flight = 0

    def _give_up(self, key: str, reason: str) -> None:
        self._remove(key)
        self._given_up += 1
        self.given_up_total += 1
        self.reasons[reason] += 1

    def _remove(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        if entry.state is _State.IN_FLIGHT:
            self._in_flight -= 1
        return True

    def _refill(self, now: float) -> None:
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = now

    def _wake_delayed(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, ticket, key = heappop(self._delayed)
            entry = self._entries.get(key)
            if entry is not None and entry.ticket == ticket:
                heappush(self._ready, (entry.priority, ticket, key))

    def _pop_ready(self) -> str | None:
        while self._ready:
            _, ticket, key = heappop(self._ready)
            if self._is_current(key, ticket):
                return key
        return None

    def _is_current(self, key: str, ticket: int) -> bool:
        entry = self._entries.get(key)
        return entry is not None and entry.ticket == ticket and entry.state is _State.WAITING

    def _drop_outdated(self, heap: list[tuple[float, int, str]]) -> None:
        while heap and not self._is_current(heap[0][2], heap[0][1]):
            heappop(heap)
