"""When a home agent sends a Binding Error (RFC 6275 sections 9.2, 9.3.1 and 9.3.3)."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.mobility.addresses import UNSPECIFIED, is_unicast
from control.mobility.binding_cache import Binding
from control.mobility.messages import BindingError, BindingErrorStatus
from control.mobility.numbers import MOBILITY_HEADER_PROTOCOL

DEFAULT_RATE_PER_S = 10.0
DEFAULT_BURST = 10
"""Rate and burst RFC 4443 section 2.4 (f) proposes for ICMPv6 errors of a small or mid-size device."""

_PROTECTED_PROTOCOLS = frozenset((50, 51, MOBILITY_HEADER_PROTOCOL))
"""ESP, AH and Mobility Header: a Home Address option before these needs no binding."""


def home_address_option_allowed(
    home_address: IPv6Address, care_of_address: IPv6Address, next_header: int, binding: Binding | None
) -> bool:
    """Whether a packet with a Home Address option may be processed (RFC 6275 section 9.3.1).

    Args:
        home_address: the address in the option.
        care_of_address: the IPv6 source address on the wire.
        next_header: the protocol behind the Destination Options header.
        binding: the binding of ``home_address``, None if there is none.

    Returns:
        False if it must be dropped and answered with :meth:`BindingErrorResponder.unknown_binding`.
    """
    if next_header in _PROTECTED_PROTOCOLS:
        return True
    return binding is not None and binding.home_address == home_address and binding.care_of_address == care_of_address


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
        return self._error(
            BindingErrorStatus.UNRECOGNIZED_MOBILITY_HEADER_TYPE, source, home_address_option or UNSPECIFIED, now
        )

    def unknown_binding(self, source: IPv6Address, home_address_option: IPv6Address, now: float) -> BindingError | None:
        """The answer to a Home Address option without a binding, None if none may be sent.

        Args:
            source: IPv6 source address of the packet on the wire.
            home_address_option: the address in its Home Address option.
            now: monotonic seconds.
        """
        return self._error(BindingErrorStatus.UNKNOWN_BINDING, source, home_address_option, now)

    def _error(
        self, status: BindingErrorStatus, source: IPv6Address, home_address: IPv6Address, now: float
    ) -> BindingError | None:
        if not is_unicast(source) or not self._take_token(now):
            return None
        return BindingError(status, home_address)

    def _take_token(self, now: float) -> bool:
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
