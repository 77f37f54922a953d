"""The network behind a mobile node that is a mobile router (RFC 3963)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Network

from control.mobility.messages.binding_acknowledgement import BindingAcknowledgementStatus
from control.mobility.options import MobileNetworkPrefix

ROUTER_REFUSED = frozenset(
    {
        BindingAcknowledgementStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED,
        BindingAcknowledgementStatus.INVALID_PREFIX,
        BindingAcknowledgementStatus.NOT_AUTHORIZED_FOR_PREFIX,
        BindingAcknowledgementStatus.FORWARDING_SETUP_FAILED,
    }
)
"""Statuses that another Binding Update to the same home agent would only get again (section 5.4)."""

_ADDRESS_BITS = 128


@dataclass(frozen=True, slots=True)
class MobileNetwork:
    """What a mobile router registers besides itself.

    Attributes:
        prefixes: of the network.
        explicit: whether Binding Updates name them; else the home agent has to know them (section 5.2).
    """

    prefixes: tuple[IPv6Network, ...]
    explicit: bool = True

    @property
    def options(self) -> tuple[MobileNetworkPrefix, ...]:
        """What a Binding Update carries."""
        return tuple(map(MobileNetworkPrefix.of, self.prefixes)) if self.explicit else ()


class PrefixFilter:
    """Tells whether an address, as it stands in a packet, is in one of a few prefixes."""

    __slots__ = ("_prefixes",)

    def __init__(self, prefixes: Iterable[IPv6Network]) -> None:
        self._prefixes = [
            (_ADDRESS_BITS - prefix.prefixlen, int(prefix.network_address) >> (_ADDRESS_BITS - prefix.prefixlen))
            for prefix in prefixes
        ]

    def __contains__(self, address: bytes) -> bool:
        if not self._prefixes:
            return False
        value = int.from_bytes(address, "big")
        return any(value >> rest == prefix for rest, prefix in self._prefixes)
