"""Tunnelled packets that the data path cannot take apart as they come: in fragments, or behind extension headers.

The kernel has put them together and read those headers. They go back to the data path with a plain outer header, to be
checked, counted and sent like all others there: nothing of that is decided here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from control.ikev2.rate_limit import TokenBucket
from control.mobility.extension_headers import PROTOCOL_IPV6, build_ipv6
from control.mobility.ipv4_tunnel import build_in_ipv4
from control.wire import WireError

RATE_PER_S = 10_000
"""Packets a second that are taken; the rest of the daemon's time is for signalling."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Of a tunnel over IPv6.

    Attributes:
        source: where the packet came from.
        home_agent: where it went to.
    """

    source: IPv6Address
    home_agent: IPv6Address


@dataclass(frozen=True, slots=True)
class Ipv4Ends:
    """Of a tunnel over IPv4.

    Attributes:
        source: where the packet came from.
        home_agent: where it went to.
        udp_port: of the source, None without UDP.
    """

    source: IPv4Address
    home_agent: IPv4Address
    udp_port: int | None = None


@dataclass(frozen=True, slots=True)
class TunnelledPacket:
    """What was in a tunnel, and of its outer header what matters.

    Attributes:
        inner: from the inner IPv6 header on.
        ends: of the outer header.
        traffic_class: of the outer header; its ECN field has the marks of all fragments (RFC 3168 section 5.3).
        from_slow_path: whether the data path has let it pass again.
    """

    inner: bytes
    ends: Ends | Ipv4Ends
    traffic_class: int
    from_slow_path: bool = False


class TunnelSlowPath:
    """Makes the packets that return to the data path, no more of them than a bounded number a second.

    Attributes:
        statistics: packets by what became of them.
    """

    def __init__(self, largest: int, rate_per_s: int = RATE_PER_S) -> None:
        """Begin.

        Args:
            largest: bytes of the longest packet that can return.
            rate_per_s: packets a second, and at once.
        """
        self.statistics: Counter[str] = Counter()
        self._largest = largest
        self._bucket = TokenBucket(rate_per_s)

    def may_take(self, now: float) -> bool:
        """Whether one more packet may be taken at ``now`` (monotonic seconds); it is, if so."""
        return self._bucket.take(now)

    def packet_to_return(self, packet: TunnelledPacket) -> bytes | None:
        """The whole packet for the data path, None if it is not to get it."""
        if packet.from_slow_path:
            # Nobody has taken it there, so the program is off: it would come here for ever.
            self.statistics["tunnel-not-taken"] += 1
            return None
        whole = _with_outer_header(packet)
        if whole is None or len(whole) > self._largest:
            self.statistics["tunnel-too-long"] += 1
            return None
        self.statistics["tunnel-returned"] += 1
        return whole


def _with_outer_header(packet: TunnelledPacket) -> bytes | None:
    """None if it is too long for one."""
    ends = packet.ends
    try:
        if isinstance(ends, Ipv4Ends):
            return build_in_ipv4(ends.source, ends.home_agent, packet.inner, packet.traffic_class, ends.udp_port)
        return build_ipv6(ends.source, ends.home_agent, PROTOCOL_IPV6, packet.inner, traffic_class=packet.traffic_class)
    except WireError:
        return None
