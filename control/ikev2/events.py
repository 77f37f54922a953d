"""What the engine tells the application about a security association."""

from __future__ import annotations

from dataclasses import dataclass

from control.ikev2.child import ChildSa
from control.ikev2.numbers import ExchangeType
from control.ikev2.payloads.configuration import ConfigurationPayload
from control.ikev2.payloads.identification import Identity


@dataclass(frozen=True, slots=True)
class IkeEstablished:
    """Both sides are authenticated.

    Attributes:
        peer: the authenticated identity of the peer.
        configuration: the configuration payload the peer sent in IKE_AUTH: at the responder a CFG_REQUEST or an
            unsolicited CFG_REPLY, at the initiator the answer; None if there was none.
    """

    peer: Identity
    configuration: ConfigurationPayload | None


@dataclass(frozen=True, slots=True)
class ChildEstablished:
    """A child SA was agreed and is to be installed."""

    child: ChildSa


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """A child SA was not agreed; the IKE SA stays.

    Attributes:
        name: the label of the ChildRequest; None at the responder.
        reason: slug, such as ``ts-unacceptable`` or ``no-proposal-chosen``.
        detail: for people.
    """

    name: str | None
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChildClosed:
    """A child SA is over and is to be removed.

    Attributes:
        child: the child as it was established.
        reason: ``deleted`` (by this side), ``deleted-by-peer`` or ``ike-closed``.
    """

    child: ChildSa
    reason: str


@dataclass(frozen=True, slots=True)
class IkeFailed:
    """The IKE SA never came to be.

    Attributes:
        reason: slug: ``timeout``, ``no-proposal-chosen``, ``authentication-failed``, ``rejected-by-peer``, …
        detail: for people; holds no secrets.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class IkeClosed:
    """An established IKE SA is over; its children were closed just before.

    Attributes:
        reason: slug: ``deleted``, ``deleted-by-peer``, ``timeout``, ``initial-contact``, …
    """

    reason: str


@dataclass(frozen=True, slots=True)
class PeerAlive:
    """The peer answered a liveness probe."""


@dataclass(frozen=True, slots=True)
class ExchangeSent:
    """A request of this side was handed out for sending.

    Attributes:
        exchange: which exchange it opens.
        retransmission: whether it is a repetition.
    """

    exchange: ExchangeType
    retransmission: bool


Event = IkeEstablished | ChildEstablished | ChildFailed | ChildClosed | IkeFailed | IkeClosed | PeerAlive | ExchangeSent
