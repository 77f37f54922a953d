"""The home agent: IKEv2, ESP, registrations and takeover behind one set of inputs and outputs, without I/O.

Two clocks come in: ``now`` is monotonic seconds for timers, ``wall`` is seconds since the epoch for lifetimes that
have to survive a restart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address
from typing import NamedTuple

from msgspec.structs import replace

from control.bootstrap.job import RebootstrapJob
from control.bootstrap.takeover import NodeToRecover, Takeover
from control.home_agent.departures import Departures
from control.home_agent.directory import NodeDirectory
from control.home_agent.events import Happening, TimelineEvent
from control.home_agent.ike_sessions import IkeSessions
from control.home_agent.key_exchange import KeyExchange, NodeIkeSa
from control.home_agent.movement import Movements
from control.home_agent.recovery_steps import RecoverySteps
from control.home_agent.refusals import Refusals
from control.home_agent.registrations import PendingRegistration, Registrations
from control.home_agent.signalling import Outgoing, ProtectedSignalling
from control.home_agent.translated import as_reached
from control.home_agent.unprotected import UnprotectedSignalling
from control.ikev2 import events as ike
from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT, Datagram, SocketAddress
from control.ipsec.errors import EspError, IpsecBackendError
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY
from control.mobility.binding_cache import Binding
from control.mobility.home_registration import Change
from control.mobility.messages import MobilityMessage, UnknownMobilityMessage
from control.signalling_children import MOBILITY_CHILD
from control.wire import WireError, address_text

_DEPARTURES_PER_S = 100.0
_NEWER_FOLLOWS = "initial-contact"
"""The reason for the end of an IKE SA that a newer one with the node, about to be told of, takes the place of."""


class ProtectedPacket(NamedTuple):
    """An ESP packet of a mobile node.

    Attributes:
        packet: from the SPI on.
        home_address: whose it is.
        care_of_address: where it came from; None: the node is at home.
        origin: the other end of the UDP flow it came in, None if it came without UDP.
    """

    packet: bytes
    home_address: IPv6Address
    care_of_address: IPv6Address | None
    origin: SocketAddress | None = None


class HomeAgent:
    """One home agent, also the driver of its takeover jobs.

    Attributes:
        takeover: the jobs, once they are attached.
        perform: carries out what a job decided.
    """

    takeover: Takeover

    def __init__(
        self,
        address: IPv6Address,
        directory: NodeDirectory,
        endpoint: KeyExchange,
        signalling: ProtectedSignalling,
        registrations: Registrations,
        unprotected: UnprotectedSignalling,
    ) -> None:
        self.address = address
        self.directory = directory
        self.endpoint = endpoint
        self.registrations = registrations
        self.unprotected = unprotected
        self.home_links = registrations.home_links
        self.sessions = IkeSessions(directory, signalling)
        self.statistics: Counter[str] = Counter()
        self.departures = Departures(registrations.send, registrations.rules.cache.get, _DEPARTURES_PER_S)
        self._taken_from: dict[IPv6Address, str] = {}
        self._movements = Movements(self.sessions)
        self._local = SocketAddress(address, IKE_PORT)
        self._signalling = signalling
        self._happenings: list[Happening] = []
        self._refusals = Refusals(self._happenings)
        steps = RecoverySteps(address, directory, endpoint, self.sessions, registrations, self._happen)
        self.perform = steps.perform
        registrations.observe_refusal = self._binding_refused

    def attach(self, takeover: Takeover) -> None:
        """Give the agent the jobs it drives; once, before any input."""
        self.takeover = takeover
        self.registrations.attach(takeover.awaits)

    # Inputs

    def receive_ike(self, data: bytes, peer: SocketAddress, now: float, port: int = IKE_PORT) -> None:
        """An IKE message that came to ``port`` of the home agent address, without a marker."""
        self.receive_ike_messages(((data, peer),), now, port)

    def receive_ike_messages(
        self, messages: Iterable[tuple[bytes, SocketAddress]], now: float, port: int = IKE_PORT
    ) -> None:
        """IKE messages that came together to ``port`` of the home agent address, without a marker."""
        local = self._local if port == IKE_PORT else self._local._replace(port=port)
        self.endpoint.receive_datagrams([(data, local, peer) for data, peer in messages], now)
        self.process_ike_events(now)

    def receive_protected(
        self,
        packet: bytes,
        home_address: IPv6Address,
        care_of_address: IPv6Address | None,
        now: float,
        wall: float,
        origin: SocketAddress | None = None,
    ) -> None:
        """An ESP packet of a mobile node; see :class:`ProtectedPacket`."""
        self.receive_protected_packets((ProtectedPacket(packet, home_address, care_of_address, origin),), now, wall)

    def receive_protected_packets(self, packets: Iterable[ProtectedPacket], now: float, wall: float) -> None:
        """ESP packets of mobile nodes that have come together: all are opened, then all decoded, then acted upon."""
        signalling, opened, decoded = self._signalling, [], []
        for packet in packets:
            try:
                opened.append((packet, *signalling.open(packet.packet, packet.home_address, now)))
            except (EspError, WireError) as error:
                self._refuse(error)
        for packet, payload, association in opened:
            # The association's source is the packet's home address, but the very object that is known elsewhere: to
            # compare that with itself takes no time, and it is done nine times.
            home_address = association.source
            try:
                decoded.append((packet, association, home_address, signalling.decode(payload, home_address)))
            except WireError as error:
                self._refuse(error)
        for packet, association, home_address, message in decoded:
            self._receive(message, association, home_address, packet.care_of_address, now, wall, packet.origin)
        self.registrations.decide(now)
        self.replace_used_up(now)

    def receive_opened(
        self,
        payload: bytes,
        association: SecurityAssociation,
        home_address: IPv6Address,
        care_of_address: IPv6Address | None,
        now: float,
        wall: float,
    ) -> None:
        """A Mobility Header that the kernel has opened under ``association``; else as :meth:`receive_protected`."""
        try:
            message = self._signalling.read(payload, association, home_address)
        except (EspError, WireError) as error:
            self._refuse(error)
        else:
            self._receive(message, association, home_address, care_of_address, now, wall)
            self.registrations.decide(now)

    def _refuse(self, error: EspError | WireError) -> None:
        if isinstance(error, EspError):
            self.statistics[f"esp-{error.reason}"] += 1
        else:
            self.registrations.statistics[error.reason] += 1

    def _receive(
        self,
        message: MobilityMessage,
        association: SecurityAssociation,
        home_address: IPv6Address,
        care_of_address: IPv6Address | None,
        now: float,
        wall: float,
        origin: SocketAddress | None = None,
    ) -> None:
        identity, sa = self.sessions.behind(association.spi)
        if identity is None:
            self.statistics["esp-unknown-owner"] += 1
            return
        if sa is not None:
            sa.heard(now)
            if origin is not None:
                sa.heard_from(self._local._replace(port=NAT_TRAVERSAL_PORT), origin, now)
                message = as_reached(message, sa)
        if isinstance(message, UnknownMobilityMessage):
            self.unprotected.answer_unknown_type(home_address, care_of_address, now)
            return
        self.registrations.receive(message, identity, home_address, care_of_address or home_address, now, wall)

    def receive_unprotected(
        self, payload: bytes, source: IPv6Address, care_of_address: IPv6Address | None, now: float
    ) -> None:
        """A Mobility Header without ESP."""
        self.unprotected.receive(payload, source, care_of_address, now)

    def receive_from_home_link(self, link: str, packet: bytes, now: float) -> None:
        """Neighbour discovery of others: a whole IPv6 packet, and the interface it came in by."""
        self.home_links.receive(link, packet, now)
        self.registrations.resume(now)

    def replace_used_up(self, now: float) -> None:
        """Rekey or close child SAs that have carried as much as they may.

        For when packets were fetched, which protects them, and when the back end says so by itself.
        """
        for slug in self.sessions.replace_used_up(now):
            self.statistics[slug] += 1
        self.process_ike_events(now)

    def recover(self, nodes: Iterable[NodeToRecover], now: float) -> int:
        """Bring nodes back, as fast as the scheduler allows. Returns how many were queued."""
        by_hand = self.directory.keyed_by_hand
        return self.takeover.submit(
            (replace(node, keyed=True) if by_hand(node.identity) else node for node in nodes), now
        )

    def install_static(self, now: float) -> None:
        """Put the security associations that were keyed by hand to work; once, before any input.

        Raises:
            IpsecBackendError: the back end cannot apply one of them.
        """
        self.sessions.install_static(now)

    def stored(self, registrations: Iterable[PendingRegistration], now: float) -> None:
        """Registrations are safe in the store and in the data path: acknowledge them, then do what follows."""
        answered = self.registrations.stored(registrations, now)
        for registration in answered:
            if self._movements.registered(registration, now):
                self.statistics["ike-sas-moved"] += 1
        for registration in answered:
            self._serve(registration, now)
        for registration in answered:
            if registration.outcome.change is not Change.REMOVE:
                self._note_recovery(registration, now)

    def not_stored(self, registration: PendingRegistration) -> None:
        """The store, or the data path, did not take it: silence."""
        self.registrations.not_stored(registration)
        self._release_if_gone(registration.identity)

    def no_room(self, registration: PendingRegistration, now: float) -> None:
        """The data path is full: refused."""
        self.registrations.no_room(registration, now)
        self._release_if_gone(registration.identity)

    def _serve(self, registration: PendingRegistration, now: float) -> None:
        """Receive for a home address from now on, or not any more."""
        outcome, identity, home_address = registration.outcome, registration.identity, registration.home_address
        if outcome.change is Change.REMOVE:
            self.home_links.stop(home_address)
            self._happen(TimelineEvent.DEREGISTERED, identity)
            self._binding_gone(home_address)
            self._release_if_gone(identity)
            return
        binding, previous = outcome.binding, outcome.previous
        if binding is not None:
            begins = previous is None or previous.home_agent != self.address
            self.home_links.serve(
                home_address, binding.link_local, announce=begins, now=now, router=binding.mobile_router
            )
        self._happen(
            TimelineEvent.BINDING_UPDATE,
            identity,
            home_address=address_text(home_address),
            care_of_address=address_text(registration.reply_to),
        )

    def _note_recovery(self, registration: PendingRegistration, now: float) -> None:
        """Whoever was to be brought back, and has registered, is back."""
        recovered = self.takeover.binding_registered(registration.identity, now)
        if recovered is not None:
            self._taken_from[registration.home_address] = recovered.group
            self._happen(TimelineEvent.RECOVERED, registration.identity)
            self._note_end_of_takeover(now)

    def send_away(self, addresses: Sequence[IPv6Address], taken_from: str | None = None) -> int:
        """Have nodes register with another home agent (RFC 5142).

        Args:
            addresses: of the home agents to choose from.
            taken_from: only nodes brought back, since the start, from the home agent at this address; None: all.

        Returns:
            How many nodes are new to it.
        """
        bound = [binding.home_address for binding in self.registrations.rules.cache.bindings()]
        if taken_from is not None:
            bound = [each for each in bound if self._taken_from.get(each) == taken_from]
        return self.departures.begin(bound, addresses)

    def dismiss_unauthorised(self, now: float) -> list[Binding]:
        """End what nodes have that the directory does not authorise any more, or gives another home address.

        Returns:
            Their bindings, for the caller to remove from store and data path.
        """
        bound, address_of = self.registrations.rules.cache.bindings(), self.directory.home_address
        bindings = [each for each in bound if address_of(each.identity) != each.home_address]
        gone = {binding.identity for binding in bindings}
        with_sas = (str(sa.remote_identity) for sa in self.sessions if sa.is_established)
        gone |= {identity for identity in with_sas if self.directory.find(identity) is None}
        self.takeover.cancel(now, gone)
        for binding in bindings:
            self.let_go(binding.home_address)
        for identity in gone:
            self._happen(TimelineEvent.NODE_DISMISSED, identity)
            for sa in self.sessions.of(identity):
                sa.delete(now)
        self.process_ike_events(now)
        return bindings

    def let_go(self, home_address: IPv6Address) -> None:
        """Forget a binding; the caller removes it from the data path, and from the store if it is there."""
        self.registrations.rules.cache.remove(home_address)
        self.home_links.stop(home_address)
        self._binding_gone(home_address)

    def stand_down(self, now: float) -> None:
        """Forget all bindings, jobs and security associations: another agent serves the nodes now."""
        self.takeover.cancel(now)
        self.departures.cancel()
        self._taken_from.clear()
        self.registrations.forget_all()
        self.home_links.clear()
        for sa in list(self.sessions):
            sa.abandon(now)
        self.process_ike_events(now)

    def prepare(self, key_pairs: int) -> None:
        """Do ahead, while nothing is urgent, what a takeover would have to do: make up to that many key pairs."""
        if not self.takeover.active:
            self.endpoint.make_key_pairs(key_pairs)

    def handle_timer(self, now: float) -> None:
        """Let time pass: retransmissions, jobs."""
        self.endpoint.handle_timer(now)
        self._movements.handle_timer(now)
        self.process_ike_events(now)
        self.takeover.handle_timer(now)
        self.departures.handle_timer(now)
        self.home_links.handle_timer(now)
        self.registrations.resume(now)
        self.replace_used_up(now)

    # Outputs

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        parts = (self.endpoint, self._movements, self.takeover, self.departures, self.home_links)
        times = [part.next_timer() for part in parts]
        return min((time for time in times if time is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """IKE datagrams, drained."""
        return self.endpoint.datagrams_to_send()

    def packets_to_send(self) -> list[Outgoing]:
        """Whole IPv6 packets, and Mobility Headers for the kernel to protect, drained."""
        return [*self.registrations.packets_to_send(), *self.unprotected.packets_to_send()]

    def happenings(self) -> list[Happening]:
        """Entries of the timeline, drained."""
        happenings, self._happenings = self._happenings, []
        self._refusals.happenings = self._happenings
        return happenings

    def expire(self, wall: float) -> list[Binding]:
        """Bindings whose lifetime has passed; the caller removes them from store and data path."""
        expired = self.registrations.expire(wall)
        for binding in expired:
            self.home_links.stop(binding.home_address)
            self._happen(TimelineEvent.BINDING_EXPIRED, binding.identity)
            self._binding_gone(binding.home_address)
            self._release_if_gone(binding.identity)
        return expired

    # The driver of jobs

    def given_up(self, node: NodeToRecover, reason: str, now: float) -> None:
        """The scheduler will not try again."""
        self._happen(TimelineEvent.GIVEN_UP, node.identity, reason=reason)
        self._note_end_of_takeover(now)

    # IKE events

    def process_ike_events(self, now: float) -> None:
        """Deal with what has happened to IKE SAs."""
        while events := self.endpoint.events():
            for sa, event in events:
                job = sa.context if isinstance(sa.context, RebootstrapJob) else None
                if isinstance(event, ike.ChildEstablished):
                    self._child_established(sa, event, job, now)
                elif isinstance(event, ike.IkeEstablished):
                    self._ike_established(sa, job, now)
                else:
                    self._process_rarer_event(sa, event, job, now)

    def _process_rarer_event(self, sa: NodeIkeSa, event: ike.Event, job: RebootstrapJob | None, now: float) -> None:
        match event:
            case ike.ChildFailed(name=name, reason=reason):
                self._refusals.child_failed(sa, event, now)
                if job is not None and name == MOBILITY_CHILD:
                    self.takeover.job_failed(job, f"child-{reason}", now)
            case ike.ChildClosed(child=child):
                self.sessions.child_closed(child)
            case ike.PeerAddressChanged():
                self.sessions.rerouted(sa)
            case ike.IkeRekeyed(successor=successor):
                self.sessions.rekeyed(sa, successor)
            case ike.IkeFailed(reason=reason) | ike.IkeClosed(reason=reason):
                if isinstance(event, ike.IkeClosed):
                    self._refusals.ike_closed(sa, reason, now)
                else:
                    self._refusals.ike_failed(sa, event, None if job is None else job.identity, now)
                self.sessions.closed(sa)
                if job is not None:
                    self.takeover.job_failed(job, reason, now)
                if sa.remote_identity is not None and reason != _NEWER_FOLLOWS:
                    self._release_if_gone(str(sa.remote_identity))

    def _ike_established(self, sa: NodeIkeSa, job: RebootstrapJob | None, now: float) -> None:
        identity, surplus = self.sessions.established(sa)
        if surplus is not None:
            self.statistics["ike-surplus"] += 1
            surplus.delete(now)
        self._happen(TimelineEvent.IKE_ESTABLISHED, identity, role="initiator" if job else "responder")
        if job is not None:
            self.takeover.ike_established(job, now)

    def _child_established(
        self, sa: NodeIkeSa, event: ike.ChildEstablished, job: RebootstrapJob | None, now: float
    ) -> None:
        child = event.child
        outbound_waits = event.replaces is not None and not child.initiated
        try:
            identity = self.sessions.child_established(sa, child, now, outbound_waits=outbound_waits)
        except IpsecBackendError as error:
            self.statistics[f"child-{error.reason}"] += 1
            sa.delete_child(child, now)
            if job is not None:
                self.takeover.job_failed(job, f"child-{error.reason}", now)
            return
        if child.local_selectors[0].protocol != PROTOCOL_MOBILITY or event.replaces is not None:
            return
        # Only now can the node's next Binding Update do without the older pair of security associations.
        older = self.sessions.take_superseded(identity, sa)
        if older is not None:
            # The node may have made a new one because it has moved.
            older.move(now, remote=sa.remote)
            older.delete(now)
        if job is not None:
            self.takeover.mobility_child_established(job, now)

    def _binding_refused(
        self, identity: str, home_address: IPv6Address, care_of_address: IPv6Address, reason: str, now: float
    ) -> None:
        self._refusals.binding_refused(identity, home_address, care_of_address, reason, now)
        self._release_if_gone(identity)

    def _release_if_gone(self, identity: str) -> None:
        """A home address from the pool is the node's for as long as it has an IKE SA or a binding (RFC 4877 9).

        One that is to be brought back keeps it meanwhile, and so does one whose registration is being stored.
        """
        home_address = self.directory.home_address(identity)
        if home_address is None or self.sessions.current(identity) is not None or identity in self.takeover:
            return
        registrations = self.registrations
        if registrations.rules.cache.get(home_address) is None and not registrations.is_under_way(home_address):
            self.directory.release(identity)

    def _binding_gone(self, home_address: IPv6Address) -> None:
        self._taken_from.pop(home_address, None)
        if self.departures.gone(home_address) and not self.departures.active:
            progress = self.departures.progress
            self._happen(TimelineEvent.DRAIN_FINISHED, None, left=progress.left, silent=progress.silent)

    def _note_end_of_takeover(self, now: float) -> None:
        if not self.takeover.active:
            progress = self.takeover.progress(now)
            self._happen(
                TimelineEvent.TAKEOVER_FINISHED, None, recovered=progress.recovered, given_up=progress.given_up
            )

    def _happen(self, event: TimelineEvent, node: str | None = None, **detail: object) -> None:
        self._happenings.append(Happening(event, node, detail))
