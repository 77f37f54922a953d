"""IPv4 frames: tunnels that end here, and errors of routers about those that begin here."""

from __future__ import annotations

from datapath.reasons import Reason
from tests.datapath.expected.packets import Ip, internet_sum, ipv6, may_be_answered, with_checksum
from tests.datapath.expected.site import Expected, Ipv4End, Site
from tests.datapath.expected.tunnels import TUNNEL_PORT, in_tunnel, leaving


def over_ipv4(site: Site, sent: bytes) -> Expected:
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
        return _icmp(site, sent, header, total - 20)
    mark = header[1] & 3
    if protocol == 41:
        return leaving(site, sent, Ipv4End(header[12:16], header[16:20]), mark, total - 20, header[20:])
    udp, inner = header[20:28], header[28:]
    length = int.from_bytes(udp[4:6], "big")
    if len(udp) < 8 or not 8 <= length <= total - 20:
        return {Reason.PASS_MALFORMED: sent}
    if int.from_bytes(udp[2:4], "big") != TUNNEL_PORT:
        return {Reason.PASS_HOME_AGENT: sent}
    if inner[24:40] in site.home_agents and inner[6] in (50, 60, 135):
        return {Reason.PASS_UDP_SIGNALLING: sent}
    end = Ipv4End(header[12:16], header[16:20], int.from_bytes(udp[:2], "big") or None)
    return leaving(site, sent, end, mark, length - 8, inner)


def _icmp(site: Site, sent: bytes, header: bytes, length: int) -> Expected:
    """An ICMP message of the length; it is believed if it quotes what a binding would send now."""
    message = header[20:]
    if len(message) < 8 or message[0] not in (3, 11) or length > 1240:
        return {Reason.PASS_HOME_AGENT: sent}
    outer = message[8:]
    end = _quoted_tunnel(outer)
    if end is None:
        return {Reason.PASS_HOME_AGENT: sent}
    size = 20 if end.port is None else 28
    if length < 8 + size + 40 or outer[size] >> 4 != 6:
        return {Reason.PASS_TUNNEL_ERROR_UNKNOWN: sent}
    bound = site.mobile(Ip(outer[size:]).destination)
    if bound is None or bound.care_of_address != end or end.home_agent != header[16:20]:
        return {Reason.PASS_TUNNEL_ERROR_UNKNOWN: sent}
    message = message[:length]
    if internet_sum(message) != 0xFFFF:
        return {Reason.PASS_HOME_AGENT: sent[: 34 + length]}
    inner = Ip(message[8 + size :])
    told = bytes([1, 3, 0, 0, 0, 0, 0, 0])
    if message[:2] == b"\3\4":
        mtu = int.from_bytes(message[6:8], "big")
        if mtu >= int.from_bytes(outer[2:4], "big"):
            return {Reason.DROP_TUNNEL_MTU_INVALID: None}
        if inner.length <= 1280:
            return {Reason.DROP_TUNNEL_ERROR: None}
        told = bytes([2, 0, 0, 0]) + max(mtu - size, 1280).to_bytes(4, "big")
    if not may_be_answered(inner):
        return {Reason.DROP_TUNNEL_ERROR: None}
    error = with_checksum(ipv6(bound.home_agent, inner.source, 58, told + inner.data), 2)
    through = site.mobile(inner.source)
    if through is None:
        return {Reason.PASS_TUNNEL_ERROR_RELAYED: sent[:12] + b"\x86\xdd" + error}
    return {Reason.PASS_TUNNEL_ERROR_RELAYED: in_tunnel(sent[:12], through, len(error), error)}


def _quoted_tunnel(outer: bytes) -> Ipv4End | None:
    """Of which of our tunnels a quoted packet looks to be."""
    if len(outer) < 20 or outer[0] != 0x45 or int.from_bytes(outer[6:8], "big") & 0x1FFF:
        return None
    if outer[9] == 41:
        return Ipv4End(outer[16:20], outer[12:16])
    ports = outer[20:24]
    if outer[9] != 17 or len(outer) < 28 or ports[:2] != TUNNEL_PORT.to_bytes(2, "big") or not any(ports[2:]):
        return None
    return Ipv4End(outer[16:20], outer[12:16], int.from_bytes(ports[2:], "big"))
