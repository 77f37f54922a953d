"""One survivor in virtual time: the real scheduler and policies, a CPU with a queue before it, a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random

import msgspec

from bench.rehearsal.cost_model import EXCHANGES, CostModel
from bench.rehearsal.options import FailoverOptions
from control.bootstrap.job import init_tries
from control.config.bootstrap_settings import BootstrapSettings
from control.daemon.scheduling import scheduler_of
from control.ikev2.policy import RetransmissionPolicy

# The exchange from which on the node has proved its identity: IKE_SA_INIT and IKE_AUTH are before it.
_PROVED = 2
_LAG_INTERVAL_S = 0.05
_SAMPLE_INTERVAL_S = 0.25
# A Binding Update waits for the turn of IKE that it comes in, and for one more when the store has it.
_TURNS_BEFORE_OTHERS_S = 0.01
# While nodes are brought back: half a round of the packet loop, and what the store gathers.
_GATHERED_S = 0.004 + 0.020


@dataclass(frozen=True, slots=True)
class VirtualSample:
    """The survivor at one moment, so many seconds after the claim."""

    at: float
    recovered: int
    in_flight: int
    limit: int
    cpu_s: float


@dataclass(slots=True)
class VirtualResult:
    """What one survivor did; times in seconds since the claim."""

    nodes: int
    recovered_at: list[float] = field(default_factory=list)
    settled_at: float = 0.0
    handshakes_s: list[float] = field(default_factory=list)
    background: list[tuple[float, float]] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    failed_attempts: int = 0
    retransmissions: int = 0
    peak_in_flight: int = 0
    cpu_s: float = 0.0
    samples: list[VirtualSample] = field(default_factory=list)


class VirtualSurvivor:
    """Brings its nodes back; use `run` once."""

    def __init__(self, options: FailoverOptions, model: CostModel, nodes: int, unreachable: int, seed: int) -> None:
        """Nodes claimed at time 0.

        Args:
            options: network, policy and bounds.
            model: costs.
            nodes: how many were claimed.
            unreachable: how many of them never answer.
            seed: of losses, delays and which nodes those are.
        """
        settings = msgspec.convert(options.bootstrap, BootstrapSettings)
        self._options = options
        self._model = model
        self._random = Random(seed)
        self._unreachable = frozenset(map(str, self._random.sample(range(nodes), unreachable)))
        self._scheduler = scheduler_of(settings, self._random)
        self._retransmission = RetransmissionPolicy()
        delivered = 1 - options.loss_percent / 100
        self._lost = 1 - delivered * delivered
        self._cpu_free_at = 0.0
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._wake_at = float("inf")
        self._began: dict[str, float] = {}
        self._result = VirtualResult(nodes)
        for index in range(nodes):
            self._scheduler.submit(str(index), 0.0, 0.0)

    def run(self) -> VirtualResult:
        """Let time pass until every node is back or given up."""
        self._at(0.0, self._observe_lag)
        self._at(0.0, self._sample)
        if self._options.background_bu_rate_per_s:
            self._at(0.0, self._serve_another)
        self._start(0.0)
        while self._left:
            now, _, action = heappop(self._events)
            action(now)
            self._start(now)
        result, progress = self._result, self._scheduler.progress(self._cpu_free_at)
        result.reasons = dict(self._scheduler.reasons)
        result.peak_in_flight = progress.peak_in_flight
        return result

    @property
    def _left(self) -> bool:
        return self._scheduler.recovered_total + self._scheduler.given_up_total < self._result.nodes

    def _at(self, when: float, action: Callable[[float], None]) -> None:
        heappush(self._events, (when, next(self._order), action))

    def _work(self, now: float, seconds: float) -> float:
        """Have the CPU do something after all it has to do already; when it is done."""
        self._cpu_free_at = max(self._cpu_free_at, now) + seconds
        self._result.cpu_s += seconds
        return self._cpu_free_at

    def _start(self, now: float) -> None:
        if now >= self._wake_at:
            self._wake_at = float("inf")
        for key in self._scheduler.start_ready(now):
            self._began[key] = now
            self._exchange(key, 0, now)
        due = self._scheduler.next_timer()
        if due is not None and now < due < self._wake_at:
            self._wake_at = due
            self._at(due, lambda _: None)

    def _exchange(self, key: str, number: int, now: float) -> None:
        """Send a request, again and again if need be; have its answer arrive, or the attempt fail."""
        sent_at = self._work(now, self._model.exchange_s)
        policy, wait_s = self._retransmission, self._retransmission.initial_s
        attempt = self._scheduler.attempt(key)
        tries = policy.tries if number else init_tries(attempt, policy.tries)
        for left in reversed(range(tries)):
            timeout_s = wait_s * (1 + self._random.random() * policy.jitter)
            if key not in self._unreachable and self._random.random() >= self._lost:
                way_s = (self._options.rtt_ms + self._random.random() * self._options.jitter_ms) / 1000
                answer = _Answer(self, key, number, sent_at, timeout_s, left)
                self._at(sent_at + way_s + self._model.node_s, answer.arrived)
                return
            sent_at += timeout_s
            wait_s *= policy.base
            self._result.retransmissions += 1
            self._at(sent_at, self._repeat)
        self._at(sent_at, lambda now: self._failed(key, number, now))

    def _repeat(self, now: float) -> None:
        self._work(now, self._model.retransmission_s)

    def answered(self, key: str, number: int, sent_at: float, timeout_s: float, left: int, now: float) -> None:
        """An answer has come; the CPU gets to it when it gets to it, and repeats the request meanwhile, or gives up."""
        while max(self._cpu_free_at, now) > sent_at + timeout_s:
            sent_at += timeout_s
            if not left:
                self._at(max(now, sent_at), lambda now: self._failed(key, number, now))
                return
            left -= 1
            timeout_s *= self._retransmission.base
            self._result.retransmissions += 1
            self._work(now, self._model.retransmission_s)
        if number + 1 < EXCHANGES:
            if number + 2 == EXCHANGES:
                self._result.handshakes_s.append(max(self._cpu_free_at, now) - self._began[key])
            self._exchange(key, number + 1, now)
        else:
            self._at(max(self._cpu_free_at, now), lambda now: self._succeeded(key, now))

    def _succeeded(self, key: str, now: float) -> None:
        self._scheduler.succeeded(key, now)
        self._result.recovered_at.append(now)
        self._result.settled_at = now

    def _failed(self, key: str, number: int, now: float) -> None:
        self._result.failed_attempts += 1
        if self._scheduler.failed(key, "timeout", now, answered=number >= _PROVED):
            self._result.settled_at = now

    def _serve_another(self, now: float) -> None:
        """A Binding Update of a node that the failure does not concern."""
        waits_s = min(max(0.0, self._cpu_free_at - now), _TURNS_BEFORE_OTHERS_S)
        self._work(now, self._model.exchange_s)
        if self._scheduler.progress(now).in_flight:
            waits_s += _GATHERED_S
        answered_s = waits_s + self._model.exchange_s + self._options.rtt_ms / 1000
        self._result.background.append((now + answered_s, answered_s))
        self._at(now + 1 / self._options.background_bu_rate_per_s, self._serve_another)

    def _observe_lag(self, now: float) -> None:
        self._scheduler.observe_lag(max(0.0, self._cpu_free_at - now))
        self._at(now + _LAG_INTERVAL_S, self._observe_lag)

    def _sample(self, now: float) -> None:
        progress, result = self._scheduler.progress(now), self._result
        ahead_s = max(0.0, self._cpu_free_at - now)
        result.samples.append(
            VirtualSample(now, progress.recovered, progress.in_flight, progress.limit, result.cpu_s - ahead_s)
        )
        self._at(now + _SAMPLE_INTERVAL_S, self._sample)


@dataclass(frozen=True, slots=True)
class _Answer:
    survivor: VirtualSurvivor
    key: str
    number: int
    sent_at: float
    timeout_s: float
    left: int

    def arrived(self, now: float) -> None:
        self.survivor.answered(self.key, self.number, self.sent_at, self.timeout_s, self.left, now)
