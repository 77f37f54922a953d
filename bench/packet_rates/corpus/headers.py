"""What frames of the corpus begin with, and what they often hold."""

from __future__ import annotations

from ipaddress import IPv6Address

from scapy.contrib.ikev2 import IKEv2
from scapy.layers.inet import UDP
from scapy.layers.inet6 import HAO, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from bench.packet_rates.corpus.addresses import CARE_OF, CORE_MAC, CORRESPONDENT, HOME, HOME_AGENT, NODE_MAC

DATA = UDP(sport=1000, dport=2000) / Raw(b"payload!")
IKE_REQUEST = IKEv2(init_SPI=b"initiate", next_payload=33, exch_type=34, flags=8, length=228) / Raw(bytes(200))


def link(**fields: object) -> Packet:
    """The Ethernet header of a frame from the next hop to the interface ``core``."""
    return Ether(**({"src": NODE_MAC, "dst": CORE_MAC} | fields))


def packet(source: IPv6Address, destination: IPv6Address, **fields: object) -> Packet:
    """An IPv6 header."""
    return IPv6(src=str(source), dst=str(destination), **({"hlim": 60} | fields))


def tunnelled(inner: Packet, **fields: object) -> bytes:
    """A packet of the node in its tunnel."""
    return bytes(link() / packet(CARE_OF, HOME_AGENT, nh=41, **fields) / inner)


def to_home(payload: Packet = DATA, source: IPv6Address = CORRESPONDENT, **fields: object) -> bytes:
    """A packet to the home address, from the correspondent unless another source is named."""
    return bytes(link() / packet(source, HOME, **fields) / payload)


def from_home(destination: IPv6Address, payload: Packet = DATA, **fields: object) -> Packet:
    """A packet of the node, without its tunnel."""
    return packet(HOME, destination, **fields) / payload


def to_agent(*payload: Packet, source: IPv6Address = CARE_OF, **fields: object) -> bytes:
    """Extension headers and what follows them, to the home agent."""
    whole: Packet = packet(source, HOME_AGENT, **fields)
    for part in payload:
        whole /= part
    return bytes(link() / whole)


def home_address_option(home_address: IPv6Address = HOME, **fields: object) -> Packet:
    """A Destination Options header with a Home Address option."""
    return IPv6ExtHdrDestOpt(options=[HAO(hoa=str(home_address))], **fields)


def quoting(error: Packet, inner: Packet) -> bytes:
    """An error of a router about a packet that was in the tunnel."""
    quoted = bytes(packet(HOME_AGENT, CARE_OF, nh=41, hlim=64) / inner)[:1000]
    return bytes(link() / packet(IPv6Address("2001:db8:f::9"), HOME_AGENT) / error / Raw(quoted))
