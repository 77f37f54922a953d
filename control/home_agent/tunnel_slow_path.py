"""Tunnelled packets that the data path cannot take apart as they come: in fragments, or behind extension headers.

The kernel has put them together and read those headers. They go back to the data path with a plain outer header, to be
checked, counted and sent like all others there: nothing of that is decided here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv6Address

from control.ikev2.rate_limit import TokenBucket
from control.mobility.extension_headers import IPV6_HEADER_SIZE, PROTOCOL_IPV6, build_ipv6

RATE_PER_S = 10_000
"""Packets a second that are taken; the rest of the daemon's time is for signalling."""


@dataclass(frozen=True, slots=True)
class TunnelledPacket:
    """What was in a tunnel, and of its outer header what matters.

    Attributes:
        inner: from the inner IPv6 header on.
        source: of the outer header.
        traffic_class: of the outer header; its ECN field has the marks of all fragments (RFC 3168 section 5.3).
        from_slow_path: whether the data path has let it pass again.
    """

    inner: bytes
    source: IPv6Address
    traffic_class: int
    from_slow_path: bool = False


class TunnelSlowPath:
    """Makes the packets that return to the data path, no more of them than a bounded number a second.

    Attributes:
        statistics: packets by what became of them.
    """

    def __init__(self, home_agent: IPv6Address, largest: int, rate_per_s: int = RATE_PER_S) -> None:
        """Begin.

        Args:
            home_agent: the address the tunnels end at.
            largest: bytes of the longest packet that can return.
            rate_per_s: packets a second, and at once.
        """
        self.statistics: Counter[str] = Counter()
        self._home_agent = home_agent
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
        if IPV6_HEADER_SIZE + len(packet.inner) > self._largest:
            self.statistics["tunnel-too-long"] += 1
            return None
        self.statistics["tunnel-returned"] += 1
        return build_ipv6(
            packet.source, self._home_agent, PROTOCOL_IPV6, packet.inner, traffic_class=packet.traffic_class
        )
