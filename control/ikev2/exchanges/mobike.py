"""MOBIKE (RFC 4555): the side that began an IKE SA may move it, protected and with a check that it is really there.

What moves is the IKE SA, and the encapsulation of its children where they are in UDP. The child SAs of Mobile IPv6 are
in transport mode with the home address and stay as they are; so does the binding, which only a Binding Update changes.
"""

from __future__ import annotations

import hmac
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from control.ikev2.address import NAT_TRAVERSAL_PORT, IpAddress, SocketAddress
from control.ikev2.events import AddressUpdated, AddressUpdateRefused
from control.ikev2.exchanges.informational import closed_by_error
from control.ikev2.nat import NatTraversal, detect, detection_payloads
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import NotifyPayload, Payload, ReceivedPayloads
from control.ikev2.states import State
from control.records import MutableRecord

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

_COOKIE_SIZE = 16
_COOKIE_SIZES = range(8, 65)
_MOST_ADDRESSES = 16
_MOST_UPDATES = 7
"""How often an update is tried that the peer says a NAT has changed on the way: as often as a request is sent."""
_ADDRESS_LISTS = (
    NotifyType.ADDITIONAL_IP4_ADDRESS,
    NotifyType.ADDITIONAL_IP6_ADDRESS,
    NotifyType.NO_ADDITIONAL_ADDRESSES,
)


class Mobike(MutableRecord):
    """What MOBIKE knows of an IKE SA; it goes on to those that replace it by rekeying.

    Attributes:
        decides: whether this side began the first one: only that side may change addresses.
        peer_addresses: further addresses of the peer, as it has said.
    """

    decides: bool
    peer_addresses: tuple[IpAddress, ...] = ()


# IKE_AUTH


def support(sa: IkeSa) -> tuple[Payload, ...]:
    """What IKE_AUTH says of this side (section 3.3)."""
    if not sa.environment.configuration.mobike:
        return ()
    supported = NotifyPayload(NotifyType.MOBIKE_SUPPORTED)
    return (supported, *(_without_nats(sa) if sa.is_initiator else ()))


def agree(sa: IkeSa, payloads: ReceivedPayloads) -> bool:
    """Take what the peer's IKE_AUTH says. Returns whether MOBIKE is in force.

    The initiator goes to port 4500 where both sides know of NATs: one may turn up on some other way (section 3.3).
    """
    if not sa.environment.configuration.mobike or payloads.notification(NotifyType.MOBIKE_SUPPORTED) is None:
        return False
    if _finds_nat(payloads, sa.local, sa.remote):
        sa.environment.count("mobike-unexpected-nats")
        return False
    sa.mobike = Mobike(sa.is_initiator, _addresses(payloads))
    if sa.mobike.decides and sa.nat is not None:
        sa.local = sa.local._replace(port=NAT_TRAVERSAL_PORT)
        sa.remote = sa.remote._replace(port=NAT_TRAVERSAL_PORT)
    return True


# The side that decides


def update_addresses(
    sa: IkeSa, now: float, *, local: SocketAddress | None = None, remote: SocketAddress | None = None
) -> None:
    """Move the IKE SA and tell the peer: AddressUpdated or AddressUpdateRefused follows, or IkeClosed.

    Raises:
        ValueError: MOBIKE is not in force, or it is for the peer to decide.
    """
    if sa.mobike is None or not sa.mobike.decides:
        raise ValueError("this side cannot move the IKE SA by MOBIKE")
    sa.move(now, local=local, remote=remote)
    if not any(isinstance(each, UpdateExchange) and not each.is_under_way for each in sa.exchanges.pending()):
        sa.exchanges.submit(UpdateExchange(), now)


