"""Binding Updates in, Binding Acknowledgements out, with the store in between (RFC 6275 sections 9.5 and 10.3)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from ipaddress import IPv6Address

from msgspec.structs import replace

from control.home_agent.home_links import Detection, HomeLinks
from control.home_agent.signalling import Outgoing, ProtectedSignalling, Protection
from control.ipsec.errors import EspError
from control.mobility.binding_cache import Binding
from control.mobility.home_registration import NOTHING_TO_DELETE, Change, HomeRegistration, RegistrationOutcome
from control.mobility.messages import (
    BindingAcknowledgement,
    BindingAcknowledgementStatus,
    BindingUpdate,
    MobilityMessage,
)
from control.mobility.sequence_number import is_newer
from control.records import Record


class PendingRegistration(Record, frozen=True):
    """A Binding Update that was accepted but has to be stored before it is acknowledged.

    Attributes:
        identity: who sent it, as authenticated by IKEv2.
        home_address: the node's home address.
        outcome: what the registration rules made of it.
        reply_to: the care-of address the acknowledgement goes to.
        received_at: when it came, monotonic seconds.
    """

    identity: str
    home_address: IPv6Address
    outcome: RegistrationOutcome
    reply_to: IPv6Address
    received_at: float


class _Received(Record, frozen=True):
    """A Binding Update to decide on, perhaps not before it is known whether somebody else uses the home address."""

    message: BindingUpdate
    identity: str
    home_address: IPv6Address
    care_of_address: IPv6Address
    received_at: float
    wall: float


class Registrations:
    """Applies the rules of home registration and holds accepted updates until they are stored.

    Attributes:
        rules: they decide.
        home_links: where home addresses may be in use by others.
        statistics: refusals by slug.
        messages: Mobility Header messages by direction, type and status.
        observe_refusal: told of each Binding Update that changes nothing: node, home address, care-of address, slug of
            the reason, monotonic seconds.
    """

    def __init__(self, rules: HomeRegistration, signalling: ProtectedSignalling, home_links: HomeLinks) -> None:
        self.rules = rules
        self.statistics: Counter[str] = Counter()
        self.messages: Counter[tuple[str, str, str]] = Counter()
        self.observe_refusal: Callable[[str, IPv6Address, IPv6Address, str, float], None] = _ignore
        self._signalling = signalling
        self.home_links = home_links
        self._is_taken_over: Callable[[str, IPv6Address], bool] = _never
        self._received: list[_Received] = []
        self._undetected: dict[IPv6Address, _Received] = {}
        self._pending: dict[IPv6Address, PendingRegistration] = {}
        self._storing: dict[IPv6Address, PendingRegistration] = {}
        self._unsent: list[tuple[MobilityMessage, IPv6Address, Protection]] = []

    def attach(self, is_taken_over: Callable[[str, IPv6Address], bool]) -> None:
        """Once, before any input.

        Args:
            is_taken_over: whether the home address of a node was another home agent's to defend until now.
        """
        self._is_taken_over = is_taken_over

    def receive(
        self,
        message: MobilityMessage,
        identity: str,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        now: float,
        wall: float,
    ) -> None:
        """A message that came under the security association of ``identity``; :meth:`decide` acts upon it."""
        self.messages["in", _type_name(type(message).__name__), ""] += 1
        if not isinstance(message, BindingUpdate):
            self.statistics["unexpected-message"] += 1
            return
        self._received.append(_Received(message, identity, home_address, care_of_address, now, wall))

    def resume(self, now: float) -> None:
        """Go on with those that waited for duplicate address detection, where that has ended."""
        finished = self.home_links.finished()
        for home_address in finished:
            update = self._undetected.pop(home_address, None)
            if update is not None:
                self._received.append(update)
        self.decide(now)
        for home_address in finished:
            self.home_links.forget_result(home_address)

    def decide(self, now: float) -> None:
        """Decide on all that has been received."""
        if not self._received:
            return
        received, self._received = self._received, []
        process = self.rules.process
        outcomes = []
        for each in received:
            wall = each.wall + (now - each.received_at)
            outcomes.append(process(each.message, each.home_address, each.care_of_address, each.identity, wall))
        for update, outcome in zip(received, outcomes, strict=True):
            self._act_upon(update, outcome, now)

    def _act_upon(self, update: _Received, outcome: RegistrationOutcome, now: float) -> None:
        home_address, care_of_address, identity = update.home_address, update.care_of_address, update.identity
        if outcome.change is Change.NONE:
            if outcome.reason == NOTHING_TO_DELETE and self._is_being_registered(outcome):
                self.statistics["overtaken"] += 1
                return
            self.statistics[outcome.reason] += 1
            self.observe_refusal(identity, home_address, care_of_address, outcome.reason, now)
            self._acknowledge(outcome, home_address, care_of_address, now)
            return
        if self._has_to_wait(outcome, update, now):
            return
        registration = PendingRegistration(identity, home_address, outcome, care_of_address, update.received_at)
        earlier = self._pending.setdefault(home_address, registration)
        if earlier is registration:
            return
        if is_newer(outcome.sequence_number, earlier.outcome.sequence_number):
            self._pending[home_address] = registration
        else:
            self.statistics["overtaken"] += 1

    def _is_being_registered(self, outcome: RegistrationOutcome) -> bool:
        """Whether the node deletes what it has just asked for, which must not come about (RFC 6275 section 10.3.2).

        What waits for duplicate address detection is dropped. What the store has already comes about, and goes when
        the node, left without an answer, repeats its request.
        """
        home_address, number = outcome.home_address, outcome.sequence_number
        waiting = self._undetected.get(home_address)
        if waiting is not None and is_newer(number, waiting.message.sequence_number):
            del self._undetected[home_address]
        pending = self._pending.get(home_address) or self._storing.get(home_address)
        return pending is not None and is_newer(number, pending.outcome.sequence_number)

    def _has_to_wait(self, outcome: RegistrationOutcome, update: _Received, now: float) -> bool:
        """RFC 6275 section 10.3.1: a home agent that begins to serve an address looks first whether it is in use."""
        home_address = update.home_address
        if outcome.change is not Change.INSTALL or outcome.previous is not None:
            return False
        if self._is_taken_over(update.identity, home_address):
            return False
        if self.home_links.detect(home_address, update.message.link_local, now) is not Detection.RUNNING:
            return False
        earlier = self._undetected.get(home_address)
        if earlier is None or is_newer(update.message.sequence_number, earlier.message.sequence_number):
            self._undetected[home_address] = update
        return True

    def pending(self) -> list[PendingRegistration]:
        """What has to be stored now, one per home address; each is then :meth:`stored` or :meth:`not_stored`."""
        pending = list(self._pending.values())
        self._storing.update(self._pending)
        self._pending.clear()
        return pending

    def stored(self, registrations: Iterable[PendingRegistration], now: float) -> list[PendingRegistration]:
        """The store has them: they take effect and are acknowledged. Returns those that did take effect."""
        effective = []
        for registration in registrations:
            self._no_longer_storing(registration)
            if self.rules.commit(registration.outcome):
                effective.append(registration)
        for registration in effective:
            self._acknowledge(registration.outcome, registration.home_address, registration.reply_to, now)
        return effective

    def not_stored(self, registration: PendingRegistration) -> None:
        """The store refused it: silence, so that the node repeats (RFC 6275 section 11.8)."""
        self._no_longer_storing(registration)
        self.statistics["not-stored"] += 1

    def no_room(self, registration: PendingRegistration, now: float) -> None:
        """The data path is full: refused, so that the node asks another home agent (RFC 6275 section 9.5.1).

        Admission by ``rules`` comes first; this is for what came at the same moment as the last that fitted.
        """
        self._no_longer_storing(registration)
        self.statistics["insufficient-resources"] += 1
        refusal = BindingAcknowledgement(
            BindingAcknowledgementStatus.INSUFFICIENT_RESOURCES, registration.outcome.sequence_number
        )
        outcome = replace(registration.outcome, acknowledgement=refusal, change=Change.NONE)
        self._acknowledge(outcome, registration.home_address, registration.reply_to, now)

    def packets_to_send(self) -> list[Outgoing]:
        """What is to be sent, drained: all messages are encoded, then all are protected."""
        unsent, self._unsent = self._unsent, []
        encode = self._signalling.encode
        encoded = [encode(message, home_address) for message, home_address, _ in unsent]
        packets: list[Outgoing] = []
        for (message, _, protect), header in zip(unsent, encoded, strict=True):
            try:
                packets.append(protect(header))
            except EspError as error:
                self.statistics[error.reason] += 1
                continue
            status = str(int(message.status)) if isinstance(message, BindingAcknowledgement) else ""
            self.messages["out", _type_name(type(message).__name__), status] += 1
        return packets

    def send(
        self, message: MobilityMessage, home_address: IPv6Address, care_of_address: IPv6Address, now: float
    ) -> bool:
        """Queue a message to a node. Returns whether there is a security association to protect it."""
        try:
            protection = self._signalling.protection_for(message.message_type, home_address, care_of_address, now)
        except EspError as error:
            self.statistics[error.reason] += 1
            return False
        self._unsent.append((message, home_address, protection))
        return True

    def is_under_way(self, home_address: IPv6Address) -> bool:
        """Whether something accepted for this address waits: for duplicate address detection, or for the store."""
        return any(home_address in waiting for waiting in (self._undetected, self._pending, self._storing))

    def forget_all(self) -> None:
        """Drop every binding and everything not yet sent."""
        self._pending.clear()
        self._storing.clear()
        self._received.clear()
        self._undetected.clear()
        self._unsent.clear()
        for binding in self.rules.cache.bindings():
            self.rules.cache.remove(binding.home_address)

    def expire(self, wall: float) -> list[Binding]:
        """Bindings whose lifetime has passed, removed from the cache."""
        return self.rules.cache.expire(wall)

    def _no_longer_storing(self, registration: PendingRegistration) -> None:
        storing = self._storing.pop(registration.home_address, None)
        if storing is not None and storing is not registration:
            self._storing[registration.home_address] = storing  # a newer one is not there yet

    def _acknowledge(
        self, outcome: RegistrationOutcome, home_address: IPv6Address, care_of_address: IPv6Address, now: float
    ) -> None:
        if outcome.acknowledgement is not None:
            self.send(outcome.acknowledgement, home_address, care_of_address, now)


def _ignore(*_refusal: object) -> None:
    pass


def _never(_identity: str, _home_address: IPv6Address) -> bool:
    return False


@cache
def _type_name(class_name: str) -> str:
    """BindingUpdate becomes ``binding-update``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", class_name).lower()
