"""What the daemon and its IKE workers tell each other.

Commands go to a worker, reports come back; a question of a worker's policy is asked, and answered, on a channel of its
own. IKE SAs are named by numbers: even ones are the daemon's choice, odd ones the worker's.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Generic, TypeVar

import msgspec

from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildPolicy, ChildRequest, ChildSa
from control.ikev2.lifetimes import Lifetime
from control.ikev2.nat import NatDetection
from control.ikev2.numbers import DiffieHellmanGroup
from control.ikev2.payloads.configuration import ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import ConfigurationAnswer
from control.ipsec.algorithms import CipherSuite
from control.ipsec.traffic_selector import TrafficSelector
from control.ipsec.udp_encapsulation import UdpEncapsulation

PackedEnd = tuple[bytes, int]
"""An address in network byte order, and a port."""
PackedEncapsulation = tuple[int, bytes, int]
"""The local port, the remote address in network byte order, the remote port."""


class _Message(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One of a union."""


class Connect(_Message, frozen=True):
    """Begin an IKE SA; see :meth:`control.ikev2.endpoint.IkeEndpoint.connect`."""

    number: int
    local: PackedEnd
    remote: PackedEnd
    first_child: ChildRequest
    remote_identity: Identity
    configuration: ConfigurationPayload | None
    initial_contact: bool
    init_tries: int | None


class CreateChild(_Message, frozen=True):
    """Ask the peer for a further child SA."""

    number: int
    request: ChildRequest


class DeleteChild(_Message, frozen=True):
    """Close a child SA."""

    number: int
    inbound_spi: int


class ReplaceChild(_Message, frozen=True):
    """Rekey a child SA before its time."""

    number: int
    inbound_spi: int


class Delete(_Message, frozen=True):
    """Close an IKE SA."""

    number: int


class Abandon(_Message, frozen=True):
    """Forget an IKE SA without a word to the peer."""

    number: int


class Move(_Message, frozen=True):
    """Send an IKE SA's requests elsewhere."""

    number: int
    remote: PackedEnd


class Heard(_Message, frozen=True):
    """The peer gave a sign of life on a child SA."""

    number: int
    at: float


class HeardFrom(_Message, frozen=True):
    """It came by UDP from and to these ends."""

    number: int
    local: PackedEnd
    remote: PackedEnd


class MakeKeyPairs(_Message, frozen=True):
    """There is nothing else to do."""

    up_to: int


class Assigned(_Message, frozen=True):
    """A node has a home address, or has none any more."""

    identity: str
    home_address: IPv6Address | None


class Authorise(_Message, frozen=True):
    """These nodes are authorised from now on, and no others.

    Attributes:
        nodes: a pickled list of :class:`control.home_agent.directory.AuthorisedNode`, which holds secrets.
    """

    nodes: bytes

    def __repr__(self) -> str:
        return "Authorise()"


class UseCertificates(_Message, frozen=True):
    """These authenticate from now on; see :mod:`control.ike_workers.certificates`.

    Attributes:
        certificates: this side's chain, DER; none if there is none.
        private_key: of its first certificate, PKCS #8 in DER.
        trust_anchors: where peers' chains have to end, DER.
    """

    certificates: tuple[bytes, ...]
    private_key: bytes
    trust_anchors: tuple[bytes, ...]

    def __repr__(self) -> str:
        return "UseCertificates()"


class Installed(_Message, frozen=True):
    """The child SAs of a report are at work: what told the peer of them may leave."""

    report: int


class Describe(_Message, frozen=True):
    """Tell all there is to know of every IKE SA."""

    query: int


Command = (
    Connect
    | CreateChild
    | DeleteChild
    | ReplaceChild
    | Delete
    | Abandon
    | Move
    | Heard
    | HeardFrom
    | MakeKeyPairs
    | Assigned
    | Authorise
    | UseCertificates
    | Installed
    | Describe
)


class View(msgspec.Struct, frozen=True, array_like=True):
    """An IKE SA as it is now; see :class:`control.ikev2.sa.IkeSa`."""

    role: str
    state: str
    initiator_spi: bytes
    responder_spi: bytes
    local: PackedEnd
    remote: PackedEnd
    local_identity: Identity
    remote_identity: Identity | None
    nat: NatDetection | None
    mobike: bool
    suite: str | None
    established_at: float | None
    last_heard_at: float | None


class Established(_Message, frozen=True):
    """Both sides are authenticated."""

    number: int
    view: View
    initial_contact: bool


class PackedChild(msgspec.Struct, frozen=True, array_like=True):
    """A child SA; see :class:`control.ikev2.child.ChildSa`."""

    inbound_spi: int
    outbound_spi: int
    suite: CipherSuite
    inbound_encryption_key: bytes
    inbound_integrity_key: bytes
    outbound_encryption_key: bytes
    outbound_integrity_key: bytes
    local_selectors: tuple[TrafficSelector, ...]
    remote_selectors: tuple[TrafficSelector, ...]
    transport_mode: bool
    name: str | None
    initiated: bool
    group: DiffieHellmanGroup | None
    encapsulation: PackedEncapsulation | None

    def __repr__(self) -> str:
        return f"PackedChild({self.inbound_spi:#010x}, {self.outbound_spi:#010x})"


class ChildAgreed(_Message, frozen=True):
    """A child SA is to be installed, in the place of another one if its SPI is given."""

    number: int
    child: PackedChild
    replaces: int | None


