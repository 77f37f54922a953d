"""One entry of the Binding Update List: the node's registration with one home agent (RFC 6275 sections 11.1, 11.7).

The entry decides when a Binding Update is due, numbers it, judges the acknowledgement and knows until when the binding
holds. Whoever owns it builds the packet.

===========  ==============================  ===========  =======================
state        happening                       next state   step
===========  ==============================  ===========  =======================
UPDATING     timer, attempts left            UPDATING     SEND (timeout doubled)
UPDATING     timer, attempts spent           ENDED        UNANSWERED
ENDED        new try asked for               UPDATING     SEND
UPDATING     accepted                        REGISTERED   -
UPDATING     refused                         ENDED        -
UPDATING     accepted, but for no router     LEAVING      SEND
REGISTERED   refresh is due                  UPDATING     SEND
any          de-registration asked for       LEAVING      SEND
LEAVING      timer, attempts left            LEAVING      SEND (timeout doubled)
LEAVING      accepted                        ENDED        -
LEAVING      timer, attempts spent           ENDED        LEFT_UNANSWERED
===========  ==============================  ===========  =======================

A binding in force keeps its own clock beside the state: it ends with EXPIRED in whatever state.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv6Address
from random import Random

from control.mobile_node.mobile_network import MobileNetwork
from control.mobility.messages import BindingAcknowledgement, BindingUpdate
from control.mobility.messages.binding_acknowledgement import BindingAcknowledgementStatus
from control.mobility.numbers import (
    INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION_S,
    INITIAL_BINDACK_TIMEOUT_S,
    LIFETIME_UNIT_S,
    MAX_BINDACK_TIMEOUT_S,
    MAX_LIFETIME_UNITS,
    MAX_UPDATE_RATE,
)
from control.mobility.options import AlternateCareOfAddress, BindingRefreshAdvice, find_option

_SEQUENCE_NUMBERS = 1 << 16
_REFRESH_SHARE = (0.70, 0.80)
"""Share of the lifetime after which a binding is refreshed: early enough for a whole series of retransmissions, and
spread so that the nodes of one home agent do not come at the same moment."""


@dataclass(frozen=True, slots=True)
class RegistrationTimers:
    """Retransmission of Binding Updates (RFC 6275 sections 11.8 and 13), all in seconds.

    Attributes:
        first_initial_s: InitialBindackTimeoutFirstReg, for the first registration with a home agent.
        initial_s: INITIAL_BINDACK_TIMEOUT, for every other one.
        maximum_s: MAX_BINDACK_TIMEOUT.
        attempts: messages sent before the home agent counts as gone.
        leaving_attempts: messages sent before a de-registration counts as done all the same.
    """

    first_initial_s: float = INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION_S
    initial_s: float = INITIAL_BINDACK_TIMEOUT_S
    maximum_s: float = MAX_BINDACK_TIMEOUT_S
    attempts: int = 5
    leaving_attempts: int = 3


class SequenceCounter:
    """The sequence numbers of a node's Binding Updates, shared by all its registrations.

    A home agent that takes a node over may know the last number its predecessor accepted, so the numbers go on rising
    from one home agent to the next.
    """

    __slots__ = ("last",)

    def __init__(self, last: int) -> None:
        self.last = last % _SEQUENCE_NUMBERS

    def next(self) -> int:
        """The next number, modulo 2**16."""
        self.last = (self.last + 1) % _SEQUENCE_NUMBERS
        return self.last


class RegistrationState(Enum):
    """How a registration stands."""

    UPDATING = auto()
    REGISTERED = auto()
    LEAVING = auto()
    ENDED = auto()


class Step(Enum):
    """What the owner of a registration has to do when a timer has run out."""

    SEND = auto()
    UNANSWERED = auto()
    LEFT_UNANSWERED = auto()
    EXPIRED = auto()


class Verdict(Enum):
    """What a Binding Acknowledgement meant."""

    ACCEPTED = auto()
    DEREGISTERED = auto()
    RESEND = auto()
    REFUSED = auto()
    NO_ROUTERS = auto()
    """The home agent knows no mobile routers (RFC 3963 section 5.3): the node leaves it."""
    UNEXPECTED = auto()


class Registration:
    """A registration with one home agent, from its first Binding Update to its end.

    Attributes:
        home_agent: the home agent's address.
        home_address: the registered home address.
        state: see the module's table.
        expires_at: monotonic seconds when the binding in force ends; None while there is none.
        granted_s: lifetime the last acknowledgement granted.
        answered_after_s: seconds from the Binding Update it answered to that acknowledgement.
    """

    __slots__ = (
        "_attempts",
        "_counter",
        "_lifetime_units",
        "_mobile_network",
        "_outstanding",
        "_random",
        "_refresh_at",
        "_retransmit_at",
        "_sent",
        "_timeout",
        "_timers",
        "answered_after_s",
        "expires_at",
        "granted_s",
        "home_address",
        "home_agent",
        "state",
    )

    def __init__(
        self,
        home_agent: IPv6Address,
        home_address: IPv6Address,
        lifetime_s: float,
        counter: SequenceCounter,
        timers: RegistrationTimers,
        random: Random,
        now: float,
        mobile_network: MobileNetwork | None = None,
    ) -> None:
        """A registration whose first Binding Update is due at once.

        Args:
            home_agent: the home agent's address.
            home_address: the address to register.
            lifetime_s: lifetime to ask for; rounded to the protocol's units of 4 seconds, at least one.
            counter: the node's sequence numbers.
            timers: retransmission.
            random: jitter of refreshes.
            now: monotonic seconds.
            mobile_network: what is behind a mobile router.
        """
        self.home_agent = home_agent
        self.home_address = home_address
        self.state = RegistrationState.UPDATING
        self.expires_at: float | None = None
        self.granted_s = 0.0
        self.answered_after_s = 0.0
        self._lifetime_units = max(1, min(round(lifetime_s / LIFETIME_UNIT_S), MAX_LIFETIME_UNITS))
        self._counter = counter
        self._mobile_network = mobile_network
        self._timers = timers
        self._random = random
        # Sequence numbers of this series of messages with the time each was sent.
        self._outstanding: dict[int, float] = {}
        self._attempts = 0
        # Times of the latest messages.
        self._sent: deque[float] = deque(maxlen=MAX_UPDATE_RATE)
        self._timeout = timers.first_initial_s
        self._retransmit_at: float | None = now
        self._refresh_at: float | None = None

    @property
    def in_force(self) -> bool:
        """Whether an acknowledged binding holds."""
        return self.expires_at is not None

    @property
    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        times = [at for at in (self._retransmit_at, self._refresh_at, self.expires_at) if at is not None]
        return min(times) if times else None

    def update_now(self, now: float) -> None:
        """Begin a series of Binding Updates at once: a refresh, or a new try with a home agent that was silent."""
        self.state = RegistrationState.UPDATING
        self._begin(self._timers.initial_s if self.in_force else self._timers.first_initial_s, now)

    def moved(self, now: float) -> None:
        """Begin the series of messages under way, or a new one, from another care-of address.

        A home agent that was silent may be reachable from there.
        """
        if self._leaving:
            self._begin(self._timers.initial_s, now)
        else:
            self.update_now(now)

    def leave(self, now: float) -> None:
        """Begin to de-register: Binding Updates with lifetime zero."""
        if self.state in (RegistrationState.LEAVING, RegistrationState.ENDED):
            return
        self.state = RegistrationState.LEAVING
        self._begin(self._timers.initial_s, now)

    def handle_timer(self, now: float) -> list[Step]:
        """What is due."""
        steps: list[Step] = []
        if self.expires_at is not None and now >= self.expires_at:
            self.expires_at = None
            steps.append(Step.EXPIRED)
        if self._refresh_at is not None and now >= self._refresh_at and self.state is RegistrationState.REGISTERED:
            self.update_now(now)
        if self._retransmit_at is not None and now >= self._retransmit_at:
            steps.append(self._retransmit())
        return steps

    def binding_update(self, care_of_address: IPv6Address, now: float) -> BindingUpdate:
        """The Binding Update to send now; the retransmission timer starts (RFC 6275 section 11.7.1).

        ESP does not protect the IPv6 header, so the care-of address stands in an option as well. The K bit is set: the
        node's IKE SAs follow it (RFC 6275 section 11.7.1).
        """
        self._sent.append(now)
        sequence_number = self._counter.next()
        self._outstanding[sequence_number] = now
        self._attempts += 1
        self._retransmit_at = now + self._timeout
        self._timeout = min(2 * self._timeout, self._timers.maximum_s)
        network = self._mobile_network
        prefixes = network.options if network is not None and not self._leaving else ()
        return BindingUpdate(
            sequence_number=sequence_number,
            acknowledge=True,
            home_registration=True,
            link_local=False,
            key_management=True,
            mobile_router=network is not None,
            lifetime_units=0 if self._leaving else self._lifetime_units,
            options=(AlternateCareOfAddress(care_of_address), *prefixes),
        )

    def acknowledge(self, message: BindingAcknowledgement, now: float) -> Verdict:
        """Judge a Binding Acknowledgement that came under this home agent's ESP (RFC 6275 section 11.7.3)."""
        if self.state not in (RegistrationState.UPDATING, RegistrationState.LEAVING):
            return Verdict.UNEXPECTED
        if message.status == BindingAcknowledgementStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW:
            # The acknowledgement carries the last number the home agent accepted.
            if self._attempts >= self._timers.attempts:
                return Verdict.UNEXPECTED
            self._counter.last = message.sequence_number
            self._retransmit_at = now
            return Verdict.RESEND
        sent_at = self._outstanding.get(message.sequence_number)
        if sent_at is None:
            return Verdict.UNEXPECTED
        if self._leaving:
            self._end()
            return Verdict.DEREGISTERED
        if not message.accepted:
            self._end()
            return Verdict.REFUSED
        if self._mobile_network is not None and not message.mobile_router:
            self.expires_at = None
            self.leave(now)
            return Verdict.NO_ROUTERS
        self._accept(message, sent_at, now)
        return Verdict.ACCEPTED

    @property
    def _leaving(self) -> bool:
        return self.state is RegistrationState.LEAVING

    def _retransmit(self) -> Step:
        if self._attempts < (self._timers.leaving_attempts if self._leaving else self._timers.attempts):
            return Step.SEND
        if self._leaving:
            self._end()
            return Step.LEFT_UNANSWERED
        # A binding in force outlives an unanswered refresh until its own lifetime is over.
        self._stop_sending()
        return Step.UNANSWERED

    def _begin(self, timeout: float, now: float) -> None:
        self._outstanding.clear()
        self._attempts = 0
        self._timeout = timeout
        # However fast the node moves, it must not send more (RFC 6275 section 11.8).
        is_quick = len(self._sent) == MAX_UPDATE_RATE
        self._retransmit_at = max(now, self._sent[0] + 1.0) if is_quick else now
        self._refresh_at = None

    def _accept(self, message: BindingAcknowledgement, sent_at: float, now: float) -> None:
        """The binding holds, counted from when the update was sent: the home agent's own clock started later."""
        granted = float(message.lifetime_seconds)
        self.state = RegistrationState.REGISTERED
        self.granted_s = granted
        self.answered_after_s = now - sent_at
        self.expires_at = sent_at + granted
        self._outstanding.clear()
        self._retransmit_at = None
        interval = granted * self._random.uniform(*_REFRESH_SHARE)
        advice = find_option(message.options, BindingRefreshAdvice)
        if advice is not None:
            interval = min(interval, float(max(1, advice.refresh_interval_units) * LIFETIME_UNIT_S))
        self._refresh_at = max(now, sent_at + interval)

    def _stop_sending(self) -> None:
        self.state = RegistrationState.ENDED
        self._outstanding.clear()
        self._retransmit_at = None
        self._refresh_at = None

    def _end(self) -> None:
        self._stop_sending()
        self.expires_at = None


def status_slug(status: int) -> str:
    """A stable name for the status of a Binding Acknowledgement."""
    try:
        return BindingAcknowledgementStatus(status).name.lower().replace("_", "-")
    except ValueError:
        return f"status-{status}"
