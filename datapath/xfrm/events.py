"""What the kernel tells of its own accord: states at their limits, and packets that lack a state."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from datapath.xfrm.errors import XfrmMalformed
from datapath.xfrm.numbers import FAMILY_INET6, PROTOCOL_ESP, MessageType
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import parse_state
from datapath.xfrm.structs import ACQUIRE, EXPIRE, SELECTOR, STATE, STATE_ID


@dataclass(frozen=True, slots=True)
class StateExpired:
    """A state has reached a limit.

    Attributes:
        destination: with ``spi`` which it is.
        hard: it is gone; else it is to be replaced.
    """

    destination: IPv6Address
    spi: int
    hard: bool


@dataclass(frozen=True, slots=True)
class StateMissing:
    """A policy demands a state that is not there, and a packet was not sent for it.

    Attributes:
        destination: where the state would have to lead.
        selector: of the packet; None if it is not one between two IPv6 hosts.
    """

    destination: IPv6Address
    selector: Selector | None


Event = StateExpired | StateMissing


def parse_event(kind: int, body: bytes) -> Event | None:
    """What a message tells; None if it is about anything but ESP over IPv6.

    Raises:
        XfrmMalformed: too short.
    """
    if kind == MessageType.EXPIRE:
        return _expired(body)
    if kind == MessageType.ACQUIRE:
        return _missing(body)
    return None


def _expired(body: bytes) -> StateExpired | None:
    if len(body) < EXPIRE.size:
        raise XfrmMalformed(f"an expiry of {len(body)} bytes")
    _, hard = EXPIRE.unpack_from(body)
    state = parse_state(body[: STATE.size])
    return None if state is None else StateExpired(state.destination, state.spi, bool(hard))


def _missing(body: bytes) -> StateMissing | None:
    if len(body) < ACQUIRE.size:
        raise XfrmMalformed(f"a request for a state of {len(body)} bytes")
    identifier, _, selector, *_ = ACQUIRE.unpack_from(body)
    destination, _, protocol = STATE_ID.unpack(identifier)
    if (SELECTOR.unpack(selector)[6], protocol) != (FAMILY_INET6, PROTOCOL_ESP):
        return None
    return StateMissing(IPv6Address(destination), Selector.from_wire(selector))
