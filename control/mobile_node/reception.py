"""What arrives at a mobile node and is neither IKE nor tunnelled: only signalling under ESP gets through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from control.ikev2.address import NAT_TRAVERSAL_PORT
from control.ipsec.errors import EspError
from control.ipsec.udp_encapsulation import PROTOCOL_UDP, unwrap_from_udp
from control.mobile_node.signalling import PROTOCOL_ESP, MobileSignalling
from control.mobility.extension_headers import parse_ipv6
from control.mobility.messages import MobilityMessage
from control.mobility.numbers import MOBILITY_HEADER_PROTOCOL
from control.wire import WireError


def open_signalling(
    packet: bytes,
    addresses: Collection[bytes],
    signalling: MobileSignalling,
    statistics: Counter[str],
    now: float,
) -> tuple[MobilityMessage, int] | None:
    """The message in a packet, and the SPI of the security association that protected it; None, counted, if none.

    Args:
        packet: a whole IPv6 packet.
        addresses: the node's care-of addresses, 16 bytes each.
        signalling: opens what is protected.
        statistics: where refused packets are counted.
        now: monotonic seconds.
    """
    try:
        parsed = parse_ipv6(packet)
    except WireError as error:
        statistics[f"packet-{error.reason}"] += 1
        return None
    if parsed.destination.packed not in addresses:
        statistics["not-for-care-of-address"] += 1
    elif parsed.next_header in (PROTOCOL_ESP, PROTOCOL_UDP) and parsed.routing_header_2 is not None:
        try:
            protected = parsed.payload if parsed.next_header == PROTOCOL_ESP else _esp_in_udp(parsed.payload)
            message, association = signalling.open(protected, parsed.source, parsed.routing_header_2, now)
        except EspError as error:
            statistics[f"esp-{error.reason}"] += 1
        except WireError as error:
            statistics[f"mobility-{error.reason}"] += 1
        else:
            return message, association.spi
    elif parsed.next_header == MOBILITY_HEADER_PROTOCOL:
        statistics["unprotected-mobility-message"] += 1
    else:
        statistics["unexpected-packet"] += 1
    return None


def _esp_in_udp(payload: bytes) -> bytes:
    """The ESP packet in a UDP datagram of a flow that is for them."""
    _, port, data = unwrap_from_udp(payload)
    if port != NAT_TRAVERSAL_PORT:
        raise WireError("unexpected-port", f"UDP port {port}")
    return data
