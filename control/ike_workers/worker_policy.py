"""What a worker lets its peers do: decided here where a copy of the directory says enough, else by the daemon."""

from __future__ import annotations

from collections.abc import Callable

from control.eap.authenticator import EapAuthenticator
from control.home_agent.directory import NodeDirectory
from control.home_agent.key_exchange import AuthenticatedPeer
from control.home_agent.policy import HomeAgentPolicy
from control.ike_workers.messages import Answer, Configure, Question, SelectChild
from control.ikev2.child import ChildPolicy
from control.ikev2.payloads.configuration import ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import ConfigurationAnswer
from control.ipsec.traffic_selector import TrafficSelector


class WorkerPolicy:
    """A :class:`control.ikev2.policy.PeerPolicy`; only the daemon assigns home addresses."""

    def __init__(self, own: HomeAgentPolicy, directory: NodeDirectory, ask: Callable[[Question], Answer]) -> None:
        """The policy.

        Args:
            own: decides by ``directory``.
            directory: a copy of the daemon's.
            ask: has the daemon's policy decide; returns when it has.
        """
        self._own = own
        self._directory = directory
        self._ask_daemon = ask

    def shared_key(self, local: Identity, remote: Identity) -> bytes | None:
        """See :class:`control.ikev2.policy.PeerPolicy`."""
        return self._own.shared_key(local, remote)

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        """See :class:`control.ikev2.policy.PeerPolicy`."""
        return self._own.accept_peer(remote, as_initiator)

    def eap_authenticator(self, remote: Identity) -> EapAuthenticator | None:
        """See :class:`control.ikev2.policy.PeerPolicy`."""
        return self._own.eap_authenticator(remote)

    def select_child(
        self,
        sa: AuthenticatedPeer,
        local_selectors: tuple[TrafficSelector, ...],
        remote_selectors: tuple[TrafficSelector, ...],
    ) -> ChildPolicy | None:
        """See :class:`control.ikev2.policy.PeerPolicy`."""
        if self._has_home_address(sa) or not self._directory.autoconfiguration or sa.remote_identity is None:
            return self._own.select_child(sa, local_selectors, remote_selectors)
        return self._ask(SelectChild(sa.remote_identity, local_selectors, remote_selectors)).child

    def configuration_reply(self, sa: AuthenticatedPeer, request: ConfigurationPayload) -> ConfigurationAnswer | None:
        """See :class:`control.ikev2.policy.PeerPolicy`."""
        if self._has_home_address(sa) or sa.remote_identity is None:
            return self._own.configuration_reply(sa, request)
        return self._ask(Configure(sa.remote_identity, request)).configuration

    def _has_home_address(self, sa: AuthenticatedPeer) -> bool:
        return self._directory.home_address(str(sa.remote_identity)) is not None

    def _ask(self, question: Question) -> Answer:
        answer = self._ask_daemon(question)
        # The news of an assignment takes its own way and may come too late for the next question.
        self._directory.adopt(str(question.remote_identity), answer.home_address)
        return answer


class _Asked:
    """A peer that a worker has authenticated."""

    def __init__(self, remote_identity: Identity) -> None:
        self.remote_identity: Identity | None = remote_identity


def answer(question: Question, policy: HomeAgentPolicy, directory: NodeDirectory) -> Answer:
    """The daemon's answer, of its policy and directory."""
    asked = _Asked(question.remote_identity)
    child: ChildPolicy | None = None
    configuration: ConfigurationAnswer | None = None
    match question:
        case SelectChild():
            child = policy.select_child(asked, question.local_selectors, question.remote_selectors)
        case Configure():
            configuration = policy.configuration_reply(asked, question.request)
    return Answer(child, configuration, directory.home_address(str(question.remote_identity)))
