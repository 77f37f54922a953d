"""Into tunnels and out of them."""

from __future__ import annotations

from datapath.reasons import Reason
from tests.datapath.expected.packets import (
    NEIGHBOUR,
    Ip,
    answered,
    internet_sum,
    ipv6,
    is_forwardable,
    is_well_formed,
    may_be_answered,
    with_checksum,
)
from tests.datapath.expected.site import LINK_MTU, Bound, Check, Expected, Ipv4End, Site

TUNNEL_PORT = 4191
"""Of the home agent, for tunnels in UDP (RFC 5555 section 8)."""


def into_a_tunnel(site: Site, sent: bytes, packet: Ip) -> Expected | None:
    if packet.destination in site.home_agents:
        return None
    bound = site.mobile(packet.destination)
    if bound is None:
        return {Reason.PASS_NOT_OURS: sent}
    kind = packet.data[40:41]
    if packet.next_header == 58 and packet.hop_limit == NEIGHBOUR and kind and 133 <= kind[0] <= 137:
        return {Reason.PASS_NEIGHBOUR_DISCOVERY: sent}
    if not is_forwardable(packet.source):
        return {Reason.PASS_UNROUTABLE_SOURCE: sent}
    return _passed_on(Reason.FORWARD_ENCAPSULATED, sent, packet, bound, None)


def in_tunnel(link: bytes, bound: Bound, length: int, inner: bytes) -> bytes | Check:
    """The frame of a packet of the length, with whatever is behind it."""
    end = bound.care_of_address
    if isinstance(end, bytes):
        return link + b"\x86\xdd" + ipv6(bound.home_agent, end, 41, bytes(length), inner[:4])[:40] + inner
    whole = length > 1280
    total = (length + bound.overhead).to_bytes(2, "big")
    service = int.from_bytes(inner[:2], "big") >> 4 & 0xFF
    before = link + b"\x08\0" + bytes([0x45, service]) + total
    after = (b"\x40\0" if whole else b"\0\0") + bytes([64, 41 if end.port is None else 17])
    rest = end.home_agent + end.address
    if end.port is not None:
        ports = TUNNEL_PORT.to_bytes(2, "big") + end.port.to_bytes(2, "big")
        rest += ports + (length + 8).to_bytes(2, "big") + b"\0\0"
    at = len(link) + 2

    def is_in_ipv4(came: bytes) -> None:
        header = came[at : at + 20]
        assert came[: at + 4] == before
        assert header[6:10] == after
        assert came[at + 12 :] == rest + inner
        assert internet_sum(header) == 0xFFFF
        assert not whole or header[4:6] == b"\0\0"

    return is_in_ipv4


def _trouble(sent: bytes, packet: Ip, receiver: Bound, sender: Bound | None) -> Expected | None:
    """What keeps a packet out of a tunnel."""
    largest = LINK_MTU - receiver.overhead
    home_agent = (sender or receiver).home_agent
    if packet.hop_limit > 1 and packet.length <= largest:
        return None
    if not may_be_answered(packet):
        return {Reason.DROP_HOP_LIMIT if packet.hop_limit <= 1 else Reason.DROP_TOO_BIG: None}
    if packet.hop_limit <= 1:
        reason, header = Reason.REPLY_TIME_EXCEEDED, bytes([3, 0, 0, 0, 0, 0, 0, 0])
    else:
        reason, header = Reason.REPLY_PACKET_TOO_BIG, bytes([2, 0, 0, 0]) + largest.to_bytes(4, "big")
    message = header + packet.data[: min(packet.length, 1280 - 48)]
    error = with_checksum(ipv6(home_agent, packet.source, 58, message), 2)
    if sender is None:
        return {reason: answered(sent, error)}
    return {reason: in_tunnel(sent[6:12] + sent[:6], sender, len(error), error)}


def out_of_a_tunnel(site: Site, sent: bytes, outer: Ip) -> Expected | None:
    if outer.next_header != 41:
        return None
    return leaving(site, sent, outer.source, outer.data[1] >> 4 & 3, len(outer.payload), outer.data[40:])


def leaving(site: Site, sent: bytes, origin: bytes | Ipv4End, outside: int, room: int, data: bytes) -> Expected:
    """What comes out of a tunnel from `origin`, in at most `room` bytes; `outside` is the outer ECN field."""
    if not is_well_formed(data) or Ip(data).length > room:
        return {Reason.DROP_TUNNEL_MALFORMED: None}
    inner = Ip(data)
    sender = site.mobile(inner.source)
    if sender is None:
        return {Reason.DROP_TUNNEL_NO_BINDING: None}
    if sender.care_of_address != origin:
        return {Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS: None}
    if not is_forwardable(inner.destination):
        return {Reason.DROP_TUNNEL_DESTINATION: None}
    mark = _mark(inner.data[1] >> 4 & 3, outside)
    if mark is None:
        return {Reason.DROP_TUNNEL_CONGESTION: None}
    inner = Ip(inner.data[:1] + bytes([inner.data[1] & 0xCF | mark << 4]) + inner.data[2:])
    receiver = site.mobile(inner.destination)
    if receiver is not None:
        return _into_another_tunnel(site, sent, inner, sender, receiver)
    plain = inner.with_hop_limit(NEIGHBOUR - 1) if inner.hop_limit == NEIGHBOUR else inner.data
    to_the_kernel = sent[:12] + b"\x86\xdd" + plain
    if inner.destination in site.home_agents:
        return {Reason.PASS_DECAPSULATED_LOCAL: to_the_kernel}
    if inner.hop_limit <= 1:
        return {Reason.PASS_DECAPSULATED_HOP_LIMIT: to_the_kernel}
    forwarded = inner.with_hop_limit(inner.hop_limit - 1)
    link = site.neighbours.get(inner.destination)
    if link is not None and inner.length <= LINK_MTU:
        return {Reason.FORWARD_DECAPSULATED: link + b"\x86\xdd" + forwarded}

    def is_forwarded(came: bytes) -> None:
        assert came.endswith(b"\x86\xdd" + forwarded)
        assert len(came) - len(forwarded) in (14, 18)

    return {
        Reason.FORWARD_DECAPSULATED: is_forwarded,
        Reason.PASS_DECAPSULATED_NO_NEIGHBOUR: to_the_kernel,
        Reason.PASS_DECAPSULATED_SLOW_PATH: to_the_kernel,
    }


def _into_another_tunnel(site: Site, sent: bytes, inner: Ip, sender: Bound, receiver: Bound) -> Expected:
    if site.networks is not None and receiver == sender:
        return {Reason.DROP_TUNNEL_BACK: None}
    return _passed_on(Reason.FORWARD_REENCAPSULATED, sent, inner, receiver, sender)


def _passed_on(reason: Reason, sent: bytes, packet: Ip, receiver: Bound, sender: Bound | None) -> Expected:
    """A packet into the receiver's tunnel, or an error, through the sender's tunnel if the packet came by one."""
    trouble = _trouble(sent, packet, receiver, sender)
    if trouble is not None:
        return trouble
    return {reason: in_tunnel(receiver.link, receiver, packet.length, packet.with_hop_limit(packet.hop_limit - 1))}


def _mark(inside: int, outside: int) -> int | None:
    """The table of RFC 6040 section 4.2: 0 is Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE; None for drop."""
    if outside == 3:
        return 3 if inside else None
    return 1 if (inside, outside) == (2, 1) else inside
