"""What the engine tells the application about a security association."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildSa
from control.ikev2.payloads.configuration import ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.redirect import Gateway, RedirectStage
from control.records import Record

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa


class IkeEstablished(Record, frozen=True):
    """Both sides are authenticated.

    Attributes:
        peer: the authenticated identity of the peer.
        configuration: the configuration payload the peer sent in IKE_AUTH: at the responder a CFG_REQUEST or an
            unsolicited CFG_REPLY, at the initiator the answer; None if there was none.
        initial_contact: whether the peer has said that it knows of no older SAs; this endpoint has ended its own.
    """

    peer: Identity
    configuration: ConfigurationPayload | None
    initial_contact: bool = False


class ChildEstablished(Record, frozen=True):
    """A child SA was agreed and is to be installed.

    Attributes:
        child: the new child.
        replaces: the child that it takes the place of, None unless this is a rekeying. That one goes on receiving until
            ChildClosed follows for it. Where ``child.initiated`` is False the peer may not know yet that the new child
            exists: this side goes on sending under the old one until it has received something under the new one, or
            the old one is closed (RFC 7296 section 2.8).
    """

    child: ChildSa
    replaces: ChildSa | None = None


class ChildFailed(Record, frozen=True):
    """A child SA was not agreed; the IKE SA stays.

    Attributes:
        name: the label of the ChildRequest; None at the responder.
        reason: slug, such as ``ts-unacceptable`` or ``no-proposal-chosen``.
        detail: for people.
    """

    name: str | None
    reason: str
    detail: str = ""


class ChildClosed(Record, frozen=True):
    """A child SA is over and is to be removed.

    Attributes:
        child: the child as it was established.
        reason: ``deleted`` (by this side), ``deleted-by-peer``, ``ike-closed``, ``rekeyed`` (another one has taken its
            place) or ``unknown-to-peer``.
    """

    child: ChildSa
    reason: str


class IkeFailed(Record, frozen=True):
    """The IKE SA never came to be.

    Attributes:
        reason: slug: ``timeout``, ``no-proposal-chosen``, ``authentication-failed``, ``rejected-by-peer``, …
        detail: for people; holds no secrets.
        claimed: whom the peer has called itself and not proved to be, None if it did not come so far.
    """

    reason: str
    detail: str = ""
    claimed: Identity | None = None


class IkeRekeyed(Record, frozen=True):
    """Another IKE SA has taken the place of this one, which is not to be used any more; no IkeClosed follows for it.

    Identities, addresses, context and children, of which none was closed, are those of the successor now.

    Attributes:
        successor: the new IKE SA.
    """

    successor: IkeSa


class IkeClosed(Record, frozen=True):
    """An established IKE SA is over; its children were closed just before.

    Attributes:
        reason: slug: ``deleted``, ``deleted-by-peer``, ``timeout``, ``initial-contact``, ``expired`` (it or a child
            could not be rekeyed in time), ``out-of-sync``, …
    """

    reason: str


class IkeRedirected(Record, frozen=True):
    """The peer sends this side to another gateway.

    Before the SA is established IkeFailed("redirected") follows; an established one stays, for the application to end.

    Attributes:
        gateway: where to go.
        stage: when it came; in IKE_SA_INIT nobody has authenticated it.
    """

    gateway: Gateway
    stage: RedirectStage


class PeerAddressChanged(Record, frozen=True):
    """The peer has another address, ``sa.remote``, and the SA's children another encapsulation.

    Attributes:
        previous: where it was.
    """

    previous: SocketAddress


class AddressUpdated(Record, frozen=True):
    """The peer has taken the IKE SA's new addresses, of which this side has told it by MOBIKE (RFC 4555)."""


class AddressUpdateRefused(Record, frozen=True):
    """The peer does not take them.

    Attributes:
        reason: a stable slug: ``unacceptable-addresses`` or ``unexpected-nat-detected``.
    """

    reason: str


class PeerAlive(Record, frozen=True):
    """The peer answered a liveness probe."""


Event = (
    IkeEstablished
    | ChildEstablished
    | ChildFailed
    | ChildClosed
    | IkeFailed
    | IkeRekeyed
    | IkeClosed
    | IkeRedirected
    | PeerAddressChanged
    | AddressUpdated
    | AddressUpdateRefused
    | PeerAlive
)
