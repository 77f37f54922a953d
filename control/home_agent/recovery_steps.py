"""The steps by which a node is brought back: what its job decides, done by way of IKEv2 and signalling."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Protocol

from control.bootstrap.job import JobAction, RebootstrapJob, init_tries
from control.home_agent.directory import NodeDirectory
from control.home_agent.events import TimelineEvent
from control.home_agent.ike_sessions import IkeSessions
from control.home_agent.key_exchange import KeyExchange
from control.home_agent.policy import home_address_reply
from control.home_agent.registrations import Registrations
from control.ikev2.address import IKE_PORT, SocketAddress
from control.ikev2.child import ChildRequest
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, PROTOCOL_MOBILITY, TrafficSelector
from control.mobility.messages import HomeAgentSwitch
from control.signalling_children import MOBILITY_CHILD, PREFIX_DISCOVERY_CHILD
from control.wire import address_text


class Happened(Protocol):
    """Told what goes into the timeline."""

    def __call__(self, event: TimelineEvent, node: str | None = None, **detail: object) -> None:
        """``event`` has happened to the node of this identity."""


class RecoverySteps:
    """Carries them out for one home agent."""

    def __init__(
        self,
        address: IPv6Address,
        directory: NodeDirectory,
        endpoint: KeyExchange,
        sessions: IkeSessions,
        registrations: Registrations,
        happened: Happened,
    ) -> None:
        self._switch = HomeAgentSwitch(addresses=(address,), bootstrap=True)
        self._directory = directory
        self._endpoint = endpoint
        self._sessions = sessions
        self._registrations = registrations
        self._happened = happened
        self._local = SocketAddress(address, IKE_PORT)
        self._steps = {
            JobAction.OPEN_IKE: self._open_ike,
            JobAction.CREATE_MOBILITY_CHILD: self._create_mobility_child,
            JobAction.SEND_HOME_AGENT_SWITCH: self._send_home_agent_switch,
            JobAction.CLOSE_IKE: self._close_ike,
        }
        self._local_selectors = {
            protocol: (TrafficSelector.host(address, protocol),) for protocol in (PROTOCOL_MOBILITY, PROTOCOL_ICMPV6)
        }

    def perform(self, job: RebootstrapJob, action: JobAction, now: float) -> None:
        """Carry out what a job decided."""
        self._steps[action](job, now)

    def _open_ike(self, job: RebootstrapJob, now: float) -> None:
        reply = None
        if job.new_home_address:
            prefix_length = self._directory.prefix_length(job.home_address)
            reply = home_address_reply(job.home_address, prefix_length)
        self._endpoint.connect(
            self._local,
            SocketAddress(job.care_of_address, IKE_PORT),
            now,
            remote_identity=self._directory.ike_identity(job.identity),
            first_child=self._child_request(PREFIX_DISCOVERY_CHILD, PROTOCOL_ICMPV6, job),
            configuration=reply,
            initial_contact=self._sessions.current(job.identity) is None,
            init_tries=init_tries(job.attempt, self._endpoint.configuration.retransmission.tries),
            context=job,
        )
        self._happened(TimelineEvent.IKE_SA_INIT_SENT, job.identity, care_of_address=address_text(job.care_of_address))

    def _create_mobility_child(self, job: RebootstrapJob, now: float) -> None:
        sa = self._sessions.current(job.identity)
        if sa is not None and sa.is_established:
            sa.create_child(self._child_request(MOBILITY_CHILD, PROTOCOL_MOBILITY, job), now)

    def _send_home_agent_switch(self, job: RebootstrapJob, now: float) -> None:
        if self._registrations.send(self._switch, job.home_address, job.care_of_address, now):
            self._happened(TimelineEvent.HOME_AGENT_SWITCH_SENT, job.identity, attempt=job.switches_sent)

    def _close_ike(self, job: RebootstrapJob, now: float) -> None:
        self._happened(TimelineEvent.ATTEMPT_FAILED, job.identity, reason=job.failure)
        sa = self._sessions.current(job.identity)
        if sa is not None and sa.context is job:
            sa.delete(now)

    def _child_request(self, name: str, protocol: int, job: RebootstrapJob) -> ChildRequest:
        # The directory's object where there is one, as the security associations are made with it: whether a selector
        # is for their address is then seen without a comparison.
        home_address = self._directory.home_address(job.identity) or job.home_address
        return ChildRequest(
            local_selectors=self._local_selectors[protocol],
            remote_selectors=(TrafficSelector.host(home_address, protocol),),
            name=name,
        )
