"""Addresses of the measured bindings, and the first frame of each sort; programs/packet_rates.c writes the same."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from scapy.packet import Raw

from bench.packet_rates.corpus.addresses import CORRESPONDENT
from bench.packet_rates.corpus.headers import link, packet
from datapath.bindings import Tunnel

HOME_PREFIX = IPv6Network("2001:db8:100::/64")
CARE_OF_PREFIX = IPv6Network("2001:db8:b::/64")
CARE_OF_AFTER_CHANGE = IPv6Network("2001:db8:b:1::/64")
CORPUS_CARE_OF_PREFIX = IPv6Network("2001:db8:f::/64")
CORRESPONDENT_PREFIX = IPv6Network("2001:db8:c::/64")
ROUTED_PREFIX = IPv6Network("2001:db8:200::/64")
"""What the kernel forwards for comparison."""
HOME_AGENT = IPv6Address("2001:db8:a::1")
ROUTER_MAC = bytes.fromhex("020000000001")
NEXT_HOP_MAC = bytes.fromhex("020000000002")

_LOW_HALF = (1 << 64) - 1
_HOME_MULTIPLIER = 0x9E3779B97F4A7C15
"""Odd, so that it scatters the interface identifiers without making two alike."""

PLAIN_SIZE = 64
TUNNELLED_SIZE = 104
"""Bytes of a frame outside and inside the tunnel, without preamble, check sequence and gap."""

_LINK = link(dst=ROUTER_MAC.hex(":"), src="02:00:00:00:00:00")
_UDP = {"nh": 17, "hlim": 64}
_PAYLOAD = Raw(bytes(10))


def home_address(index: int) -> IPv6Address:
    """Home address of the binding `index`."""
    return HOME_PREFIX[(index + 1) * _HOME_MULTIPLIER & _LOW_HALF]


def tunnel(index: int, prefix: IPv6Network = CARE_OF_PREFIX) -> Tunnel:
    """Where the packets of the binding `index` go."""
    return Tunnel(prefix[index + 1], HOME_AGENT)


def tunnels(count: int, first: int = 0, prefix: IPv6Network = CARE_OF_PREFIX) -> dict[IPv6Address, Tunnel]:
    """So many bindings, from `first` on, by home address."""
    return {home_address(index): tunnel(index, prefix) for index in range(first, first + count)}


def plain_frame(destination: IPv6Address) -> bytes:
    """The correspondent's frame to a home address or to the routed prefix."""
    return bytes(_LINK / packet(CORRESPONDENT, destination, **_UDP) / _PAYLOAD)


def tunnelled_frame(index: int) -> bytes:
    """The frame of the mobile node `index`, through the tunnel to the correspondent."""
    inner = packet(home_address(index), CORRESPONDENT, **_UDP) / _PAYLOAD
    return bytes(_LINK / packet(CARE_OF_PREFIX[index + 1], HOME_AGENT, hlim=64) / inner)


def macros() -> dict[str, str]:
    """The addresses as the C text wants them."""
    word = int.from_bytes(ROUTER_MAC + b"\x02\0", "little")
    return {
        "HOME_HIGH": _high(HOME_PREFIX[0]),
        "CARE_OF_HIGH": _high(CARE_OF_PREFIX[0]),
        "CHANGED_CARE_OF_HIGH": _high(CARE_OF_AFTER_CHANGE[0]),
        "ROUTED_HIGH": _high(ROUTED_PREFIX[0]),
        "HOME_AGENT_HIGH": _high(HOME_AGENT),
        "HOME_AGENT_LOW": _low(HOME_AGENT),
        "CORRESPONDENT_HIGH": _high(CORRESPONDENT),
        "CORRESPONDENT_LOW": _low(CORRESPONDENT),
        "HOME_MULTIPLIER": f"{_HOME_MULTIPLIER:#x}ULL",
        "ROUTER_MAC_WORD": f"{word:#x}ULL",
    }


def _high(address: IPv6Address) -> str:
    return f"{int(address) >> 64:#x}ULL"


def _low(address: IPv6Address) -> str:
    return f"{int(address) & _LOW_HALF:#x}ULL"
