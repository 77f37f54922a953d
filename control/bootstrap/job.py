"""Bringing one mobile node back: the steps from its claim to its Binding Update, as an explicit state machine.

Source: draft-li-mip6-ha-init-bootstrap-00 section 4.1 ("Protocol Flow"). The job decides; whoever drives it carries
the actions out and reports what came of them. It knows neither sockets nor the engines.

===============  =======================  ===============  =====================================
state            happening                next state       actions
===============  =======================  ===============  =====================================
WAITING          start                    KEY_EXCHANGE     OPEN_IKE
WAITING          start, keys are there    as PROTECTION    -
KEY_EXCHANGE     IKE SA established       PROTECTION       CREATE_MOBILITY_CHILD
PROTECTION       child SA, switch wanted  SWITCHING        SEND_HOME_AGENT_SWITCH
PROTECTION       child SA, none wanted    RECOVERED        -
SWITCHING        timer, time-out left     SWITCHING        SEND_HOME_AGENT_SWITCH
SWITCHING        timer, time-out spent    FAILED           CLOSE_IKE
any live one     binding registered       RECOVERED        -
any live one     failure                  FAILED           CLOSE_IKE
===============  =======================  ===============  =====================================
"""

from __future__ import annotations

from enum import auto
from ipaddress import IPv6Address

from control.records import HashedByIdentity, MutableRecord, Record


class JobState(HashedByIdentity):
    """How far a job is."""

    WAITING = auto()
    KEY_EXCHANGE = auto()
    PROTECTION = auto()
    SWITCHING = auto()
    RECOVERED = auto()
    FAILED = auto()


class JobAction(HashedByIdentity):
    """What the driver of a job has to do next."""

    OPEN_IKE = auto()
    CREATE_MOBILITY_CHILD = auto()
    SEND_HOME_AGENT_SWITCH = auto()
    CLOSE_IKE = auto()


class SwitchTimeouts(Record, frozen=True):
    """Retransmission of the Home Agent Switch message (RFC 5142 section 4.2).

    RFC 5142 begins at 5 seconds because there the old agent still serves the node; here nobody does, so the first
    repetition comes sooner. The doubling and the upper bound are the RFC's.

    Attributes:
        initial_s: seconds before the first repetition.
        maximum_s: the time-out (seconds) past which the node counts as unreachable.
    """

    initial_s: float = 1.0
    maximum_s: float = 20.0


def init_tries(attempt: int | None, tries: int) -> int:
    """How often an attempt sends its IKE_SA_INIT.

    A node that does not answer has most likely moved, and holds a place of those under way all the same. So the first
    attempt soon makes room for others, and the last one has all the patience there is.

    Args:
        attempt: which one, from 1; None for the last that will be made.
        tries: how often any other request is sent.
    """
    return tries if attempt is None else min(1 + 2 * attempt, tries)


class RebootstrapJob(MutableRecord, eq=False):
    """One attempt to bring one node back.

    Attributes:
        identity: the node's IKE identity as text.
        home_address: the address the node keeps or is given by this job.
        care_of_address: where the node was last seen.
        new_home_address: whether ``home_address`` has to be told to the node (its old one has another prefix).
        switch: whether a Home Agent Switch is needed; False when only the security associations are to be renewed
            with a node that is already registered here, as after a restart.
        keyed: whether security associations with the node are there from the start, keyed by hand.
        attempt: which one this is, from 1; None for the last that will be made.
        timeouts: of the Home Agent Switch.
        state: how far it is.
        answered: whether the node has proved its identity in this attempt.
        finished: whether nothing more will happen.
        failure: why it failed (a slug), None if it has not.
        started_at: monotonic seconds, None before.
        switches_sent: how many Home Agent Switch messages there were.
        next_timer: when :meth:`handle_timer` wants to be called (monotonic seconds), None for never.
    """

    identity: str
    home_address: IPv6Address
    care_of_address: IPv6Address
    new_home_address: bool = False
    switch: bool = True
    keyed: bool = False
    attempt: int | None = None
    timeouts: SwitchTimeouts = SwitchTimeouts()
    state: JobState = JobState.WAITING
    answered: bool = False
    finished: bool = False
    failure: str | None = None
    started_at: float | None = None
    switches_sent: int = 0
    next_timer: float | None = None

    def start(self, now: float) -> JobAction | None:
        """Begin: the caller opens IKEv2 towards the care-of address, unless there are keys already."""
        if self.state is not JobState.WAITING:
            return None
        self.started_at = now
        if self.keyed:
            self.state = JobState.PROTECTION
            return self.mobility_child_established(now)
        self.state = JobState.KEY_EXCHANGE
        return JobAction.OPEN_IKE

    def ike_established(self) -> JobAction | None:
        """IKE_AUTH is complete; the pair of security associations for the Mobility Header comes next."""
        if self.state is not JobState.KEY_EXCHANGE:
            return None
        self.state = JobState.PROTECTION
        self.answered = True
        return JobAction.CREATE_MOBILITY_CHILD

    def mobility_child_established(self, now: float) -> JobAction | None:
        """The security associations for the Mobility Header are installed on our side."""
        if self.state is not JobState.PROTECTION:
            return None
        if not self.switch:
            self._end(JobState.RECOVERED)
            return None
        self.state = JobState.SWITCHING
        return self._send_switch(now)

    def binding_registered(self) -> None:
        """The node's Binding Update was accepted, by this job's doing or because the node came by itself."""
        if not self.finished:
            self._end(JobState.RECOVERED)

    def failed(self, reason: str) -> JobAction | None:
        """Give this attempt up, for ``reason`` (a slug)."""
        if self.finished:
            return None
        self._end(JobState.FAILED)
        self.failure = reason
        return JobAction.CLOSE_IKE

    def handle_timer(self, now: float) -> JobAction | None:
        """Repeat the Home Agent Switch when its time has come, or give up (RFC 5142 section 4.2)."""
        if self.next_timer is None or now < self.next_timer:
            return None
        if self._timeout_s() > self.timeouts.maximum_s:
            return self.failed("no-binding-update")
        return self._send_switch(now)

    def _end(self, state: JobState) -> None:
        self.state = state
        self.finished = True
        self.next_timer = None

    def _timeout_s(self) -> float:
        return self.timeouts.initial_s * 2.0**self.switches_sent

    def _send_switch(self, now: float) -> JobAction | None:
        self.next_timer = now + self._timeout_s()
        self.switches_sent += 1
        return JobAction.SEND_HOME_AGENT_SWITCH
