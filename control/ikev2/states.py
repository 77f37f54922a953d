"""The life of an IKE SA as a table: everything that may change its state stands here."""

from __future__ import annotations

from control.records import HashedByIdentity


class Role(HashedByIdentity):
    """Which side of an IKE SA this is."""

    INITIATOR = "initiator"
    RESPONDER = "responder"


class State(HashedByIdentity):
    """Where an IKE SA stands."""

    IDLE = "idle"
    """Made, nothing sent."""
    INIT_SENT = "init-sent"
    """Initiator: IKE_SA_INIT is under way."""
    AUTH_SENT = "auth-sent"
    """Initiator: there are keys, IKE_AUTH is under way."""
    HALF_OPEN = "half-open"
    """Responder: there are keys, IKE_AUTH is awaited."""
    ESTABLISHED = "established"
    """Both sides are authenticated."""
    CLOSING = "closing"
    """This side is telling the peer that the SA is over."""
    UNDECIDED = "undecided"
    """Made by the peer's rekeying while this side rekeyed too: the nonces will tell which of the two new SAs stays."""
    OBSOLETE = "obsolete"
    """Replaced, or superfluous, after rekeying; the peer is about to delete it."""
    LINGERING = "lingering"
    """Over; the last answer is kept for a peer that did not get it."""
    CLOSED = "closed"
    """Forgotten."""


class Trigger(HashedByIdentity):
    """What moves an IKE SA from one state to another."""

    SEND_INIT = "send-init"
    ANSWER_INIT = "answer-init"
    SEND_AUTH = "send-auth"
    AUTHENTICATED = "authenticated"
    AWAIT_NONCES = "await-nonces"
    INHERIT = "inherit"
    RETIRE = "retire"
    CLOSE = "close"
    LINGER = "linger"
    FORGET = "forget"


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.IDLE, Trigger.SEND_INIT): State.INIT_SENT,
    (State.IDLE, Trigger.ANSWER_INIT): State.HALF_OPEN,
    (State.INIT_SENT, Trigger.SEND_AUTH): State.AUTH_SENT,
    (State.AUTH_SENT, Trigger.AUTHENTICATED): State.ESTABLISHED,
    (State.HALF_OPEN, Trigger.AUTHENTICATED): State.ESTABLISHED,
    # The initiator that cannot authenticate the responder tells it so, the SA being over.
    (State.AUTH_SENT, Trigger.CLOSE): State.CLOSING,
    (State.ESTABLISHED, Trigger.CLOSE): State.CLOSING,
    # Rekeying makes an SA without a handshake of its own (RFC 7296 section 2.18).
    (State.IDLE, Trigger.INHERIT): State.ESTABLISHED,
    (State.IDLE, Trigger.AWAIT_NONCES): State.UNDECIDED,
    (State.UNDECIDED, Trigger.INHERIT): State.ESTABLISHED,
    (State.UNDECIDED, Trigger.RETIRE): State.OBSOLETE,
    (State.ESTABLISHED, Trigger.RETIRE): State.OBSOLETE,
    # A superfluous one is deleted by the side that made it.
    (State.IDLE, Trigger.CLOSE): State.CLOSING,
    (State.UNDECIDED, Trigger.CLOSE): State.CLOSING,
    (State.UNDECIDED, Trigger.LINGER): State.LINGERING,
    (State.OBSOLETE, Trigger.LINGER): State.LINGERING,
    (State.HALF_OPEN, Trigger.LINGER): State.LINGERING,
    (State.ESTABLISHED, Trigger.LINGER): State.LINGERING,
    (State.CLOSING, Trigger.LINGER): State.LINGERING,
    (State.IDLE, Trigger.FORGET): State.CLOSED,
    (State.INIT_SENT, Trigger.FORGET): State.CLOSED,
    (State.AUTH_SENT, Trigger.FORGET): State.CLOSED,
    (State.HALF_OPEN, Trigger.FORGET): State.CLOSED,
    (State.ESTABLISHED, Trigger.FORGET): State.CLOSED,
    (State.UNDECIDED, Trigger.FORGET): State.CLOSED,
    (State.OBSOLETE, Trigger.FORGET): State.CLOSED,
    (State.CLOSING, Trigger.FORGET): State.CLOSED,
    (State.LINGERING, Trigger.FORGET): State.CLOSED,
}


class InvalidTransition(RuntimeError):
    """A fault of this program: an event that cannot happen in the state at hand."""


def next_state(state: State, trigger: Trigger) -> State:
    """The state after ``trigger``; InvalidTransition if the table has none."""
    try:
        return TRANSITIONS[state, trigger]
    except KeyError:
        raise InvalidTransition(f"{trigger.value} in state {state.value}") from None
