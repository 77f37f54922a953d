"""What may become of a frame, worked out from its bytes alone, without any code of the data path.

``judge`` gives the reasons that are right for a frame, each with the frame that comes out. What a feature adds is a
rule in ``_TUNNELS`` or ``_TO_THE_HOME_AGENT``, in front of those that it takes frames away from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from datapath.reasons import Reason
from tests.datapath.expected import tags
from tests.datapath.expected.home_address import home_address
from tests.datapath.expected.home_links import solicitation
from tests.datapath.expected.over_ipv4 import over_ipv4
from tests.datapath.expected.packets import Ip, internet_sum, is_well_formed, with_checksum
from tests.datapath.expected.site import Expected, Site
from tests.datapath.expected.strangers import limited
from tests.datapath.expected.tunnel_errors import tunnel_error
from tests.datapath.expected.tunnels import into_a_tunnel, out_of_a_tunnel

Rule = Callable[[Site, bytes, Ip], Expected | None]
_TUNNELS: tuple[Rule, ...] = (into_a_tunnel, out_of_a_tunnel)
_TO_THE_HOME_AGENT: tuple[Rule, ...] = (home_address, tunnel_error)


def judge(site: Site, sent: bytes) -> Expected:
    """What may become of the frame; exactly one of these does."""
    tag = b"" if site.vlans is None else tags.tag_of(sent)
    identifier = tags.identifier_of(tag)
    if site.vlans is not None and identifier and identifier not in site.vlans:
        return {Reason.PASS_UNKNOWN_VLAN: sent}
    return tags.with_tag(tag, _without_tag(site, tags.without(tag, sent), identifier))


def _without_tag(site: Site, sent: bytes, identifier: int) -> Expected:
    """Of a frame that came by a VLAN, 0 for none."""
    is_group_frame = sent[0] & 1
    is_over_ipv4 = sent[12:14] == b"\x08\0" and bool(site.ipv4_addresses)
    if sent[12:14] != b"\x86\xdd" and not is_over_ipv4:
        return {Reason.PASS_NOT_IPV6: sent}
    if is_group_frame and (is_over_ipv4 or site.home_links is None):
        return {Reason.PASS_GROUP_FRAME: sent}
    if is_over_ipv4:
        return over_ipv4(site, sent)
    if not is_well_formed(sent[14:]):
        return {Reason.PASS_MALFORMED: sent}
    packet = Ip(sent[14:])
    answer = solicitation(site, sent, packet, identifier)
    if answer is not None:
        return answer
    if is_group_frame:
        return {Reason.PASS_GROUP_FRAME: sent}
    for rule in _TUNNELS:
        expected = rule(site, sent, packet)
        if expected is not None:
            return expected
    return _to_the_home_agent(site, sent, packet) | (limited(sent, packet) if site.limited else {})


def _to_the_home_agent(site: Site, sent: bytes, packet: Ip) -> Expected:
    for rule in _TO_THE_HOME_AGENT:
        expected = rule(site, sent, packet)
        if expected is not None:
            return expected
    return {Reason.PASS_FRAGMENT if packet.next_header == 44 else Reason.PASS_HOME_AGENT: sent}


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

    Each byte gets a sixth of these ways in turn; there are many frames.
    """
    for at in range(min(len(frame), places)):
        old = frame[at]
        ways = (0, 1, 41, 44, 58, 60, 0x7F, 0x80, 0xFF, old ^ 1, old ^ 0x10, old ^ 0x80, (old + 1) % 256)
        for new in set(ways[(at + len(frame)) % 6 :: 6]) - {old}:
            yield frame[:at] + bytes([new]) + frame[at + 1 :]


def mended(frame: bytes) -> bytes:
    """The frame with the checksums that the home agent looks at as they have to be: of IPv4, ICMP and ICMPv6."""
    at = 14 + len(tags.tag_of(frame))
    kind, packet = frame[at - 2 : at], frame[at:]
    if kind == b"\x86\xdd" and is_well_formed(packet) and packet[6] == 58:
        length = Ip(packet).length
        return frame[:at] + with_checksum(packet[:length], 2) + packet[length:] if length >= 44 else frame
    if kind != b"\x08\0" or len(packet) < 20:
        return frame
    size = 4 * max(5, packet[0] % 16)
    header = packet[:10] + b"\0\0" + packet[12:size]
    header = header[:10] + (0xFFFF - internet_sum(header)).to_bytes(2, "big") + header[12:]
    length = int.from_bytes(packet[2:4], "big")
    message, behind = packet[size:length], packet[max(length, size) :]
    if packet[9] == 1 and len(message) >= 4:
        message = message[:2] + b"\0\0" + message[4:]
        message = message[:2] + (0xFFFF - internet_sum(message)).to_bytes(2, "big") + message[4:]
    return frame[:at] + header + message + behind