class UpdateExchange:
    """UPDATE_SA_ADDRESSES: the peer shall use the addresses this request comes from and goes to (section 3.5).

    Args:
        tries: how often it was sent before.
    """

    __slots__ = ("_cookie", "_ends", "_tries")

    exchange_type = ExchangeType.INFORMATIONAL

    def __init__(self, tries: int = 0) -> None:
        self._cookie = b""
        self._ends: tuple[SocketAddress, SocketAddress] | None = None
        self._tries = tries + 1

    @property
    def is_under_way(self) -> bool:
        """Whether it was sent."""
        return self._ends is not None

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        if sa.state is not State.ESTABLISHED:
            return None
        self._ends = (sa.local, sa.remote)
        self._cookie = sa.environment.random(_COOKIE_SIZE)
        return (
            NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES),
            *_detection(sa, sa.local, sa.remote),
            *_without_nats(sa),
            NotifyPayload(NotifyType.COOKIE2, data=self._cookie),
        )

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange."""
        if _wrong_cookie(sa, payloads, self._cookie, now) or sa.state is not State.ESTABLISHED:
            return
        if self._ends != (sa.local, sa.remote):
            # Moved again since: the request may have come from either place, so the peer is told once more.
            if not any(isinstance(each, UpdateExchange) for each in sa.exchanges.pending()):
                sa.exchanges.submit(UpdateExchange(), now)
        elif payloads.notification(NotifyType.UNEXPECTED_NAT_DETECTED) is not None:
            sa.environment.count("mobike-unexpected-nats")
            if self._tries < _MOST_UPDATES:
                sa.exchanges.submit(UpdateExchange(self._tries), now)
            else:
                sa.environment.emit(sa, AddressUpdateRefused("unexpected-nat-detected"))
        elif payloads.notification(NotifyType.UNACCEPTABLE_ADDRESSES) is not None:
            sa.environment.emit(sa, AddressUpdateRefused("unacceptable-addresses"))
        elif not closed_by_error(sa, payloads, now):
            spis = sa.initiator_spi + sa.responder_spi
            sa.nat = detect(sa.environment, payloads, spis, sa.local, sa.remote) or sa.nat
            sa.environment.emit(sa, AddressUpdated())


# The side that is told


def answer(
    sa: IkeSa, payloads: ReceivedPayloads, local: SocketAddress, remote: SocketAddress, now: float
) -> tuple[Payload, ...]:
    """What MOBIKE adds to the answer to an INFORMATIONAL request.

    Args:
        sa: the IKE SA.
        payloads: the request.
        local: where it came to.
        remote: where it came from.
        now: monotonic seconds.
    """
    if sa.mobike is None or sa.state is not State.ESTABLISHED:
        return ()
    cookie = payloads.notification(NotifyType.COOKIE2)
    # Any size would do for us; the peer may not choose one (section 4.2.5).
    echo = (cookie,) if cookie is not None and len(cookie.data) in _COOKIE_SIZES else ()
    if _finds_nat(payloads, local, remote):
        sa.environment.count("mobike-unexpected-nats")
        return (NotifyPayload(NotifyType.UNEXPECTED_NAT_DETECTED), *echo)
    if any(payloads.notification(kind) is not None for kind in _ADDRESS_LISTS):
        sa.mobike.peer_addresses = _addresses(payloads)
    update = payloads.notification(NotifyType.UPDATE_SA_ADDRESSES) is not None
    if update and (sa.mobike.decides or not sa.environment.configuration.accepts_address(remote.address)):
        sa.environment.count("mobike-updates-refused")
        return (NotifyPayload(NotifyType.UNACCEPTABLE_ADDRESSES), *echo)
    found = detect(sa.environment, payloads, sa.initiator_spi + sa.responder_spi, local, remote)
    if update:
        sa.nat = found or sa.nat
        _follow(sa, local, remote, now)
    return (*(() if found is None else _detection(sa, local, remote)), *echo)


class RoutabilityCheck:
    """Whether the peer is where it says: it returns a cookie that only goes there (section 3.7).

    Args:
        previous: where it was until the check.
    """

    __slots__ = ("_cookie", "_previous", "_remote")

    exchange_type = ExchangeType.INFORMATIONAL

    def __init__(self, previous: SocketAddress) -> None:
        self._cookie = b""
        self._previous = previous
        self._remote: SocketAddress | None = None

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        if sa.state is not State.ESTABLISHED:
            return None
        self._remote = sa.remote
        self._cookie = sa.environment.random(_COOKIE_SIZE)
        return (NotifyPayload(NotifyType.COOKIE2, data=self._cookie),)

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange."""
        if _wrong_cookie(sa, payloads, self._cookie, now) or sa.state is not State.ESTABLISHED:
            return
        # A request that was repeated elsewhere proves nothing of any place; another check is under way then.
        if self._remote == sa.remote and not closed_by_error(sa, payloads, now):
            sa.environment.count("mobike-updates")
            sa.take_children_along(self._previous)


def _follow(sa: IkeSa, local: SocketAddress, remote: SocketAddress, now: float) -> None:
    previous = sa.remote
    if sa.move(now, local=local, remote=remote, children=False):
        sa.exchanges.submit(RoutabilityCheck(previous), now)


def _wrong_cookie(sa: IkeSa, payloads: ReceivedPayloads, cookie: bytes, now: float) -> bool:
    """Close the IKE SA if the answer has another cookie than the request had; returns whether it was so."""
    returned = payloads.notification(NotifyType.COOKIE2)
    if returned is not None and hmac.compare_digest(returned.data, cookie):
        return False
    if sa.state is State.ESTABLISHED:
        sa.environment.count("mobike-wrong-cookies")
        sa.terminate("wrong-cookie", now)
    return True


def _detection(sa: IkeSa, local: SocketAddress, remote: SocketAddress) -> tuple[Payload, ...]:
    return detection_payloads(sa.environment, sa.initiator_spi + sa.responder_spi, local, remote)


def _without_nats(sa: IkeSa) -> tuple[Payload, ...]:
    """NO_NATS_ALLOWED, where NATs are not looked for: a changed address is an attack there (section 3.9)."""
    if sa.environment.configuration.nat_traversal is not NatTraversal.OFF:
        return ()
    return (NotifyPayload(NotifyType.NO_NATS_ALLOWED, data=_ends(sa.local, sa.remote)),)


def _ends(source: SocketAddress, destination: SocketAddress) -> bytes:
    ports = source.port.to_bytes(2, "big") + destination.port.to_bytes(2, "big")
    return source.address.packed + destination.address.packed + ports


def _finds_nat(payloads: ReceivedPayloads, local: SocketAddress, remote: SocketAddress) -> bool:
    """Whether the peer allows no NAT and its message did not come as it was sent."""
    said = payloads.notification(NotifyType.NO_NATS_ALLOWED)
    return said is not None and not hmac.compare_digest(said.data, _ends(remote, local))


def _addresses(payloads: ReceivedPayloads) -> tuple[IpAddress, ...]:
    """The further addresses in a message, the first ones if there are too many; malformed ones do not count."""
    found: list[IpAddress] = []
    for each in payloads:
        if not isinstance(each, NotifyPayload) or len(found) == _MOST_ADDRESSES:
            continue
        if each.type == NotifyType.ADDITIONAL_IP4_ADDRESS and len(each.data) == 4:
            found.append(IPv4Address(each.data))
        elif each.type == NotifyType.ADDITIONAL_IP6_ADDRESS and len(each.data) == 16:
            found.append(IPv6Address(each.data))
    return tuple(found)
