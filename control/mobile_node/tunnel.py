"""The bidirectional tunnel between a mobile node and its home agent (RFC 6275 section 11.3, RFC 3963 section 5.5).

This is where bulk traffic passes, so addresses are compared as bytes and nothing is parsed twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network

from control.mobile_node.mobile_network import PrefixFilter
from control.mobility.extension_headers import IPV6_HEADER_SIZE, encapsulate

_VERSION = 6


class Tunnel:
    """Checks and strips what comes out of the tunnel, checks and wraps what goes in.

    Attributes:
        care_of_address: the near end; its owner keeps it up to date.
        home_agent: the far end; None while the tunnel is closed.
        sending: whether packets may go in.
    """

    __slots__ = ("_home_address", "_home_agent", "_networks", "_statistics", "care_of_address", "home_agent", "sending")

    def __init__(
        self, care_of_address: IPv6Address, statistics: Counter[str], networks: Iterable[IPv6Network] = ()
    ) -> None:
        """A closed tunnel.

        Args:
            care_of_address: the near end.
            statistics: where packets are counted.
            networks: prefixes behind the node, which may use the tunnel as the home address does.
        """
        self.home_agent: IPv6Address | None = None
        self.sending = False
        self.care_of_address = care_of_address
        self._home_agent = b""
        self._home_address = b""
        self._networks = PrefixFilter(networks)
        self._statistics = statistics

    def open(self, home_agent: IPv6Address, home_address: IPv6Address, *, sending: bool) -> None:
        """Let packets of ``home_agent`` in, and with ``sending`` those of ``home_address`` out."""
        self.home_agent = home_agent
        self.sending = sending
        self._home_agent = home_agent.packed
        self._home_address = home_address.packed

    def close(self) -> None:
        """Let nothing through."""
        self.home_agent = None
        self.sending = False

    def receive(self, outer_source: bytes, inner: bytes) -> bytes | None:
        """The inner packet if it may pass, else None, counted by reason.

        Args:
            outer_source: source address of the outer header, 16 bytes.
            inner: all that follows the outer header.
        """
        if self.home_agent is None or outer_source != self._home_agent:
            reason = "tunnel-not-from-home-agent"
        elif len(inner) < IPV6_HEADER_SIZE or inner[0] >> 4 != _VERSION:
            reason = "tunnel-malformed"
        elif not self._is_own(inner[24:40]):
            reason = "tunnel-not-for-home-address"
        else:
            self._statistics["tunnel-received"] += 1
            return inner
        self._statistics[reason] += 1
        return None

    def send(self, inner: bytes) -> bytes | None:
        """The whole packet that carries ``inner`` to the home agent; None, counted, if it cannot go.

        Only packets from the home address or a network behind the node go: the home agent would drop others (RFC 6275
        section 10.4.5).
        """
        if self.home_agent is None or not self.sending:
            reason = "tunnel-not-registered"
        elif len(inner) < IPV6_HEADER_SIZE or inner[0] >> 4 != _VERSION or not self._is_own(inner[8:24]):
            reason = "tunnel-not-from-home-address"
        else:
            self._statistics["tunnel-sent"] += 1
            return encapsulate(self.care_of_address, self.home_agent, inner)
        self._statistics[reason] += 1
        return None

    def _is_own(self, address: bytes) -> bool:
        return address == self._home_address or address in self._networks
