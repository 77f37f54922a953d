"""A mobile node without I/O: packets and time in; packets, datagrams, events and timers out.

It registers with a home agent by itself (IKEv2 as initiator, RFC 4877 and RFC 6275 section 11.7), and lets a trusted
home agent take it over (IKEv2 as responder, then Home Agent Switch: draft-li-mip6-ha-init-bootstrap-00). Only what came
under an ESP security association with an authenticated home agent changes anything; everything else is counted.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address
from random import Random

import control.ikev2.events as ike
from control.ikev2.address import Datagram, SocketAddress
from control.ikev2.certificates import CertificateValidator
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.policy import IkeConfiguration
from control.ikev2.sa import IkeSa
from control.ipsec.userspace import UserspaceIpsec
from control.mobile_node.associations import Association, Associations, InstalledCallback
from control.mobile_node.attempts import Attempts, WantedHomeAgent
from control.mobile_node.enrolment import Enrolment
from control.mobile_node.events import (
    HomeAddressAssigned,
    HomeAgentSwitched,
    IkeEstablished,
    NameServersAssigned,
    NodeEvent,
    RegistrationFailed,
)
from control.mobile_node.policy import (
    MobileNodePolicy,
    offered_home_address,
    offered_name_servers,
)
from control.mobile_node.reception import open_signalling
from control.mobile_node.registrar import Registrar
from control.mobile_node.registration import RegistrationState
from control.mobile_node.settings import NodeSettings
from control.mobile_node.signalling import MobileSignalling
from control.mobile_node.whereabouts import Whereabouts
from control.mobility.addresses import UNSPECIFIED
from control.mobility.extension_headers import IPV6_HEADER_SIZE, PROTOCOL_IPV6
from control.mobility.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    HomeAgentSwitch,
    MobilityMessage,
    UnknownMobilityMessage,
)
from control.mobility.messages.binding_error import BindingErrorStatus
from control.signalling_children import MOBILITY_CHILD

_NEXT_HEADER_IPV6 = bytes((PROTOCOL_IPV6,))


class MobileNode:
    """One mobile node at one care-of address at a time.

    Attributes:
        settings: what it was told at the start.
        identity: its IKE identity as text.
        endpoint: its IKEv2 engine.
        ipsec: its security associations.
        statistics: packets accepted and refused, by slug.
    """

    def __init__(
        self,
        settings: NodeSettings,
        ike_configuration: IkeConfiguration,
        random: Random,
        *,
        certificates: CertificateValidator | None = None,
        installed: InstalledCallback | None = None,
    ) -> None:
        """A node that is registered nowhere and waits.

        Args:
            settings: addresses, trust and timers.
            ike_configuration: identity, credentials and algorithms.
            random: all randomness, keys included; ``random.SystemRandom()`` except in simulations.
            certificates: checks home agents' certificates; nodes with the same trust anchors may share one.
            installed: told every pair of security associations put to work, for key files.
        """
        self.settings = settings
        self.identity = str(ike_configuration.local_identity)
        self.statistics: Counter[str] = Counter()
        self.ipsec = UserspaceIpsec(random.randbytes)
        self._policy = MobileNodePolicy(settings)
        self.endpoint = IkeEndpoint(
            ike_configuration, self._policy, random.randbytes, self.ipsec.allocate_spi, certificates
        )
        self._random = random
        self._events: list[NodeEvent] = []
        self._signalling = MobileSignalling(settings.care_of_address, self.ipsec)
        self._registrar = Registrar(settings, self._signalling, random, self.statistics, self._events)
        self._associations = Associations(self.ipsec, settings.association_limit, installed)
        broad = not settings.needs_identity
        self._attempts = Attempts(settings.retry, random, settings.home_agent_identities, broad=broad)
        self._whereabouts = Whereabouts(settings.care_of_address, self._events)
        self._enrolment = Enrolment(
            settings,
            self._policy,
            self.endpoint,
            self._associations,
            self._registrar,
            self._attempts,
            self._whereabouts,
            self.statistics,
            self._events,
        )

    @property
    def home_address(self) -> IPv6Address:
        """The home address in use, ``::`` before a home agent has assigned one."""
        return self._policy.home_address

    @property
    def care_of_address(self) -> IPv6Address:
        """Where it is, or was last."""
        return self._whereabouts.care_of_address

    @property
    def home_agent(self) -> IPv6Address | None:
        """The home agent the node is registered with or registering with, None without one."""
        return self._registrar.home_agent

    @property
    def registered(self) -> bool:
        """Whether an acknowledged binding is in force."""
        return self._registrar.in_force

    # Inputs

    def register(self, home_agent: IPv6Address, identity: str | None, now: float) -> None:
        """Go to a home agent, and keep trying: IKEv2 as initiator, then a Binding Update.

        Args:
            home_agent: its address.
            identity: the IKE identity it has to prove; None for any trusted one.
            now: monotonic seconds.
        """
        self._enrolment.go_to(WantedHomeAgent(home_agent, identity), now)

    def deregister(self, now: float) -> None:
        """Give the registration up and stay away; where there is one, Deregistered follows."""
        self._attempts.give_up(now)
        self._attempts.wanted = None
        if self._registrar.registration is not None:
            self._registrar.registration.leave(now)
            self._enrolment.run(now)

    def close(self, now: float) -> None:
        """Tell all home agents that their IKE SAs are over; the last thing to do before the node goes."""
        self._registrar.drop()
        self._associations.leave_all(now)
        self._process_ike_events(now)

    def care_of_address_changed(self, care_of_address: IPv6Address | None, now: float) -> None:
        """The node has moved: it tells its home agent, and its IKE SAs go along (RFC 6275 section 11.5.1).

        Args:
            care_of_address: where it is now. None: nowhere; the node waits, its timers included, for the next call.
            now: monotonic seconds.
        """
        if not self._whereabouts.change(care_of_address):
            return
        self._registrar.move(self.care_of_address, now)
        attempt, waits = self._attempts.sa, self._attempts.retry_at is not None
        is_begun = attempt is not None and not attempt.is_established
        if is_begun:
            # A handshake belongs to the addresses it began with.
            self._attempts.give_up(now)
        for sa in tuple(self.endpoint.sas()):
            self._whereabouts.take_along(sa, now)
        self._process_ike_events(now)
        self._enrolment.run(now)
        if is_begun or waits:
            self._enrolment.attempt(now)

    def receive_ike(self, data: bytes, local: SocketAddress, remote: SocketAddress, now: float) -> None:
        """A datagram on the IKE port of the care-of address."""
        self.endpoint.receive_datagram(data, local, remote, now)
        self._process_ike_events(now)

    def receive_packet(self, packet: bytes, now: float) -> bytes | None:
        """A whole IPv6 packet for the care-of address that is not IKE. Returns a tunnelled packet, else None."""
        if packet[6:7] == _NEXT_HEADER_IPV6 and packet[24:40] in self._whereabouts.addresses:
            # The shortest way for bulk traffic. Behind the payload there may be padding of the link.
            end = IPV6_HEADER_SIZE + int.from_bytes(packet[4:6], "big")
            return self._registrar.receive_tunnelled(packet[8:24], packet[IPV6_HEADER_SIZE:end])
        opened = open_signalling(packet, self._whereabouts.addresses, self._signalling, self.statistics, now)
        association = self._associations.of_spi(opened[1]) if opened is not None else None
        if opened is not None and association is not None:
            self._receive_message(association, opened[0], now)
        elif opened is not None:
            self.statistics["esp-unknown-owner"] += 1
        return None

    def receive_tunnelled(self, outer_source: IPv6Address, inner: bytes) -> bytes | None:
        """What came out of the tunnel, if the home agent sent it and it is for the home address; else None, counted."""
        return self._registrar.receive_tunnelled(outer_source.packed, inner)

    def tunnel(self, inner: bytes) -> bytes | None:
        """The whole packet that carries ``inner`` to the home agent; None, counted, if it cannot go."""
        return self._registrar.tunnel.send(inner)

    def handle_timer(self, now: float) -> None:
        """Let time pass: retransmissions, refreshes, expiry, new attempts."""
        if not self._whereabouts.attached:
            return
        self.endpoint.handle_timer(now)
        self._process_ike_events(now)
        self._enrolment.run(now)
        if self._attempts.due(now):
            self._enrolment.attempt(now)

    # Outputs

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        if not self._whereabouts.attached:
            return None
        times = (self.endpoint.next_timer(), self._registrar.next_timer, self._attempts.retry_at)
        return min((time for time in times if time is not None), default=None)

    def datagrams_to_send(self) -> list[Datagram]:
        """IKE datagrams, drained."""
        return self.endpoint.datagrams_to_send()

    def packets_to_send(self) -> list[bytes]:
        """Whole IPv6 packets of protected signalling, drained."""
        packets, self._registrar.packets = self._registrar.packets, []
        return packets

    def events(self) -> list[NodeEvent]:
        """What happened, drained."""
        events = self._events.copy()
        self._events.clear()
        return events

    # IKE events

    def _process_ike_events(self, now: float) -> None:
        for sa, event in self._associations.events(self.endpoint, now):
            self._process_ike_event(sa, event, now)

    def _process_ike_event(self, sa: IkeSa, event: ike.Event, now: float) -> None:
        own_attempt = sa is self._attempts.sa
        match event:
            case ike.IkeEstablished():
                self._ike_established(sa, own_attempt, now)
            case ike.ChildEstablished():
                self._child_established(sa, event, own_attempt, now)
            case ike.ChildFailed(reason=reason, detail=detail):
                if own_attempt:
                    self._enrolment.attempt_failed(sa.remote.ipv6_address, f"child-{reason}", now, detail=detail)
                    sa.delete(now)
            case ike.ChildClosed(child=child):
                self._associations.child_closed(child)
            case ike.IkeFailed(reason=reason, detail=detail):
                self.statistics[f"ike-{reason}"] += 1
                if own_attempt:
                    self._enrolment.attempt_failed(sa.remote.ipv6_address, reason, now, detail=detail)
            case ike.PeerAddressChanged():
                self._associations.rerouted(sa)
            case ike.IkeRedirected():
                if self._attempts.redirected(sa, event, self.statistics, now):
                    self._enrolment.attempt(now)
            case ike.IkeRekeyed(successor=successor):
                self._associations.rekeyed(sa, successor)
                self._attempts.rekeyed(sa, successor)
            case ike.AddressUpdated() | ike.AddressUpdateRefused():
                association = self._associations.of(sa)
                if association is not None and isinstance(event, ike.AddressUpdated):
                    association.known_at = self.care_of_address
                elif association is not None:
                    self._enrolment.leave_behind(association, now)
            case ike.IkeClosed(reason=reason):
                self._ike_closed(sa, reason, now)

    def _ike_established(self, sa: IkeSa, own_attempt: bool, now: float) -> None:
        home_address = self.home_address
        if self.settings.home_address == UNSPECIFIED or not own_attempt:
            # A node that came by itself and has a home address has named it; else it is the home agent that assigns.
            home_address = offered_home_address(sa) or home_address
        association = self._associations.established(sa, home_address, initiated_here=own_attempt, now=now)
        self._whereabouts.take_along(sa, now)
        handshake_s = now - sa.handshake_started_at
        self._events.append(IkeEstablished(association.home_agent, association.identity, own_attempt, handshake_s))
        servers = offered_name_servers(sa) if own_attempt else ()
        if servers:
            self._events.append(NameServersAssigned(association.home_agent, servers))
        if own_attempt and home_address == UNSPECIFIED:
            self._enrolment.attempt_failed(association.home_agent, "no-home-address-assigned", now)
            sa.delete(now)
        elif own_attempt:
            self._use_home_address(association)

    def _use_home_address(self, association: Association) -> None:
        if association.home_address != self.home_address:
            previous, self._policy.home_address = self.home_address, association.home_address
            self._events.append(HomeAddressAssigned(association.home_address, previous, association.home_agent))

    def _child_established(self, sa: IkeSa, event: ike.ChildEstablished, own_attempt: bool, now: float) -> None:
        association, child = self._associations.of(sa), event.child
        if association is None:
            return
        outbound_waits = event.replaces is not None and not child.initiated
        failure = self._associations.install(association, child, now, outbound_waits=outbound_waits)
        if failure is not None:
            self.statistics[f"child-{failure}"] += 1
            if own_attempt:
                self._enrolment.attempt_failed(association.home_agent, f"child-{failure}", now)
            sa.delete(now)
        elif own_attempt and child.name == MOBILITY_CHILD and event.replaces is None:
            self._enrolment.register_over(association, now)

    def _ike_closed(self, sa: IkeSa, reason: str, now: float) -> None:
        association = self._associations.closed(sa)
        if sa is self._attempts.sa:
            self._enrolment.attempt_failed(sa.remote.ipv6_address, reason, now)
            return
        registration = self._registrar.registration
        if association is None or registration is None or association.home_agent != registration.home_agent:
            return
        if self._associations.protecting(registration.home_agent, registration.home_address) is None:
            # Nothing is left to refresh the binding with: ask for new associations before it runs out.
            self.statistics["home-agent-closed-ike"] += 1
            if self._attempts.idle:
                self._attempts.failed(now)

    # Mobility messages; all of them came under ESP

    def _receive_message(self, association: Association, message: MobilityMessage, now: float) -> None:
        match message:
            case HomeAgentSwitch():
                if message.bootstrap:
                    self._bootstrapped(association, message, now)
                else:
                    self._sent_elsewhere(association, message, now)
            case BindingAcknowledgement():
                self._enrolment.acknowledged(association, message, now)
            case BindingRefreshRequest():
                self._refresh_asked_for(association, "binding-refresh-request", now)
            case BindingError(status=BindingErrorStatus.UNKNOWN_BINDING):
                self._refresh_asked_for(association, "binding-unknown-to-home-agent", now)
            case UnknownMobilityMessage():
                self.statistics["unknown-mobility-message"] += 1
                status = BindingErrorStatus.UNRECOGNIZED_MOBILITY_HEADER_TYPE
                answer = BindingError(status, UNSPECIFIED)
                self._registrar.send(answer, association.home_address, association.home_agent, now)
            case _:
                self.statistics["unexpected-mobility-message"] += 1

    def _bootstrapped(self, association: Association, message: HomeAgentSwitch, now: float) -> None:
        """A new home agent stands in for a failed one (draft-li-mip6-ha-init-bootstrap-00 section 4.3)."""
        if association.home_agent not in message.addresses:
            # It may only speak for itself: nobody else has proved that they are to serve the node.
            self.statistics["switch-to-unauthenticated-home-agent"] += 1
            return
        old = self.home_agent
        if association.switched and old == association.home_agent:
            self.statistics["repeated-home-agent-switch"] += 1
            self._enrolment.register_over(association, now)
            return
        association.switched = True
        self._attempts.give_up(now)
        # Should the registration fail now, the old home agent is no longer the one to turn to.
        self._attempts.wanted = WantedHomeAgent(association.home_agent, association.identity)
        self._enrolment.next_home_agent = None
        self._registrar.drop()
        self._associations.forget_all_but(association, now)
        self._events.append(HomeAgentSwitched(old, association.home_agent, bootstrap=True))
        self._use_home_address(association)
        self._enrolment.register_over(association, now)

    def _sent_elsewhere(self, association: Association, message: HomeAgentSwitch, now: float) -> None:
        """The home agent sends its node away: de-register, then turn to those named (RFC 5142 section 6.2)."""
        registration = self._registrar.registration
        if registration is None or association.home_agent != registration.home_agent:
            self.statistics["switch-not-from-home-agent"] += 1
            return
        if registration.state is RegistrationState.LEAVING:
            self.statistics["repeated-home-agent-switch"] += 1
            return
        others = [address for address in message.addresses if address != registration.home_agent]
        self._attempts.give_up(now)
        self._attempts.wanted = None
        if others:
            chosen, *self._enrolment.then = others
            self._enrolment.next_home_agent = WantedHomeAgent(chosen, None)
            self._events.append(HomeAgentSwitched(registration.home_agent, chosen, bootstrap=False))
        else:
            self._events.append(RegistrationFailed(registration.home_agent, "no-home-agent-named"))
        registration.leave(now)
        self._enrolment.run(now)

    def _refresh_asked_for(self, association: Association, slug: str, now: float) -> None:
        self.statistics[slug] += 1
        registration = self._registrar.registration
        if registration is None or registration.home_agent != association.home_agent:
            return
        if registration.state is RegistrationState.REGISTERED:
            registration.update_now(now)
            self._enrolment.run(now)
