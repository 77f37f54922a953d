"""Binding Errors about Mobility Headers of unknown types (RFC 6275 sections 9.2 and 9.3.3).

Those about Home Address options without a binding are the data path's (bpf/binding_error.h).
"""

from __future__ import annotations

from ipaddress import IPv6Address

from control.mobility.addresses import UNSPECIFIED, is_unicast
from control.mobility.messages import BindingError, BindingErrorStatus

DEFAULT_RATE_PER_S = 10.0
DEFAULT_BURST = 10
"""Rate and burst RFC 4443 section 2.4 (f) proposes for ICMPv6 errors of a small or mid-size device."""


class BindingErrorResponder:
    """Makes Binding Errors, not more than a token bucket allows.

    The message goes to the IPv6 source address of the offending packet as it was on the wire, without routing header.
    """

    def __init__(self, now: float, rate_per_s: float = DEFAULT_RATE_PER_S, burst: int = DEFAULT_BURST) -> None:
        """A full bucket.

        Args:
            now: monotonic seconds.
            rate_per_s: messages a second in the long run.
            burst: messages at once.
        """
        self._rate = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at = now

    def unrecognized_type(
        self, source: IPv6Address, home_address_option: IPv6Address | None, now: float
    ) -> BindingError | None:
        """The answer to a Mobility Header of unknown type, None if none may be sent.

        Args:
            source: IPv6 source address of the packet on the wire.
            home_address_option: the address in its Home Address option, None without one.
            now: monotonic seconds.
        """
        if not is_unicast(source) or not self._take_token(now):
            return None
        return BindingError(BindingErrorStatus.UNRECOGNIZED_MOBILITY_HEADER_TYPE, home_address_option or UNSPECIFIED)

    def _take_token(self, now: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
