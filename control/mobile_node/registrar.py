"""The node's side of the registration in force: Binding Updates out, acknowledgements in, the tunnel kept in step."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address
from random import Random

from control.ipsec.errors import EspError
from control.mobile_node.events import BindingLost, BindingUpdateSent, FirstTunnelledPacket, NodeEvent, Registered
from control.mobile_node.registration import Registration, RegistrationState, SequenceCounter, Step, Verdict
from control.mobile_node.settings import NodeSettings
from control.mobile_node.signalling import MobileSignalling
from control.mobile_node.tunnel import Tunnel
from control.mobility.messages import BindingAcknowledgement, MobilityMessage


class Registrar:
    """Owns at most one registration.

    Attributes:
        registration: the one there is, None without one.
        tunnel: follows it.
        packets: whole IPv6 packets to send; the owner drains it.
    """

    def __init__(
        self,
        settings: NodeSettings,
        signalling: MobileSignalling,
        random: Random,
        statistics: Counter[str],
        events: list[NodeEvent],
    ) -> None:
        """Registered nowhere.

        Args:
            settings: of the node.
            signalling: protects messages.
            random: the first sequence number, and jitter.
            statistics: where packets are counted.
            events: where events are appended.
        """
        self.registration: Registration | None = None
        network = settings.mobile_network
        self.tunnel = Tunnel(settings.care_of_address, statistics, network.prefixes if network is not None else ())
        self.packets: list[bytes] = []
        self._settings = settings
        self._signalling = signalling
        self._random = random
        self._statistics = statistics
        self._events = events
        self._counter = SequenceCounter(random.getrandbits(16))
        self._awaits_first_packet = False

    @property
    def home_agent(self) -> IPv6Address | None:
        """Where the node is registered or registering."""
        return self.registration.home_agent if self.registration is not None else None

    @property
    def in_force(self) -> bool:
        """Whether an acknowledged binding holds."""
        return self.registration is not None and self.registration.in_force

    @property
    def next_timer(self) -> float | None:
        """When :meth:`run` wants to be called (monotonic seconds), None for never."""
        return self.registration.next_timer if self.registration is not None else None

    def move(self, care_of_address: IPv6Address, now: float) -> None:
        """The node is somewhere else: what is registered has to be told; the next :meth:`run` does it."""
        self.tunnel.care_of_address = care_of_address
        self._signalling.care_of_address = care_of_address
        if self.registration is not None:
            self.registration.moved(now)

    def register(self, home_agent: IPv6Address, home_address: IPv6Address, now: float) -> None:
        """Have a Binding Update sent by the next :meth:`run`.

        A registration there is with the same addresses is renewed and stays in force meanwhile; another is dropped.
        """
        registration = self.registration
        if registration is not None and (home_agent, home_address) == (
            registration.home_agent,
            registration.home_address,
        ):
            registration.update_now(now)
            return
        self.registration = Registration(
            home_agent,
            home_address,
            self._settings.lifetime_s,
            self._counter,
            self._settings.registration,
            self._random,
            now,
            self._settings.mobile_network,
        )
        self._awaits_first_packet = True

    def leave(self, home_agent: IPv6Address, home_address: IPv6Address, now: float) -> None:
        """De-register, though it is another that was there before: the next :meth:`run` sends the Binding Update."""
        self.register(home_agent, home_address, now)
        if self.registration is not None:
            self.registration.leave(now)

    def drop(self) -> None:
        """Forget the registration without a word to the home agent, and close the tunnel."""
        self.registration = None
        self._adjust_tunnel()

    def run(self, now: float) -> Step | None:
        """Send what is due and let lifetimes end.

        Returns:
            UNANSWERED or LEFT_UNANSWERED if the home agent did not answer, else None.
        """
        registration = self.registration
        if registration is None:
            return None
        unanswered: Step | None = None
        for step in registration.handle_timer(now):
            if step is Step.SEND:
                self._send_binding_update(registration, now)
            elif step is Step.EXPIRED:
                self._events.append(BindingLost(registration.home_agent, "expired"))
            else:
                unanswered = step
        if registration.state is RegistrationState.ENDED and not registration.in_force:
            self.registration = None
        self._adjust_tunnel()
        return unanswered

    def acknowledge(self, message: BindingAcknowledgement, now: float) -> Verdict:
        """A Binding Acknowledgement of the home agent of the registration."""
        registration = self.registration
        if registration is None:
            return Verdict.UNEXPECTED
        refresh = registration.in_force
        verdict = registration.acknowledge(message, now)
        if verdict is Verdict.ACCEPTED:
            self._events.append(
                Registered(
                    registration.home_agent,
                    registration.home_address,
                    registration.granted_s,
                    refresh,
                    registration.answered_after_s,
                )
            )
        elif verdict in (Verdict.REFUSED, Verdict.NO_ROUTERS) and refresh:
            self._events.append(BindingLost(registration.home_agent, "refused"))
        if registration.state is RegistrationState.ENDED:
            self.registration = None
        self._adjust_tunnel()
        return verdict

    def send(self, message: MobilityMessage, home_address: IPv6Address, home_agent: IPv6Address, now: float) -> bool:
        """Protect and queue a message; returns whether that was possible."""
        try:
            self.packets.append(self._signalling.protect(message, home_address, home_agent, now))
        except EspError as error:
            self._statistics[f"esp-{error.reason}"] += 1
            return False
        return True

    def receive_tunnelled(self, outer_source: bytes, inner: bytes) -> bytes | None:
        """See :meth:`control.mobile_node.tunnel.Tunnel.receive`; the first packet of a registration is an event."""
        packet = self.tunnel.receive(outer_source, inner)
        if packet is not None and self._awaits_first_packet:
            self._awaits_first_packet = False
            self._events.append(FirstTunnelledPacket(IPv6Address(outer_source)))
        return packet

    def _send_binding_update(self, registration: Registration, now: float) -> None:
        message = registration.binding_update(self._signalling.care_of_address, now)
        home_address, home_agent = registration.home_address, registration.home_agent
        if self.send(message, home_address, home_agent, now):
            self._events.append(
                BindingUpdateSent(home_agent, home_address, message.sequence_number, message.lifetime_seconds)
            )

    def _adjust_tunnel(self) -> None:
        """Open the tunnel while there is a registration.

        The home agent may send before its acknowledgement arrives, which may be lost; the node waits for it.
        """
        registration = self.registration
        if registration is None:
            self.tunnel.close()
        else:
            self.tunnel.open(registration.home_agent, registration.home_address, sending=registration.in_force)
