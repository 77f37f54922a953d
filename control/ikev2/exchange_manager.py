"""Message identifiers, the window, retransmission and repeated answers (RFC 7296 sections 2.1 to 2.3).

The window is one request in each direction: further requests of this side wait in a queue.

A request does not leave at the moment it is asked for, but with :func:`begin_requests`, when all that has arrived has
been dealt with: what many IKE SAs have to do is done one kind of work after the other, which keeps the processor's
caches warm (see docs/decisions/0033-work-in-stages.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from control.ikev2.exchanges.base import Exchange
from control.ikev2.message import EncodedChain, encode_payload_chain, encode_unprotected
from control.ikev2.numbers import ExchangeType
from control.ikev2.payloads import Payload

if TYPE_CHECKING:
    from control.ikev2.environment import Environment
    from control.ikev2.sa import IkeSa

_LAST_MESSAGE_ID = 0xFFFFFFFF
_SENT_SLUGS = {exchange: f"sent-{exchange.name.lower().replace('_', '-')}-request" for exchange in ExchangeType}


class _Outstanding:
    """A request that is not answered yet."""

    __slots__ = ("datagrams", "exchange", "message_id", "next_at", "tries", "waiting_s")

    def __init__(self, exchange: Exchange, message_id: int, datagrams: tuple[bytes, ...], waiting_s: float) -> None:
        self.exchange = exchange
        self.message_id = message_id
        self.datagrams = datagrams
        self.tries = 0
        self.waiting_s = waiting_s
        self.next_at = 0.0


class _Built(NamedTuple):
    """A request that has contents, but neither a header nor protection yet."""

    manager: ExchangeManager
    sa: IkeSa
    exchange: Exchange
    payloads: tuple[Payload, ...]
    now: float


class ExchangeManager:
    """The requests and answers of one IKE SA.

    Attributes:
        expected_id: message identifier of the peer's next request.
        last_response: the answer to the peer's previous request, in fragments if it is large.
    """

    __slots__ = (
        "_is_due",
        "_next_id",
        "_outstanding",
        "_queue",
        "_request_digest",
        "_sa",
        "expected_id",
        "last_response",
    )

    def __init__(self, sa: IkeSa) -> None:
        self._sa: IkeSa | None = sa
        self._next_id = 0
        self._outstanding: _Outstanding | None = None
        self._queue: tuple[Exchange, ...] = ()
        self._is_due = False
        self._request_digest = 0
        self.expected_id = 0
        self.last_response: tuple[bytes, ...] | None = None

    @property
    def current(self) -> Exchange | None:
        """The exchange whose answer is awaited."""
        return None if self._outstanding is None else self._outstanding.exchange

    @property
    def request_datagrams(self) -> tuple[bytes, ...]:
        """The outstanding request as sent, nothing without one."""
        return () if self._outstanding is None else self._outstanding.datagrams

    @property
    def next_at(self) -> float:
        """When the outstanding request has to be repeated or given up, infinity without one."""
        outstanding = self._outstanding
        return math.inf if outstanding is None else outstanding.next_at

    @property
    def waiting(self) -> int:
        """How many exchanges have not begun."""
        return len(self._queue)

    @property
    def is_idle(self) -> bool:
        """Whether no answer is awaited and nothing is about to begin."""
        return self._outstanding is None and not self._queue

    def submit(self, exchange: Exchange, now: float) -> None:
        """Start ``exchange`` with the next :func:`begin_requests` at which the window is open."""
        self._queue = (*self._queue, exchange)
        self.advance(now)

    def pending(self) -> Iterator[Exchange]:
        """The exchange whose answer is awaited, and those that wait for the window."""
        if self._outstanding is not None:
            yield self._outstanding.exchange
        yield from self._queue

    def take_queue(self) -> tuple[Exchange, ...]:
        """Drop the exchanges that have not begun, and return them."""
        queue, self._queue = self._queue, ()
        return queue

    def end_current(self) -> None:
        """Await no answer any more: a verified one has come, or none is of use."""
        self._outstanding = None

    def abandon(self) -> None:
        """Drop all exchanges, begun or not."""
        self._queue = ()
        self._outstanding = None

    def release(self) -> None:
        """Drop all exchanges, for good: the SA is over, and is freed at once if it is not referred to from here."""
        self.abandon()
        self._sa = None

    def restart(self, now: float) -> None:
        """Send the current exchange's request anew, built again, with the same message identifier.

        Only IKE_SA_INIT may do so (RFC 7296 section 2.6).
        """
        if self._outstanding is not None:
            self._next_id = self._outstanding.message_id
            self._queue = (self._outstanding.exchange, *self._queue)
            self._outstanding = None
            self.advance(now)

    def awaited(self, message_id: int, exchange_type: int) -> Exchange | None:
        """The exchange that an answer with this identifier would complete, None if none is expected."""
        outstanding = self._outstanding
        if outstanding is None or outstanding.message_id != message_id:
            return None
        exchange = outstanding.exchange
        return exchange if exchange.exchange_type == exchange_type else None

    def advance(self, now: float) -> None:
        """Have the first waiting exchange begin if the window is open."""
        if self._queue and self._outstanding is None and not self._is_due and self._sa is not None:
            self._is_due = True
            self._sa.environment.due.append((self, now))

    def handle_timer(self, now: float) -> None:
        """Repeat the outstanding request or give up."""
        sa, outstanding = self._sa, self._outstanding
        if sa is None or outstanding is None or now < outstanding.next_at:
            return
        if outstanding.tries < _most_tries(sa, outstanding):
            _transmit(sa, outstanding, now)
            return
        self.abandon()
        sa.environment.count("requests-unanswered")
        sa.peer_unresponsive(now)

    def repeat_at_new_address(self, now: float) -> None:
        """Send the outstanding request at once, its tries counted anew: nobody was asked there yet."""
        sa, outstanding = self._sa, self._outstanding
        if sa is not None and outstanding is not None:
            outstanding.waiting_s = sa.environment.retransmission.initial_s
            outstanding.tries = 1  # so that it counts as repeated
            _transmit(sa, outstanding, now)

    def hasten_failure(self) -> None:
        """Repeat the outstanding request once more at most: there is reason to believe that it will not succeed."""
        if self._sa is not None and self._outstanding is not None:
            self._outstanding.tries = max(self._outstanding.tries, _most_tries(self._sa, self._outstanding) - 1)

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

    def build(self, now: float) -> _Built | None:
        """What the first waiting exchange that still has something to ask for says; None if there is none."""
        self._is_due = False
        while self._queue and self._outstanding is None and (sa := self._sa) is not None:
            exchange, *rest = self._queue
            self._queue = tuple(rest)
            payloads = exchange.build(sa, now)
            if payloads is not None:
                return _Built(self, sa, exchange, payloads, now)
        return None

    def protect(self, built: _Built, encoded: EncodedChain) -> _Outstanding | None:
        """The request as it goes on the wire, awaited from here on; None if no identifier is left for it."""
        sa, exchange, message_id = built.sa, built.exchange, self._next_id
        if message_id >= _LAST_MESSAGE_ID:
            # Identifiers must never wrap (RFC 7296 section 2.2).
            sa.peer_unresponsive(built.now)
            return None
        self._next_id += 1
        kind = exchange.exchange_type
        header = sa.header(kind, message_id, is_response=False)
        if kind is ExchangeType.IKE_SA_INIT:
            datagrams: tuple[bytes, ...] = (encode_unprotected(header, encoded),)
        else:
            datagrams = sa.seal(header, encoded)
        initial_s = sa.environment.retransmission.initial_s
        self._outstanding = outstanding = _Outstanding(exchange, message_id, datagrams, initial_s)
        return outstanding


def begin_requests(environment: Environment) -> None:
    """Send the first waiting request of each IKE SA whose window is open."""
    while environment.due:
        due, environment.due = environment.due, []
        built = [each for manager, now in due if (each := manager.build(now)) is not None]
        encoded = [encode_payload_chain(each.payloads) for each in built]
        outstanding = [each.manager.protect(each, chain) for each, chain in zip(built, encoded, strict=True)]
        for each, request in zip(built, outstanding, strict=True):
            if request is not None:
                _transmit(each.sa, request, each.now)


def _most_tries(sa: IkeSa, outstanding: _Outstanding) -> int:
    handshake = sa.handshake
    if outstanding.exchange.exchange_type is ExchangeType.IKE_SA_INIT and handshake and handshake.init_tries:
        return handshake.init_tries
    return sa.environment.retransmission.tries


def _transmit(sa: IkeSa, outstanding: _Outstanding, now: float) -> None:
    environment = sa.environment
    sa.send(outstanding.datagrams, sa.local, sa.remote, now)
    slug = "retransmissions" if outstanding.tries else _SENT_SLUGS[outstanding.exchange.exchange_type]
    environment.statistics[slug] += 1
    outstanding.tries += 1
    policy = environment.retransmission
    outstanding.next_at = now + outstanding.waiting_s * (1 + policy.jitter * environment.fraction())
    outstanding.waiting_s *= policy.base
    environment.timers.bring_forward(sa, outstanding.next_at)
