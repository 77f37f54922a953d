"""Addresses of the measured bindings, and the first frame of each sort; programs/packet_rates.c writes the same."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, IPv6Network

from datapath.bindings import Tunnel

HOME_PREFIX = IPv6Network("2001:db8:100::/64")
CARE_OF_PREFIX = IPv6Network("2001:db8:b::/64")
CARE_OF_AFTER_CHANGE = IPv6Network("2001:db8:b:1::/64")
CORRESPONDENT_PREFIX = IPv6Network("2001:db8:c::/64")
ROUTED_PREFIX = IPv6Network("2001:db8:200::/64")
"""What the kernel forwards for comparison."""
HOME_AGENT = IPv6Address("2001:db8:a::1")
CORRESPONDENT = CORRESPONDENT_PREFIX[2]
ROUTER_MAC = bytes.fromhex("020000000001")
NEXT_HOP_MAC = bytes.fromhex("020000000002")

_LOW_HALF = (1 << 64) - 1
_HOME_MULTIPLIER = 0x9E3779B97F4A7C15
"""Odd, so that it scatters the interface identifiers without making two alike."""

PLAIN_SIZE = 64
TUNNELLED_SIZE = 104
"""Bytes of a frame outside and inside the tunnel, without preamble, check sequence and gap."""

_PAYLOAD_SIZE = 10
_UDP = 17


def home_address(index: int) -> IPv6Address:
    """Home address of the binding `index`."""
    return HOME_PREFIX[(index + 1) * _HOME_MULTIPLIER & _LOW_HALF]


def tunnel(index: int) -> Tunnel:
    """Where the packets of the binding `index` go."""
    return Tunnel(CARE_OF_PREFIX[index + 1], HOME_AGENT)


def tunnels(count: int) -> dict[IPv6Address, Tunnel]:
    """The bindings from 0 to `count`, by home address."""
    return {home_address(index): tunnel(index) for index in range(count)}


def plain_frame(destination: IPv6Address) -> bytes:
    """The correspondent's frame to a home address or to the routed prefix."""
    return _ethernet() + _ipv6(_PAYLOAD_SIZE, _UDP, CORRESPONDENT, destination) + bytes(_PAYLOAD_SIZE)


def tunnelled_frame(index: int) -> bytes:
    """The frame of the mobile node `index`, through the tunnel to the correspondent."""
    inner = _ipv6(_PAYLOAD_SIZE, _UDP, home_address(index), CORRESPONDENT) + bytes(_PAYLOAD_SIZE)
    return _ethernet() + _ipv6(len(inner), 41, CARE_OF_PREFIX[index + 1], HOME_AGENT) + inner


def macros() -> dict[str, str]:
    """The addresses as the C text wants them."""
    word = int.from_bytes(ROUTER_MAC + b"\x02\0", "little")
    return {
        "HOME_HIGH": _high(HOME_PREFIX[0]),
        "CARE_OF_HIGH": _high(CARE_OF_PREFIX[0]),
        "ROUTED_HIGH": _high(ROUTED_PREFIX[0]),
        "HOME_AGENT_HIGH": _high(HOME_AGENT),
        "HOME_AGENT_LOW": _low(HOME_AGENT),
        "CORRESPONDENT_HIGH": _high(CORRESPONDENT),
        "CORRESPONDENT_LOW": _low(CORRESPONDENT),
        "HOME_MULTIPLIER": f"{_HOME_MULTIPLIER:#x}ULL",
        "ROUTER_MAC_WORD": f"{word:#x}ULL",
    }


def _ethernet() -> bytes:
    return ROUTER_MAC + b"\x02\0\0\0\0\0" + b"\x86\xdd"


def _ipv6(payload: int, next_header: int, source: IPv6Address, destination: IPv6Address) -> bytes:
    return struct.pack(">IHBB", 0x60000000, payload, next_header, 64) + source.packed + destination.packed


def _high(address: IPv6Address) -> str:
    return f"{int(address) >> 64:#x}ULL"


def _low(address: IPv6Address) -> str:
    return f"{int(address) & _LOW_HALF:#x}ULL"
