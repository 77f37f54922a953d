"""What may become of a frame, worked out from its bytes alone, without any code of the data path.

``judge`` gives the reasons that are right for a frame, each with the frame that comes out. What a feature adds is a
rule in ``_RULES``, in front of those that it takes frames away from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network

from datapath.reasons import Reason

Check = Callable[[bytes], None]
Expected = dict[Reason, bytes | Check | None]
"""The frame that comes out, what it has to fulfil, or None where nothing comes out."""

ESP_AND_THE_LIKE = (50, 51, 135)
"""Protocols that a Home Address option may precede without a binding (RFC 6275 section 9.3.1)."""
LINK_MTU = 1500
TUNNEL_PORT = 4191
"""Of the home agent, for tunnels in UDP (RFC 5555 section 8)."""


@dataclass(frozen=True)
class Ipv4End:
    """Both ends of a tunnel over IPv4, and the node's port if it is in UDP."""

    address: bytes
    home_agent: bytes
    port: int | None = None


@dataclass(frozen=True)
class Bound:
    """A binding, and the MAC address of the next hop to its care-of address, of IPv6 or of IPv4."""

    home_address: bytes
    care_of_address: bytes | Ipv4End
    home_agent: bytes
    mac: bytes

    @property
    def overhead(self) -> int:
        """Bytes in front of a packet in the tunnel."""
        if isinstance(self.care_of_address, bytes):
            return 40
        return 20 if self.care_of_address.port is None else 28


@dataclass(frozen=True)
class Site:
    """What the program was told, and what is around it.

    Attributes:
        interface: MAC address of the interface that leads to the care-of addresses.
        neighbours: by address of a correspondent, the Ethernet addresses its frames leave with.
        networks: of mobile routers, by home address; None where the program knows of no such.
        ipv4_addresses: where tunnels over IPv4 end; none where the program knows of no such.
        limited: whether strangers have limits, which are exceeded or not.
    """

    home_agents: frozenset[bytes]
    bindings: Mapping[bytes, Bound]
    interface: bytes
    neighbours: Mapping[bytes, bytes]
    networks: Mapping[IPv6Network, bytes] | None = None
    ipv4_addresses: frozenset[bytes] = frozenset()
    limited: bool = False

    def mobile(self, address: bytes) -> Bound | None:
        """Whose tunnel leads to the address."""
        if address in self.bindings:
            return self.bindings[address]
        if self.networks is None or address in self.home_agents:
            return None
        inside = [network for network in self.networks if IPv6Address(address) in network]
        if not inside:
            return None
        return self.bindings.get(self.networks[max(inside, key=lambda network: network.prefixlen)])