class ChildRefused(_Message, frozen=True):
    """A child SA was not agreed."""

    number: int
    name: str | None
    reason: str
    detail: str


class ChildGone(_Message, frozen=True):
    """A child SA is over."""

    number: int
    inbound_spi: int
    reason: str


class Failed(_Message, frozen=True):
    """The IKE SA never came to be."""

    number: int
    reason: str
    detail: str


class StrangerRefused(_Message, frozen=True):
    """An IKE SA that the daemon knows nothing of never came to be; see :class:`control.ikev2.events.IkeFailed`."""

    number: int
    local: PackedEnd
    remote: PackedEnd
    reason: str
    detail: str
    claimed: Identity | None


class Closed(_Message, frozen=True):
    """The IKE SA is over."""

    number: int
    reason: str


class Rekeyed(_Message, frozen=True):
    """Another IKE SA has taken its place."""

    number: int
    successor: int
    view: View


class Moved(_Message, frozen=True):
    """The peer is somewhere else, and so is the UDP flow of the children."""

    number: int
    view: View
    previous: PackedEnd
    encapsulation: PackedEncapsulation | None


Happened = Established | ChildAgreed | ChildRefused | ChildGone | Failed | StrangerRefused | Closed | Rekeyed | Moved


class Report(_Message, frozen=True):
    """What has happened since the last one.

    Attributes:
        happened: in order.
        half_open: IKE SAs that strangers have begun and not completed.
        number: of the report, if Installed is awaited; else None.
        statistics: all counters by slug, None if they are as they were.
        busy_s: the longest time that something arriving had to wait for other work.
    """

    happened: list[Happened]
    half_open: int
    number: int | None
    statistics: dict[str, int] | None
    busy_s: float


class Description(msgspec.Struct, frozen=True, array_like=True):
    """What no event tells of an IKE SA."""

    number: int
    view: View
    lifetime: Lifetime | None
    child_lifetimes: dict[int, Lifetime]
    superseded: dict[int, int]


class Described(_Message, frozen=True):
    """Some IKE SAs; the last message about a query says so."""

    query: int
    descriptions: list[Description]
    is_last: bool


FromWorker = Report | Described


class SelectChild(_Message, frozen=True):
    """May a node have this child SA? See :meth:`control.ikev2.policy.PeerPolicy.select_child`."""

    remote_identity: Identity
    local_selectors: tuple[TrafficSelector, ...]
    remote_selectors: tuple[TrafficSelector, ...]


class Configure(_Message, frozen=True):
    """What does a node get? See :meth:`control.ikev2.policy.PeerPolicy.configuration_reply`."""

    remote_identity: Identity
    request: ConfigurationPayload


Question = SelectChild | Configure


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """To a question: what the policy says, and the home address that the node has now."""

    child: ChildPolicy | None
    configuration: ConfigurationAnswer | None
    home_address: IPv6Address | None


Malformed = (msgspec.DecodeError, UnicodeDecodeError)  # the latter for the name of a kind
"""Raised for bytes that are no message of their kind."""

_Type = TypeVar("_Type")


class Codec(Generic[_Type]):
    """Messages of one kind as bytes."""

    def __init__(self, kind: object) -> None:
        encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)
        decoder = msgspec.msgpack.Decoder(kind, dec_hook=_decode_other)
        self.encode: Callable[[_Type], bytes] = encoder.encode
        self.decode: Callable[[bytes], _Type] = decoder.decode


def pack_end(end: SocketAddress) -> PackedEnd:
    """One end of a UDP flow, to be sent."""
    return end.address.packed, end.port


def unpack_end(packed: PackedEnd) -> SocketAddress:
    """The reverse of :func:`pack_end`."""
    return SocketAddress(ip_address(packed[0]), packed[1])


def pack_encapsulation(flow: UdpEncapsulation | None) -> PackedEncapsulation | None:
    """The UDP flow of a child SA, to be sent."""
    return None if flow is None else (flow.local_port, flow.remote_address.packed, flow.remote_port)


def unpack_encapsulation(packed: PackedEncapsulation | None) -> UdpEncapsulation | None:
    """The reverse of :func:`pack_encapsulation`."""
    return None if packed is None else UdpEncapsulation(packed[0], ip_address(packed[1]), packed[2])


def pack_child(child: ChildSa) -> PackedChild:
    """A child SA, to be sent."""
    plain = {name: getattr(child, name) for name in PackedChild.__struct_fields__[:-1]}
    return PackedChild(**plain, encapsulation=pack_encapsulation(child.encapsulation))


def unpack_child(packed: PackedChild) -> ChildSa:
    """The reverse of :func:`pack_child`."""
    plain = {name: getattr(packed, name) for name in PackedChild.__struct_fields__[:-1]}
    return ChildSa(**plain, encapsulation=unpack_encapsulation(packed.encapsulation))


def _encode_other(value: object) -> bytes:
    if isinstance(value, IPv6Address):
        return value.packed
    raise NotImplementedError(type(value))


def _decode_other(kind: type, value: object) -> IPv6Address:
    if kind is IPv6Address and isinstance(value, bytes):
        return IPv6Address(value)
    raise NotImplementedError(kind)


COMMANDS: Codec[Command] = Codec(Command)
REPORTS: Codec[FromWorker] = Codec(FromWorker)
QUESTIONS: Codec[Question] = Codec(Question)
ANSWERS: Codec[Answer] = Codec(Answer)
