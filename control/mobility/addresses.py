"""Which addresses may stand in mobility signalling."""

from __future__ import annotations

from ipaddress import IPv6Address

UNSPECIFIED = IPv6Address(0)

# By their first 16 bits, as integers: signalling asks for every packet, and ``ipaddress`` compares networks.
_LINK_LOCAL, _LINK_LOCAL_MASK = 0xFE80, 0xFFC0
_FIRST_MULTICAST = 0xFF00


def is_multicast(address: IPv6Address) -> bool:
    """Whether the address is in ff00::/8."""
    return int(address) >> 112 >= _FIRST_MULTICAST


def is_unicast(address: IPv6Address | int) -> bool:
    """Whether a packet may be sent to the address as to a single node: not multicast, not unspecified."""
    return 0 < int(address) < _FIRST_MULTICAST << 112


def is_unicast_routable(address: IPv6Address | int) -> bool:
    """Whether the address is a "unicast routable address" (RFC 6275 section 3.1): reachable from another subnet.

    Excludes multicast and link-local addresses and all below ``1::``: the unspecified and the loopback address,
    addresses that stand for IPv4 ones, and what the data path writes for an IPv4 care-of address.
    """
    first = int(address) >> 112
    return first != 0 and first < _FIRST_MULTICAST and first & _LINK_LOCAL_MASK != _LINK_LOCAL
