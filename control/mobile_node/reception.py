"""What arrives at a mobile node and is neither IKE nor tunnelled: only signalling under ESP gets through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from control.ipsec.errors import EspError
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
    elif parsed.next_header == PROTOCOL_ESP and parsed.routing_header_2 is not None:
        try:
            message, association = signalling.open(parsed.payload, parsed.source, parsed.routing_header_2, now)
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
