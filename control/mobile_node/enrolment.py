"""The node's way to a home agent: attempts by IKEv2, registration over what they made, and what follows a refusal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv6Address

from control.ikev2.endpoint import IkeEndpoint
from control.mobile_node.associations import Association, Associations
from control.mobile_node.attempts import Attempts, WantedHomeAgent
from control.mobile_node.contact import connect
from control.mobile_node.events import Deregistered, IkeStarted, NodeEvent, RegistrationFailed
from control.mobile_node.mobile_network import ROUTER_REFUSED
from control.mobile_node.policy import MobileNodePolicy
from control.mobile_node.registrar import Registrar
from control.mobile_node.registration import Step, Verdict, status_slug
from control.mobile_node.settings import NodeSettings
from control.mobile_node.whereabouts import Whereabouts
from control.mobility.messages import BindingAcknowledgement
from control.mobility.messages.binding_acknowledgement import BindingAcknowledgementStatus


class Enrolment:
    """Has the node registered with the home agent that is wanted.

    Attributes:
        attempts: whom it wants, and when it tries again.
        registrar: the registration in force.
        next_home_agent: whom it turns to once it has left the one it is registered with, None for nobody.
        then: whom it turns to if that one does not serve it, in order.
    """

    def __init__(
        self,
        settings: NodeSettings,
        policy: MobileNodePolicy,
        endpoint: IkeEndpoint,
        associations: Associations,
        registrar: Registrar,
        attempts: Attempts,
        whereabouts: Whereabouts,
        statistics: Counter[str],
        events: list[NodeEvent],
    ) -> None:
        """Nobody is wanted yet.

        Args:
            settings: of the node.
            policy: knows the home address in use.
            endpoint: begins IKE SAs.
            associations: what they have made.
            registrar: registers.
            attempts: whom to turn to, and when.
            whereabouts: where the node is.
            statistics: where packets are counted.
            events: where events are appended.
        """
        self.attempts = attempts
        self.registrar = registrar
        self.next_home_agent: WantedHomeAgent | None = None
        self.then: Sequence[IPv6Address] = ()
        self._settings = settings
        self._policy = policy
        self._endpoint = endpoint
        self._associations = associations
        self._whereabouts = whereabouts
        self._statistics = statistics
        self._events = events

    def go_to(self, wanted: WantedHomeAgent, now: float, then: Sequence[IPv6Address] = ()) -> None:
        """Turn to a home agent instead of whatever is under way, to ``then`` if it does not serve; keep trying."""
        self.attempts.give_up(now)
        self.attempts.name(then)
        self.attempts.wanted = wanted
        self.attempt(now)

    def attempt(self, now: float) -> None:
        """Turn to the wanted home agent: over security associations that exist, else with a new IKE SA."""
        wanted = self.attempts.wanted
        if wanted is None:
            return
        self.attempts.retry_at = None
        association = self._associations.protecting(wanted.address, self._policy.home_address)
        if association is not None:
            self.register_over(association, now)
            return
        care_of_address = self._whereabouts.care_of_address
        sa = connect(self._endpoint, self._settings, wanted, self._policy.home_address, care_of_address, now)
        if sa is None:
            self.attempts.wanted = None
            self._events.append(RegistrationFailed(wanted.address, "home-agent-identity-unknown"))
            return
        self.attempts.begun(sa)
        self._events.append(IkeStarted(wanted.address, initiated_here=True))

    def attempt_failed(
        self, home_agent: IPv6Address, reason: str, now: float, *, detail: str = "", for_good: bool = False
    ) -> None:
        """An attempt came to nothing; plan another, with another home agent if this one refuses ``for_good``."""
        self._events.append(RegistrationFailed(home_agent, reason, detail))
        if for_good and self.attempts.refused() is None:
            return
        self.attempts.failed(now, unanswered=reason == "timeout")

    def register_over(self, association: Association, now: float) -> None:
        """Send a Binding Update under security associations that exist."""
        self.registrar.register(association.home_agent, association.home_address, now)
        self.run(now)

    def run(self, now: float) -> None:
        """Let the registration send what is due, and give it up where nobody answers."""
        home_agent = self.registrar.home_agent
        step = self.registrar.run(now)
        if home_agent is None or step is None:
            return
        if step is Step.LEFT_UNANSWERED:
            self._left(home_agent, acknowledged=False, now=now)
            return
        # The home agent does not answer, so what is shared with it is of no use any more.
        association = self._associations.protecting(home_agent, self._policy.home_address)
        if association is not None:
            self._associations.forget(association, now)
        self.attempt_failed(home_agent, "no-acknowledgement", now)

    def acknowledged(self, association: Association, message: BindingAcknowledgement, now: float) -> None:
        """A Binding Acknowledgement has come under ``association``."""
        if association.home_agent != self.registrar.home_agent:
            self._statistics["unexpected-acknowledgement"] += 1
            return
        match self.registrar.acknowledge(message, now):
            case Verdict.ACCEPTED:
                self.attempts.succeeded(WantedHomeAgent(association.home_agent, association.identity))
                self._follow_up(association, message, now)
            case Verdict.DEREGISTERED:
                self._left(association.home_agent, acknowledged=True, now=now)
            case Verdict.RESEND:
                self.run(now)
            case Verdict.REFUSED:
                self._refused(association, message.status, now)
            case Verdict.NO_ROUTERS:
                self._events.append(RegistrationFailed(association.home_agent, "mobile-routers-not-supported"))
                self.next_home_agent = self.attempts.refused()
                self.run(now)
            case Verdict.UNEXPECTED:
                self._statistics["unexpected-acknowledgement"] += 1

    def _refused(self, association: Association, status: int, now: float) -> None:
        reason = f"refused-{status_slug(status)}"
        self.attempt_failed(association.home_agent, reason, now, for_good=status in ROUTER_REFUSED)
        if status == BindingAcknowledgementStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED:
            # What is bound there is the host that the router was before, or the other way round: it goes first.
            self.registrar.leave(association.home_agent, association.home_address, now)
            self.run(now)

    def _left(self, home_agent: IPv6Address, *, acknowledged: bool, now: float) -> None:
        """The registration was given up; turn to the home agent the node was sent to, if any."""
        self._events.append(Deregistered(home_agent, acknowledged))
        following, self.next_home_agent = self.next_home_agent, None
        then, self.then = self.then, ()
        if following is not None:
            self.go_to(following, now, then)

    def _follow_up(self, association: Association, message: BindingAcknowledgement, now: float) -> None:
        """Without the K bit the home agent has left the IKE SA behind (RFC 6275 section 11.7.3)."""
        care_of_address = self._whereabouts.care_of_address
        if message.key_management:
            association.known_at = care_of_address
        elif association.known_at != care_of_address and not self._whereabouts.tell_by_mobike(association.sa, now):
            self.leave_behind(association, now)

    def leave_behind(self, association: Association, now: float) -> None:
        """The home agent has not moved its end of the IKE SA along: make a new one."""
        self._statistics["ike-left-behind"] += 1
        self._associations.forget(association, now)
        self.attempt(now)
