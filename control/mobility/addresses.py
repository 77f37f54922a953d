"""Which addresses may stand in mobility signalling."""

from __future__ import annotations

from ipaddress import IPv6Address

UNSPECIFIED = IPv6Address(0)

_MULTICAST_FIRST_OCTET = 0xFF
_LINK_LOCAL_TOP_10_BITS = 0xFE80 >> 6


def is_multicast(address: IPv6Address) -> bool:
    """Whether the address is in ff00::/8."""
    return int(address) >> 120 == _MULTICAST_FIRST_OCTET


def is_unicast(address: IPv6Address) -> bool:
    """Whether a packet may be sent to the address as to a single node: not multicast, not unspecified."""
    value = int(address)
    return value != 0 and value >> 120 != _MULTICAST_FIRST_OCTET


def is_unicast_routable(address: IPv6Address) -> bool:
    """Whether the address is a "unicast routable address" (RFC 6275 section 3.1): reachable from another subnet.

    Excludes multicast and link-local addresses and all below ``1::``: the unspecified and the loopback address,
    addresses that stand for IPv4 ones, and what the data path writes for an IPv4 care-of address. Done on the integer:
    this runs for every signalling packet, and ``ipaddress`` compares networks.
    """
    value = int(address)
    return value >> 120 != _MULTICAST_FIRST_OCTET and value >> 118 != _LINK_LOCAL_TOP_10_BITS and value >> 112 != 0
