"""What the home agent needs of IKEv2: an endpoint of this process, or what stands for those of other processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from control.ikev2.address import Datagram, IpAddress, SocketAddress
from control.ikev2.child import ChildRequest, ChildSa
from control.ikev2.events import Event
from control.ikev2.lifetimes import Lifetime
from control.ikev2.nat import NatDetection
from control.ikev2.payloads.configuration import ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import CertificateMaterial, IkeConfiguration
from control.ikev2.states import Role, State


class AuthenticatedPeer(Protocol):
    """Whoever has proved who it is."""

    @property
    def remote_identity(self) -> Identity | None:
        """Who it is, None before."""


class KnownLifetimes(Protocol):
    """When an IKE SA and its children are rekeyed; see :class:`control.ikev2.lifetimes.Lifetimes`."""

    @property
    def ike(self) -> Lifetime | None:
        """Of the IKE SA, None for as long as it lives."""

    @property
    def children(self) -> Mapping[int, Lifetime]:
        """Of the child SAs by inbound SPI; those that are never rekeyed are missing."""


class NodeIkeSa(AuthenticatedPeer, Protocol):
    """An IKE SA with a node; see :class:`control.ikev2.sa.IkeSa`.

    Attributes:
        context: whatever its user wants to keep with it.
    """

    context: object

    @property
    def role(self) -> Role:
        """Which side began."""

    @property
    def state(self) -> State:
        """Where it stands."""

    @property
    def initiator_spi(self) -> bytes:
        """The SPI of the side that began."""

    @property
    def responder_spi(self) -> bytes:
        """The SPI of the side that answered."""

    @property
    def suite(self) -> object:
        """The negotiated algorithms, for people; None before."""

    @property
    def mobike(self) -> object:
        """None where MOBIKE is not in force."""

    @property
    def local_identity(self) -> Identity:
        """Who this side is."""

    @property
    def established_at(self) -> float | None:
        """When both sides were authenticated, None before."""

    @property
    def last_heard_at(self) -> float | None:
        """When the last authentic message came, None before the first."""

    @property
    def lifetimes(self) -> KnownLifetimes:
        """When it and its children are rekeyed."""

    @property
    def superseded(self) -> Mapping[int, int]:
        """Inbound SPIs of children that others, the values, have taken the place of and that are about to go."""

    @property
    def local(self) -> SocketAddress:
        """Where requests are sent from."""

    @property
    def remote(self) -> SocketAddress:
        """Where requests are sent to."""

    @property
    def remote_address(self) -> IpAddress:
        """The peer's address."""

    @property
    def nat(self) -> NatDetection | None:
        """Which side is behind a NAT, None if one of them does not look for NATs."""

    @property
    def children(self) -> Mapping[int, ChildSa]:
        """Child SAs by this side's inbound SPI."""

    @property
    def is_established(self) -> bool:
        """Whether both sides are authenticated and neither has ended it."""

    def create_child(self, request: ChildRequest, now: float) -> None:
        """Ask for a further child SA; ChildEstablished or ChildFailed follows."""

    def delete_child(self, child: ChildSa, now: float) -> None:
        """Close a child SA; ChildClosed follows at once."""

    def replace_child(self, child: ChildSa, now: float) -> None:
        """Rekey a child SA before its time, unless that is under way or done."""

    def heard(self, now: float) -> None:
        """Note a sign of life: an authentic packet on a child SA."""

    def heard_from(self, local: SocketAddress, remote: SocketAddress, now: float) -> None:
        """Note where an authentic and new packet on a child SA, in UDP, came to and from."""

    def move(self, now: float, *, remote: SocketAddress) -> bool:
        """Send requests to another address from now on. Returns whether that is new."""

    def delete(self, now: float) -> None:
        """Close the IKE SA and its children; ChildClosed follows at once, IkeClosed when the peer knows."""

    def abandon(self, now: float) -> None:
        """Forget the IKE SA and its children at once, without a word to the peer."""


class KeyExchange(Protocol):
    """All IKE SAs of the home agent; see :class:`control.ikev2.endpoint.IkeEndpoint`."""

    @property
    def configuration(self) -> IkeConfiguration:
        """The settings."""

    def use_certificates(self, material: CertificateMaterial) -> None:
        """Authenticate with other certificates from now on; the IKE SAs there are stay."""

    @property
    def statistics(self) -> Counter[str]:
        """Counters by slug."""

    @property
    def half_open(self) -> int:
        """How many IKE SAs strangers have begun and not completed."""

    def connect(
        self,
        local: SocketAddress,
        remote: SocketAddress,
        now: float,
        *,
        first_child: ChildRequest,
        remote_identity: Identity,
        configuration: ConfigurationPayload | None,
        initial_contact: bool,
        init_tries: int | None,
        context: object,
    ) -> NodeIkeSa:
        """Begin an IKE SA; IkeEstablished or IkeFailed follows."""

    def receive_datagrams(self, arrivals: Iterable[tuple[bytes, SocketAddress, SocketAddress]], now: float) -> None:
        """Take UDP payloads that have come together, each with the addresses it came to and from."""

    def datagrams_to_send(self) -> list[Datagram]:
        """The datagrams to send, each returned once."""

    def events(self) -> Sequence[tuple[NodeIkeSa, Event]]:
        """What has happened, in order, each event returned once."""

    def make_key_pairs(self, number: int) -> None:
        """Make up to that many key pairs in advance."""

    def next_timer(self) -> float | None:
        """When handle_timer wants to be called next, None for never."""

    def handle_timer(self, now: float) -> None:
        """Repeat requests and drop what has expired."""
