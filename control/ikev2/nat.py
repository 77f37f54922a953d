"""NAT traversal: detection, port 4500, a peer whose address changes, keepalives (RFC 7296 section 2.23, RFC 3948)."""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha1
from typing import TYPE_CHECKING

from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT, SocketAddress
from control.ikev2.numbers import NotifyType, PayloadType
from control.ikev2.payloads import EncodedPayload, NotifyPayload, ReceivedPayloads
from control.ikev2.states import State
from control.ipsec.udp_encapsulation import KEEPALIVE, UdpEncapsulation
from control.records import Record

if TYPE_CHECKING:
    from control.ikev2.environment import Environment
    from control.ikev2.sa import IkeSa

_DIGEST_SIZE = 20
_KIND_OF_SOURCE = NotifyType.NAT_DETECTION_SOURCE_IP
_KIND_OF_DESTINATION = NotifyType.NAT_DETECTION_DESTINATION_IP
# The bodies of the notifications but for their data.
_SOURCE_IP = NotifyPayload(_KIND_OF_SOURCE).to_wire()
_DESTINATION_IP = NotifyPayload(_KIND_OF_DESTINATION).to_wire()


class NatTraversal(StrEnum):
    """Whether NATs are looked for."""

    OFF = "off"
    """Neither looked for nor spoken of: everything stays on port 500."""
    AUTO = "auto"
    """Looked for with every peer that does so too; port 4500 and ESP in UDP where there is one."""
    FORCE = "force"
    """The peer is made to believe that there is one, for paths that let no ESP through."""


class NatDetection(Record, frozen=True):
    """What both sides have found out.

    Attributes:
        local_behind: whether a NAT changes the address of this side.
        remote_behind: whether one changes the address of the peer.
        forced: whether one of the sides wants UDP whatever there is.
    """

    local_behind: bool
    remote_behind: bool
    forced: bool = False

    @property
    def encapsulates(self) -> bool:
        """Whether ESP goes in UDP, and IKE to port 4500."""
        return self.local_behind or self.remote_behind or self.forced

    @property
    def follows_peer(self) -> bool:
        """Whether the peer's address is whatever its latest message came from: its NAT may change its mind.

        A side behind a NAT must not do so, as others could then lead it astray.
        """
        return self.remote_behind and not self.local_behind


def address_hash(spis: bytes, end: SocketAddress) -> bytes:
    """The data of NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP: SHA-1 of SPIs, address and port."""
    address, port = end
    return sha1(spis + address.packed + port.to_bytes(2, "big"), usedforsecurity=False).digest()


def detection_payloads(
    environment: Environment, spis: bytes, local: SocketAddress, remote: SocketAddress
) -> tuple[EncodedPayload, ...]:
    """What IKE_SA_INIT says about the addresses of this side's message; nothing if NAT traversal is off.

    Args:
        environment: of the SA.
        spis: the initiator's and the responder's SPI in that message.
        local: where it is sent from.
        remote: where it is sent to.
    """
    wanted = environment.configuration.nat_traversal
    if wanted is NatTraversal.OFF:
        return ()
    source = environment.random(_DIGEST_SIZE) if wanted is NatTraversal.FORCE else address_hash(spis, local)
    return (
        (PayloadType.NOTIFY, _SOURCE_IP + source),
        (PayloadType.NOTIFY, _DESTINATION_IP + address_hash(spis, remote)),
    )


def detect(
    environment: Environment, payloads: ReceivedPayloads, spis: bytes, local: SocketAddress, remote: SocketAddress
) -> NatDetection | None:
    """Compare what the peer's IKE_SA_INIT says with where it went from and to; None if it does not say.

    Args:
        environment: of the SA.
        payloads: the peer's message.
        spis: the initiator's and the responder's SPI in that message.
        local: where it came to.
        remote: where it came from.
    """
    wanted = environment.configuration.nat_traversal
    if wanted is NatTraversal.OFF:
        return None
    sources, destinations = [], []
    for each in payloads:
        if each.__class__ is NotifyPayload:
            kind = each.type
            if kind == _KIND_OF_SOURCE:
                sources.append(each.data)
            elif kind == _KIND_OF_DESTINATION:
                destinations.append(each.data)
    if not sources or not destinations:
        return None
    # The hashes are no secrets: anybody who sees the message can compute them.
    local_behind = address_hash(spis, local) not in destinations
    remote_behind = address_hash(spis, remote) not in sources
    if local_behind:
        environment.count("nat-here")
    if remote_behind:
        environment.count("nat-at-peer")
    return NatDetection(local_behind, remote_behind, wanted is NatTraversal.FORCE)


def float_to_nat_traversal_port(sa: IkeSa) -> None:
    """From now on the initiator's requests go from and to port 4500, if there is a NAT."""
    if sa.nat is not None and sa.nat.encapsulates:
        sa.local = sa.local._replace(port=NAT_TRAVERSAL_PORT)
        sa.remote = sa.remote._replace(port=NAT_TRAVERSAL_PORT)


def note_origin(sa: IkeSa, way: tuple[SocketAddress, SocketAddress], now: float) -> None:
    """A message, authentic and not a repetition, came this ``way`` (to, from): go there from now on, if that is right.

    Until the initiator is authenticated it may change ports; later only a peer behind a NAT, without knowing it. Where
    MOBIKE is in force, that alone decides (RFC 4555 section 3.8).
    """
    if way == (sa.local, sa.remote):
        return
    local, remote = way
    if sa.state is State.HALF_OPEN and sa.nat is not None:
        sa.local, sa.remote = local, remote
    elif sa.nat is not None and sa.nat.follows_peer and sa.mobike is None:
        sa.move(now, local=local, remote=remote)
        sa.environment.count("peer-address-changes")
    else:
        sa.environment.count("messages-from-elsewhere")


def encapsulation_of(sa: IkeSa) -> UdpEncapsulation | None:
    """How the packets of the SA's children travel; None: as they are, without UDP, which port 500 is not for."""
    if sa.nat is None or not sa.nat.encapsulates or sa.local.port == IKE_PORT:
        return None
    return UdpEncapsulation(sa.local.port, sa.remote.address, sa.remote.port)


def keepalive_at(sa: IkeSa) -> float | None:
    """When the NAT in front of this side has to be shown that its mapping is still in use; None for never."""
    interval_s = sa.environment.configuration.nat_keepalive_s
    if sa.nat is None or not sa.nat.local_behind or not interval_s or sa.last_sent_at is None:
        return None
    return sa.last_sent_at + interval_s


def keep_mapping_alive(sa: IkeSa, now: float) -> None:
    """Send a keepalive if it is time for one."""
    due_at = keepalive_at(sa)
    if due_at is not None and now >= due_at:
        sa.environment.count("nat-keepalives-sent")
        sa.send((KEEPALIVE,), sa.local, sa.remote, now)