@dataclass(frozen=True)
class Ip:
    """An IPv6 packet at the beginning of ``data``, which may go on behind it."""

    data: bytes
    length: int = field(init=False)
    next_header: int = field(init=False)
    hop_limit: int = field(init=False)
    source: bytes = field(init=False)
    destination: bytes = field(init=False)

    def __post_init__(self) -> None:
        data = self.data
        values = (40 + int.from_bytes(data[4:6], "big"), data[6], data[7], data[8:24], data[24:40])
        for name, value in zip(("length", "next_header", "hop_limit", "source", "destination"), values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def payload(self) -> bytes:
        return self.data[40 : self.length]

    def with_hop_limit(self, hop_limit: int) -> bytes:
        return self.data[:7] + bytes([hop_limit]) + self.data[8:]


def is_well_formed(data: bytes) -> bool:
    """A whole IPv6 packet that is no jumbogram."""
    if len(data) < 40 or data[0] >> 4 != 6:
        return False
    length = int.from_bytes(data[4:6], "big")
    return len(data) >= 40 + length and not (length == 0 and data[6] == 0)


def is_forwardable(address: bytes) -> bool:
    """What a router may forward to and from."""
    known = IPv6Address(address)
    unspecified_or_loopback = int(known) <= 1
    return not (known.is_multicast or known.is_link_local or unspecified_or_loopback)


def ipv6(source: bytes, destination: bytes, next_header: int, payload: bytes, first: bytes = b"\x60\0\0\0") -> bytes:
    """A packet with the hop limit of all that the home agent makes."""
    return first + len(payload).to_bytes(2, "big") + bytes([next_header, 64]) + source + destination + payload


def internet_sum(data: bytes) -> int:
    """The one's complement sum of 16-bit words."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def with_checksum(packet: bytes, at: int) -> bytes:
    """The packet with the checksum of its upper layer, which is at this place of the payload."""
    payload = packet[40:]
    payload = payload[:at] + b"\0\0" + payload[at + 2 :]
    pseudo_header = packet[8:40] + len(payload).to_bytes(4, "big") + bytes([0, 0, 0, packet[6]])
    checksum = 0xFFFF - internet_sum(pseudo_header + payload)
    return packet[:40] + payload[:at] + checksum.to_bytes(2, "big") + payload[at + 2 :]


def has_right_checksum(packet: Ip) -> bool:
    """Whether the sum over pseudo header and payload is what it has to be."""
    pseudo_header = packet.source + packet.destination + len(packet.payload).to_bytes(4, "big")
    return internet_sum(pseudo_header + bytes([0, 0, 0, packet.next_header]) + packet.payload) == 0xFFFF


def answered(sent: bytes, packet: bytes) -> bytes:
    """A frame back to where one came from."""
    return sent[6:12] + sent[:6] + b"\x86\xdd" + packet


# Rules, in the order in which they are asked.

Rule = Callable[[Site, bytes, Ip], Expected | None]


def judge(site: Site, sent: bytes) -> Expected:
    """What may become of the frame; exactly one of these does."""
    over_ipv4 = sent[12:14] == b"\x08\0" and bool(site.ipv4_addresses)
    if sent[12:14] != b"\x86\xdd" and not over_ipv4:
        return {Reason.PASS_NOT_IPV6: sent}
    if sent[0] & 1:
        return {Reason.PASS_GROUP_FRAME: sent}
    if over_ipv4:
        return _over_ipv4(site, sent)
    if not is_well_formed(sent[14:]):
        return {Reason.PASS_MALFORMED: sent}
    packet = Ip(sent[14:])
    for rule in _RULES:
        expected = rule(site, sent, packet)
        if expected is not None:
            return expected
    return {Reason.PASS_HOME_AGENT: sent}


def _into_a_tunnel(site: Site, sent: bytes, packet: Ip) -> Expected | None:
    if packet.destination in site.home_agents:
        return None
    bound = site.mobile(packet.destination)
    if bound is None:
        return {Reason.PASS_NOT_OURS: sent}
    if packet.next_header == 58 and packet.hop_limit == 255 and packet.data[40:41] and 133 <= packet.data[40] <= 137:
        return {Reason.PASS_NEIGHBOUR_DISCOVERY: sent}
    if not is_forwardable(packet.source):
        return {Reason.PASS_UNROUTABLE_SOURCE: sent}
    trouble = _trouble(site, sent, packet, bound, None)
    if trouble is not None:
        return trouble
    inner = packet.with_hop_limit(packet.hop_limit - 1)
    return {Reason.FORWARD_ENCAPSULATED: _tunnelled(site, bound, packet.length, inner)}


def _tunnelled(site: Site, bound: Bound, length: int, inner: bytes) -> bytes | Check:
    return _in_tunnel(bound.mac + site.interface, bound, length, inner)


def _in_tunnel(link: bytes, bound: Bound, length: int, inner: bytes) -> bytes | Check:
    """The frame of a packet of the length, with whatever is behind it."""
    end = bound.care_of_address
    if isinstance(end, bytes):
        return link + b"\x86\xdd" + ipv6(bound.home_agent, end, 41, bytes(length), inner[:4])[:40] + inner
    whole = length > 1280
    total = (length + bound.overhead).to_bytes(2, "big")
    service = int.from_bytes(inner[:2], "big") >> 4 & 0xFF
    before = bytes([0x45, service]) + total
    after = (b"\x40\0" if whole else b"\0\0") + bytes([64, 41 if end.port is None else 17])
    rest = end.home_agent + end.address
    if end.port is not None:
        ports = TUNNEL_PORT.to_bytes(2, "big") + end.port.to_bytes(2, "big")
        rest += ports + (length + 8).to_bytes(2, "big") + b"\0\0"

    def is_in_ipv4(came: bytes) -> None:
        header = came[14:34]
        assert came[:18] == link + b"\x08\0" + before
        assert header[6:10] == after
        assert came[26:] == rest + inner
        assert internet_sum(header) == 0xFFFF
        assert not whole or header[4:6] == b"\0\0"

    return is_in_ipv4


def _trouble(site: Site, sent: bytes, packet: Ip, receiver: Bound, sender: Bound | None) -> Expected | None:
    """What keeps a packet out of a tunnel; the error returns through the tunnel that the packet came by, if any."""
    largest = LINK_MTU - receiver.overhead
    home_agent = (sender or receiver).home_agent
    if packet.hop_limit > 1 and packet.length <= largest:
        return None
    if not _may_be_answered(packet):
        return {Reason.DROP_HOP_LIMIT if packet.hop_limit <= 1 else Reason.DROP_TOO_BIG: None}
    if packet.hop_limit <= 1:
        reason, header = Reason.REPLY_TIME_EXCEEDED, bytes([3, 0, 0, 0, 0, 0, 0, 0])
    else:
        reason, header = Reason.REPLY_PACKET_TOO_BIG, bytes([2, 0, 0, 0]) + largest.to_bytes(4, "big")
    message = header + packet.data[: min(packet.length, 1280 - 48)]
    error = with_checksum(ipv6(home_agent, packet.source, 58, message), 2)
    if sender is None:
        return {reason: answered(sent, error)}
    return {reason: _in_tunnel(sent[6:12] + sent[:6], sender, len(error), error)}


def _may_be_answered(packet: Ip) -> bool:
    """RFC 4443 section 2.4 (e)."""
    if not is_forwardable(packet.source):
        return False
    kind = packet.data[40:41]
    return packet.next_header != 58 or (kind != b"" and kind[0] >= 128 and kind[0] != 137)


def _out_of_a_tunnel(site: Site, sent: bytes, outer: Ip) -> Expected | None:
    if outer.next_header != 41:
        return None
    return _leaving(site, sent, outer.source, outer.data[1] >> 4 & 3, len(outer.payload), outer.data[40:])


def _over_ipv4(site: Site, sent: bytes) -> Expected:
    header = sent[14:]
    if len(header) < 20 or header[0] >> 4 != 4:
        return {Reason.PASS_MALFORMED: sent}
    if header[16:20] not in site.ipv4_addresses:
        return {Reason.PASS_NOT_OURS: sent}
    size, total, protocol = header[0] % 16 * 4, int.from_bytes(header[2:4], "big"), header[9]
    if not 20 <= size <= total <= len(header):
        return {Reason.PASS_MALFORMED: sent}
    if int.from_bytes(header[6:8], "big") & 0x3FFF:
        return {Reason.PASS_IPV4_FRAGMENT: sent}
    if protocol not in (1, 17, 41):
        return {Reason.PASS_HOME_AGENT: sent}
    if size != 20:
        return {Reason.PASS_IPV4_OPTIONS: sent}
    if internet_sum(header[:20]) != 0xFFFF:
        return {Reason.PASS_MALFORMED: sent}
    if protocol == 1:
        return _icmp(sent, header[20:])
    mark = header[1] & 3
    if protocol == 41:
        return _leaving(site, sent, Ipv4End(header[12:16], header[16:20]), mark, total - 20, header[20:])
    udp, inner = header[20:28], header[28:]
    length = int.from_bytes(udp[4:6], "big")
    if len(udp) < 8 or not 8 <= length <= total - 20:
        return {Reason.PASS_MALFORMED: sent}
    if int.from_bytes(udp[2:4], "big") != TUNNEL_PORT:
        return {Reason.PASS_HOME_AGENT: sent}
    if inner[24:40] in site.home_agents and inner[6] in (50, 60, 135):
        return {Reason.PASS_UDP_SIGNALLING: sent}
    end = Ipv4End(header[12:16], header[16:20], int.from_bytes(udp[:2], "big") or None)
    return _leaving(site, sent, end, mark, length - 8, inner)


def _icmp(sent: bytes, message: bytes) -> Expected:
    """Of an ICMP message that is about no binding's tunnel; those that are have tests of their own."""
    if len(message) < 8 or message[0] not in (3, 11):
        return {Reason.PASS_HOME_AGENT: sent}
    return {Reason.PASS_HOME_AGENT: sent, Reason.PASS_TUNNEL_ERROR_UNKNOWN: sent}


def _leaving(site: Site, sent: bytes, origin: bytes | Ipv4End, outside: int, room: int, data: bytes) -> Expected:
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
    to_the_kernel = sent[:12] + b"\x86\xdd" + (inner.with_hop_limit(254) if inner.hop_limit == 255 else inner.data)
    if inner.destination in site.home_agents:
        return {Reason.PASS_DECAPSULATED_LOCAL: to_the_kernel}
    if inner.hop_limit <= 1:
        return {Reason.PASS_DECAPSULATED_HOP_LIMIT: to_the_kernel}
    forwarded = inner.with_hop_limit(inner.hop_limit - 1)
    addresses = site.neighbours.get(inner.destination)
    if addresses is not None and inner.length <= 1500:
        return {Reason.FORWARD_DECAPSULATED: addresses + b"\x86\xdd" + forwarded}

    def is_forwarded(came: bytes) -> None:
        assert came[14:] == forwarded

    return {
        Reason.FORWARD_DECAPSULATED: is_forwarded,
        Reason.PASS_DECAPSULATED_NO_NEIGHBOUR: to_the_kernel,
        Reason.PASS_DECAPSULATED_SLOW_PATH: to_the_kernel,
    }


def _into_another_tunnel(site: Site, sent: bytes, inner: Ip, sender: Bound, receiver: Bound) -> Expected:
    if site.networks is not None and receiver == sender:
        return {Reason.DROP_TUNNEL_BACK: None}
    trouble = _trouble(site, sent, inner, receiver, sender)
    if trouble is not None:
        return trouble
    passed_on = inner.with_hop_limit(inner.hop_limit - 1)
    return {Reason.FORWARD_REENCAPSULATED: _tunnelled(site, receiver, inner.length, passed_on)}


def _mark(inside: int, outside: int) -> int | None:
    """The table of RFC 6040 section 4.2: 0 is Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE; None for drop."""
    if outside == 3:
        return 3 if inside else None
    return 1 if (inside, outside) == (2, 1) else inside


def _stranger(site: Site, sent: bytes, packet: Ip) -> Expected | None:
    """Limits take nothing away from what is right but its certainty."""
    if not site.limited:
        return None
    protocol, at = _upper_layer(packet)
    rest = packet.data[at:]
    extra: Expected = {}
    if protocol == 135:
        extra = {Reason.DROP_MOBILITY_RATE_LIMITED: None}
    elif protocol == 17 and (marker := _request_marker(rest)) is not None:

        def is_a_cookie(came: bytes) -> None:
            _check_cookie(sent, packet, rest, marker, came)

        extra = {Reason.REPLY_IKE_COOKIE: is_a_cookie, Reason.DROP_IKE_RATE_LIMITED: None}
    if not extra:
        return None
    return judge(replace(site, limited=False), sent) | extra


def _upper_layer(packet: Ip) -> tuple[int, int]:
    """Behind at most four extension headers."""
    protocol, at = packet.next_header, 40
    for _ in range(4):
        header = packet.data[at : at + 4]
        if len(header) < 4 or protocol not in (0, 43, 44, 60):
            break
        if protocol == 44 and int.from_bytes(header[2:4], "big") & 0xFFF8:
            return 59, at
        at += 8 if protocol == 44 else 8 * (header[1] + 1)
        protocol = header[0]
    return protocol, at


def _request_marker(datagram: bytes) -> bytes | None:
    """What is in front of an IKE_SA_INIT request, None if there is none."""
    port = int.from_bytes(datagram[2:4], "big")
    marker = bytes(4) if port == 4500 else b""
    message = datagram[8 + len(marker) :]
    if port not in (500, 4500) or datagram[8 : 8 + len(marker)] != marker or len(message) < 28:
        return None
    return marker if message[8:16] == bytes(8) and message[18] == 34 and not message[19] & 0x20 else None


def _check_cookie(sent: bytes, packet: Ip, datagram: bytes, marker: bytes, came: bytes) -> None:
    spi = datagram[8 + len(marker) :][:8]
    answer = Ip(came[14:])
    message = marker + spi + bytes(8) + b"\x29\x20\x22\x20" + bytes(4) + (52).to_bytes(4, "big")
    message += b"\0\0\0\x18\0\0\x40\x06"
    udp = datagram[2:4] + datagram[:2] + (8 + len(message) + 16).to_bytes(2, "big")
    assert came[:62] == answered(
        sent, ipv6(packet.destination, packet.source, 17, bytes(24 + len(message)))[:40] + udp + came[60:62]
    )
    assert answer.payload[8:-16] == message
    assert has_right_checksum(answer)
    assert len(came) <= len(sent)
    assert is_forwardable(packet.source)


def _home_address(site: Site, sent: bytes, packet: Ip) -> Expected | None:
    if packet.next_header != 60:
        return None
    options = packet.payload
    if len(options) < 8:
        return {Reason.PASS_MALFORMED: sent, Reason.PASS_DESTINATION_OPTIONS: sent}
    size = 8 * (options[1] + 1)
    at = _find_option(options[:size]) if size <= len(options) else None
    if at is None:
        return {Reason.PASS_DESTINATION_OPTIONS: sent}
    if options[at] == 0x1E:
        return {Reason.DROP_FORGED_CARE_OF_ADDRESS: None}
    home_address = options[at + 2 : at + 18]
    if not is_forwardable(home_address):
        return {Reason.DROP_HOME_ADDRESS_NOT_UNICAST: None}
    upper = bytearray(options[size:])
    protocol = upper[0] if options[0] == 44 and upper else options[0]
    in_udp = options[0] == 17 and len(upper) >= 12 and upper[2:4] == b"\x11\x94" and any(upper[8:12])
    bound = site.bindings.get(home_address)
    is_bound = bound is not None and bound.care_of_address == packet.source
    if not (in_udp or is_bound or protocol in ESP_AND_THE_LIKE):
        return _unknown_binding(sent, packet, home_address)
    if in_udp and any(upper[6:8]):
        # RFC 1624 equation 3, for all the words at once.
        old = bytes(255 - byte for byte in bytes(upper[6:8]) + packet.source)
        upper[6:8] = (0xFFFF - internet_sum(old + home_address) or 0xFFFF).to_bytes(2, "big")
    swapped = options[:at] + b"\x1e\x10" + packet.source + options[at + 18 : size] + bytes(upper)
    behind = packet.data[packet.length :]
    header = packet.data[:8] + home_address + packet.destination
    return {Reason.PASS_HOME_ADDRESS_SWAPPED: sent[:14] + header + swapped + behind}


def _find_option(options: bytes) -> int | None:
    """Where the first option with an address is, among the first eight."""
    at = 2
    for _ in range(8):
        if at + 2 > len(options):
            return None
        if options[at] == 0x1E:
            return at
        if options[at] == 0xC9:
            return at if options[at + 1] == 16 and at + 18 <= len(options) else None
        at += 1 if options[at] == 0 else 2 + options[at + 1]
    return None


def _unknown_binding(sent: bytes, packet: Ip, home_address: bytes) -> Expected:
    if not is_forwardable(packet.source):
        return {Reason.DROP_UNKNOWN_BINDING: None}
    message = bytes([59, 2, 7, 0, 0, 0, 1, 0]) + home_address
    error = with_checksum(ipv6(packet.destination, packet.source, 135, message), 4)
    return {Reason.REPLY_BINDING_ERROR: answered(sent, error)}


def _tunnel_error(site: Site, sent: bytes, packet: Ip) -> Expected | None:
    message = packet.payload
    if packet.next_header != 58 or not 88 <= len(message) <= 1240 or not 1 <= message[0] <= 4:
        return None
    outer, inner = Ip(message[8:48]), Ip(message[48:])
    if outer.data[0] >> 4 != 6 or outer.next_header != 41 or inner.data[0] >> 4 != 6:
        return None
    bound = site.mobile(inner.destination)
    if (
        bound is None
        or bound.care_of_address != outer.destination
        or not bound.home_agent == outer.source == packet.destination
    ):
        return {Reason.PASS_TUNNEL_ERROR_UNKNOWN: sent}
    if not has_right_checksum(packet):
        return {Reason.PASS_HOME_AGENT: sent[: 14 + packet.length]}
    told = bytes([1, 3, 0, 0, 0, 0, 0, 0])
    if message[0] == 2:
        mtu = int.from_bytes(message[4:8], "big")
        if not 1280 <= mtu < outer.length:
            return {Reason.DROP_TUNNEL_MTU_INVALID: None}
        if inner.length <= 1280:
            return {Reason.DROP_TUNNEL_ERROR: None}
        told = bytes([2, 0, 0, 0]) + max(mtu - 40, 1280).to_bytes(4, "big")
    if not _may_be_answered(Ip(inner.data)):
        return {Reason.DROP_TUNNEL_ERROR: None}
    error = with_checksum(ipv6(packet.destination, inner.source, 58, told + message[48:]), 2)
    through = site.mobile(inner.source)
    if through is None:
        return {Reason.PASS_TUNNEL_ERROR_RELAYED: sent[:14] + error}
    return {Reason.PASS_TUNNEL_ERROR_RELAYED: _in_tunnel(sent[:12], through, len(error), error)}


_RULES: tuple[Rule, ...] = (_into_a_tunnel, _out_of_a_tunnel, _stranger, _home_address, _tunnel_error)


def check(site: Site, sent: bytes, verdict: str, reason: Reason, came: bytes) -> None:
    """Fails unless the frame became what it may become, and unless the one that came out is right.

    Raises:
        AssertionError: it did not.
    """
    assert verdict == {0: "redirect", 1: "tx", 2: "pass", 3: "drop"}[int(reason.verdict)]
    expected = judge(site, sent)
    assert reason in expected, f"{reason.name} instead of {', '.join(right.name for right in expected)}: {sent.hex()}"
    output = expected[reason]
    if callable(output):
        output(came)
    elif output is not None:
        assert came == output, f"{reason.name}: {sent.hex()} became\n{came.hex()} instead of\n{output.hex()}"


def mutations(frame: bytes, places: int) -> Iterator[bytes]:
    """The frame with each of its first bytes changed, in ways that hit limits, flags and neighbouring values.

    Each byte gets a third of these ways in turn; there are many frames.
    """
    for at in range(min(len(frame), places)):
        old = frame[at]
        ways = (0, 1, 41, 44, 58, 60, 0x7F, 0x80, 0xFF, old ^ 1, old ^ 0x10, old ^ 0x80, (old + 1) % 256)
        for new in set(ways[(at + len(frame)) % 3 :: 3]) - {old}:
            yield frame[:at] + bytes([new]) + frame[at + 1 :]
