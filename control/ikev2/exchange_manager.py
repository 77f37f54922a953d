"""Message identifiers, the window, retransmission and repeated answers (RFC 7296 sections 2.1 to 2.3).

The window is one request in each direction: further requests of this side wait in a queue.

A request does not leave at the moment it is asked for, but with :func:`begin_requests`, when all that has arrived has
been dealt with: what many IKE SAs have to do is done one kind of work after the other, which keeps the processor's
caches warm (see docs/decisions/0033-work-in-stages.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from control.ikev2.exchanges.base import Exchange
from control.ikev2.message import encode_unprotected
from control.ikev2.numbers import ExchangeType
from control.ikev2.payload_chain import EncodedChain, encode_payload_chain
from control.ikev2.payloads import Payload

if TYPE_CHECKING:
    from control.ikev2.environment import Environment
    from control.ikev2.sa import IkeSa

_NEVER = math.inf
_LAST_MESSAGE_ID = 0xFFFFFFFF
_SENT_SLUGS = {exchange: f"sent-{exchange.name.lower().replace('_', '-')}-request" for exchange in ExchangeType}

_Built = tuple[Exchange, tuple[Payload, ...]]
"""An exchange and the contents of its request, which has neither a header nor protection yet."""


class ExchangeManager:
    """The requests and answers of one IKE SA.

    Attributes:
        current: the exchange whose answer is awaited, None without one.
        request_datagrams: its request as sent, nothing without one.
        next_at: when that has to be repeated or given up, infinity without one.
        expected_id: message identifier of the peer's next request.
        last_response: the answer to the peer's previous request, in fragments if it is large.
    """

    __slots__ = (
        "_is_due",
        "_next_id",
        "_queue",
        "_request_digest",
        "_sa",
        "_tries",
        "_waiting_s",
        "current",
        "expected_id",
        "last_response",
        "next_at",
        "request_datagrams",
    )

    def __init__(self, sa: IkeSa) -> None:
        self._sa: IkeSa | None = sa
        self._next_id = 0
        self._tries = 0
        self._waiting_s = 0.0
        self._queue: tuple[Exchange, ...] = ()
        self._is_due = False
        self._request_digest = 0
        self.current: Exchange | None = None
        self.request_datagrams: tuple[bytes, ...] = ()
        self.next_at = _NEVER
        self.expected_id = 0
        self.last_response: tuple[bytes, ...] | None = None

    @property
    def waiting(self) -> int:
        """How many exchanges have not begun."""
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is awaited and nothing is about to begin."""
        return self.current is None and not self._queue

    def submit(self, exchange: Exchange, now: float) -> None:
        """Start ``exchange`` with the next :func:`begin_requests` at which the window is open."""
        self._queue += (exchange,)
        self.advance(now)

    def pending(self) -> Iterator[Exchange]:
        """The exchange whose answer is awaited, and those that wait for the window."""
        if self.current is not None:
            yield self.current
        yield from self._queue

    def take_queue(self) -> tuple[Exchange, ...]:
        """Drop the exchanges that have not begun, and return them."""
        queue, self._queue = self._queue, ()
        return queue

    def end_current(self) -> None:
        """Await no answer any more: a verified one has come, or none is of use."""
        self.current = None
        self.request_datagrams = ()
        self.next_at = _NEVER

    def abandon(self) -> None:
        """Drop all exchanges, begun or not."""
        self._queue = ()
        self.end_current()

    def release(self) -> None:
        """Drop all exchanges, for good: the SA is over, and is freed at once if it is not referred to from here."""
        self.abandon()
        self._sa = None

    def restart(self, now: float) -> None:
        """Send the current exchange's request anew, built again, with the same message identifier.

        Only IKE_SA_INIT may do so (RFC 7296 section 2.6).
        """
        if self.current is not None:
            self._next_id -= 1
            self._queue = (self.current, *self._queue)
            self.end_current()
            self.advance(now)

    def awaited(self, message_id: int, exchange_type: int) -> Exchange | None:
        """The exchange that an answer with this identifier would complete, None if none is expected."""
        exchange = self.current
        if exchange is None or message_id != self._next_id - 1 or exchange.exchange_type != exchange_type:
            return None
        return exchange

    def advance(self, now: float) -> None:
        """Have the first waiting exchange begin if the window is open."""
        if self._queue and self.current is None and not self._is_due and self._sa is not None:
            self._is_due = True
            self._sa.environment.due.append((self._sa, now))

    def handle_timer(self, now: float) -> None:
        """Repeat the current exchange's request or give up."""
        sa = self._sa
        if sa is None or now < self.next_at:
            return
        if self._tries < self._most_tries(sa):
            self._transmit(sa, "retransmissions", now)
            return
        self.abandon()
        sa.environment.count("requests-unanswered")
        sa.peer_unresponsive(now)

    def repeat_at_new_address(self, now: float) -> None:
        """Send the current exchange's request at once, its tries counted anew: nobody was asked there yet."""
        sa = self._sa
        if sa is not None and self.current is not None:
            self._waiting_s = sa.environment.retransmission.initial_s
            self._tries = 1  # the first time was elsewhere
            self._transmit(sa, "retransmissions", now)

    def hasten_failure(self) -> None:
        """Repeat the request once more at most: there is reason to believe that it will not succeed."""
        if self._sa is not None:
            self._tries = max(self._tries, self._most_tries(self._sa) - 1)

    def is_repetition(self, data: bytes) -> bool:
        """Whether ``data`` is the peer's previous request or its first fragment, bit for bit."""
        return self.last_response is not None and hash(data) == self._request_digest

    def answered(self, request: bytes, response: tuple[bytes, ...]) -> None:
        """Remember the answer to the peer's request; the digest is keyed by the interpreter's hash seed.

        Args:
            request: the datagram of the request, the first one of those of a request in fragments.
            response: the datagrams of the answer.
        """
        self._request_digest = hash(request)
        self.last_response = response
        self.expected_id += 1

    def build(self, sa: IkeSa, now: float) -> _Built | None:
        """What the first waiting exchange that still has something to ask for says; None if there is none."""
        self._is_due = False
        while self._queue and self.current is None:
            exchange, self._queue = self._queue[0], self._queue[1:]
            payloads = exchange.build(sa, now)
            if payloads is not None:
                return exchange, payloads
        return None

    def begin(self, sa: IkeSa, exchange: Exchange, encoded: EncodedChain, now: float) -> None:
        """Give the request header and protection, send it and await its answer from here on."""
        message_id, kind = self._next_id, exchange.exchange_type
        if message_id >= _LAST_MESSAGE_ID:
            # Identifiers must never wrap (RFC 7296 section 2.2).
            sa.peer_unresponsive(now)
            return
        self._next_id = message_id + 1
        header = sa.header(kind, message_id, is_response=False)
        if kind is ExchangeType.IKE_SA_INIT:
            self.request_datagrams = (encode_unprotected(header, encoded),)
        else:
            self.request_datagrams = sa.seal(header, encoded)
        self.current = exchange
        self._tries = 0
        self._waiting_s = sa.environment.retransmission.initial_s
        self._transmit(sa, _SENT_SLUGS[kind], now)

    def _transmit(self, sa: IkeSa, slug: str, now: float) -> None:
        environment = sa.environment
        environment.statistics[slug] += 1
        sa.send(self.request_datagrams, sa.local, sa.remote, now)
        policy = environment.retransmission
        self._tries += 1
        self.next_at = now + self._waiting_s * (1 + policy.jitter * environment.fraction())
        self._waiting_s *= policy.base
        environment.timers.bring_forward(sa, self.next_at)

    def _most_tries(self, sa: IkeSa) -> int:
        tries = sa.handshake.init_tries if sa.handshake is not None else None
        is_init = self.current is not None and self.current.exchange_type is ExchangeType.IKE_SA_INIT
        return tries if tries and is_init else sa.environment.retransmission.tries


def begin_requests(environment: Environment) -> None:
    """Send the first waiting request of each IKE SA whose window is open."""
    while environment.due:
        due, environment.due = environment.due, []
        built = [(sa, each, now) for sa, now in due if (each := sa.exchanges.build(sa, now)) is not None]
        encoded = [encode_payload_chain(payloads) for _, (_, payloads), _ in built]
        for (sa, (exchange, _), now), chain in zip(built, encoded, strict=True):
            sa.exchanges.begin(sa, exchange, chain, now)
