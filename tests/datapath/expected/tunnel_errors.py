"""ICMPv6 errors of routers between home agent and node."""

from __future__ import annotations

from datapath.reasons import Reason
from tests.datapath.expected.packets import Ip, has_right_checksum, ipv6, may_be_answered, with_checksum
from tests.datapath.expected.site import Expected, Site
from tests.datapath.expected.tunnels import in_tunnel


def tunnel_error(site: Site, sent: bytes, packet: Ip) -> Expected | None:
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
    if not may_be_answered(inner):
        return {Reason.DROP_TUNNEL_ERROR: None}
    error = with_checksum(ipv6(packet.destination, inner.source, 58, told + message[48:]), 2)
    through = site.mobile(inner.source)
    if through is None:
        return {Reason.PASS_TUNNEL_ERROR_RELAYED: sent[:14] + error}
    return {Reason.PASS_TUNNEL_ERROR_RELAYED: in_tunnel(sent[:12], through, len(error), error)}
