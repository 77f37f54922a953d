"""The address plan of the laboratory, all within 2001:db8::/32 (RFC 3849)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

#: Home prefix of the home agent that fails; in the same-prefix case its successor serves it too.
HOME_PREFIX = IPv6Network("2001:db8:100::/64")
CORRESPONDENT_PREFIX = IPv6Network("2001:db8:c::/64")
#: Care-of addresses of simulated nodes.
ACCESS_PREFIX = IPv6Network("2001:db8:acce::/64")
#: Care-of addresses of simulated nodes that the failure does not concern.
BACKGROUND_ACCESS_PREFIX = IPv6Network("2001:db8:accf::/64")

#: A home agent's interface identifier. Its last six octets are zero: Wireshark (4.0 to date) takes the last six octets
#: of the addresses in a Home Agent Switch for mobility options, too, and zeros are padding to it.
HOME_AGENT_HOST = 1 << 48

_FIRST_NODE_HOST = 0x1000
_ROUTER_HOST = 0xFFFE


def own_home_prefix(number: int) -> IPv6Network:
    """Home prefix of surviving home agent `number`, counted from 2, where each has its own."""
    return IPv6Network((int(IPv6Address("2001:db8::")) + (number << 88), 64))


def home_agent_prefix(number: int) -> IPv6Network:
    """Link of home agent `number`, counted from 1."""
    return IPv6Network((int(IPv6Address("2001:db8:a0::")) + (number << 80), 64))


def node_prefix(number: int) -> IPv6Network:
    """Visited link of mobile node `number`, counted from 1."""
    return IPv6Network((int(IPv6Address("2001:db8:b::")) + (number << 64), 64))


def further_node_prefix(number: int) -> IPv6Network:
    """Link that mobile node `number`, counted from 1, can move to."""
    return IPv6Network((int(IPv6Address("2001:db8:d::")) + (number << 64), 64))


def router_address(prefix: IPv6Network) -> IPv6Address:
    """The core's address on a link."""
    return prefix[_ROUTER_HOST]


def home_address(number: int, prefix: IPv6Network = HOME_PREFIX) -> IPv6Address:
    """Configured home address of node `number`, counted from 1."""
    return prefix[_FIRST_NODE_HOST + number]


def simulated_care_of_address(number: int, prefix: IPv6Network = ACCESS_PREFIX) -> IPv6Address:
    """Care-of address of simulated node `number`, counted from 1."""
    return prefix[_FIRST_NODE_HOST + number]
