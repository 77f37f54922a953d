"""What the frame tests of tunnels over IPv4 share: addresses and frames."""

from __future__ import annotations

from ipaddress import IPv4Address

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from datapath.bindings import IPv4CareOfAddress

AGENT = IPv4Address("192.0.2.1")
PLAIN = IPv4CareOfAddress(IPv4Address("192.0.2.5"), AGENT)
IN_UDP = IPv4CareOfAddress(IPv4Address("192.0.2.6"), AGENT, 20_000)
MACS = {PLAIN: "02:00:00:00:04:05", IN_UDP: "02:00:00:00:04:06"}


def bind(testbed, care_of, home=None) -> None:
    testbed.bindings.install(home or testbed.home, care_of, testbed.home_agent)


def to_home(testbed, payload: Packet | None = None, **fields: object) -> Packet:
    header = {"src": str(testbed.correspondent), "dst": str(testbed.home), "hlim": 64, "tc": 0xBA, "fl": 5} | fields
    return IPv6(**header) / (UDP(sport=1000, dport=2000) / Raw(b"data") if payload is None else payload)


def from_home(testbed, payload: Packet | None = None, **fields: object) -> Packet:
    return to_home(testbed, payload, **({"src": str(testbed.home), "dst": str(testbed.correspondent)} | fields))


def sized(testbed, length: int, **fields: object) -> Packet:
    return to_home(testbed, UDP(sport=1, dport=2) / Raw(bytes(length - 48)), **fields)


def received(testbed, packet: Packet) -> bytes:
    return bytes(Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac) / packet)


def headers(care_of: IPv4CareOfAddress, inner: Packet, **fields: object) -> Packet:
    """What the home agent puts in front of a packet."""
    whole = len(inner) > 1280
    outer = IP(
        src=str(care_of.home_agent_address),
        dst=str(care_of.address),
        proto=41 if care_of.udp_port is None else 17,
        ttl=64,
        tos=inner.tc,
        flags="DF" if whole else 0,
        **{"id": 0} | fields,
    )
    return outer if care_of.udp_port is None else outer / UDP(sport=4191, dport=care_of.udp_port, chksum=0)


def sent(testbed, care_of: IPv4CareOfAddress, inner: Packet, frame: bytes = b"") -> bytes:
    """The expected frame; the identification, where it is random, is that of `frame`."""
    identification = 0 if len(inner) > 1280 else int.from_bytes(frame[18:20], "big")
    link = Ether(src=testbed.core_mac, dst=MACS.get(care_of, MACS[PLAIN]))
    return bytes(link / headers(care_of, inner, id=identification) / inner)


def tunnelled(
    testbed, care_of: IPv4CareOfAddress, inner: Packet, *, sport: int | None = None, **fields: object
) -> bytes:
    """A frame out of the tunnel of a node."""
    outer = IP(**{"src": str(care_of.address), "dst": str(AGENT), "ttl": 50, "proto": 41} | fields)
    if care_of.udp_port is not None:
        outer = IP(**{"src": str(care_of.address), "dst": str(AGENT), "ttl": 50} | fields)
        outer /= UDP(sport=sport or care_of.udp_port, dport=4191)
    return bytes(Ether(src=MACS[care_of], dst=testbed.core_mac) / outer / inner)
