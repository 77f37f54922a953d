"""The userspace back end: two of them talk; what is not covered, known or new does not pass."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv6Address

import pytest

from control.ipsec.algorithms import AES_128_GCM, CipherSuite
from control.ipsec.backend import IpsecBackend
from control.ipsec.errors import EspError, IpsecBackendError, NoSecurityAssociation
from control.ipsec.esp import LAST_SEQUENCE_NUMBER, EspOutbound
from control.ipsec.udp_encapsulation import UdpEncapsulation, unwrap_from_udp
from control.ipsec.userspace import UserspaceIpsec
from tests.control.ipsec.associations import association_between

HOME_AGENT = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::17")
STRANGER = IPv6Address("2001:db8:bad::1")
BINDING_UPDATE = bytes.fromhex("3b010500") + bytes(12)
ACKNOWLEDGEMENT = bytes.fromhex("3b010600") + bytes(12)


def connect(node: UserspaceIpsec, agent: UserspaceIpsec, suite: CipherSuite = AES_128_GCM, protocol: int = 135) -> int:
    """Install a pair on both sides; the home agent's inbound SPI."""
    to_agent, to_node = agent.allocate_spi(), node.allocate_spi()
    up, down = (to_agent, HOME_ADDRESS, HOME_AGENT, suite), (to_node, HOME_AGENT, HOME_ADDRESS, suite)
    agent.install(association_between(*up, protocol=protocol), association_between(*down, protocol=protocol))
    node.install(association_between(*down, protocol=protocol), association_between(*up, protocol=protocol))
    return to_agent


@pytest.fixture
def node() -> UserspaceIpsec:
    return UserspaceIpsec(random.Random(1).randbytes)


@pytest.fixture
def agent() -> UserspaceIpsec:
    return UserspaceIpsec(random.Random(2).randbytes)


def update(node: UserspaceIpsec, payload: bytes = BINDING_UPDATE) -> bytes:
    return node.protect(HOME_ADDRESS, HOME_AGENT, 135, payload, 1.0)


def reason_of(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(EspError) as caught:
        call(*arguments)
    return caught.value.reason


def test_two_back_ends_talk(suite: CipherSuite, node: UserspaceIpsec, agent: UserspaceIpsec) -> None:
    backend: IpsecBackend = agent
    spi = connect(node, agent, suite)
    opened = agent.unprotect(HOME_ADDRESS, HOME_AGENT, update(node), 2.0)
    assert (opened.protocol, opened.payload, opened.security_association.spi) == (135, BINDING_UPDATE, spi)
    answer = agent.protect(HOME_AGENT, HOME_ADDRESS, 135, ACKNOWLEDGEMENT, 2.0)
    assert node.unprotect(HOME_AGENT, HOME_ADDRESS, answer, 3.0).payload == ACKNOWLEDGEMENT

    ((inbound, outbound),) = backend.list()
    for usage in (inbound.usage, outbound.usage):
        assert (usage.packets, usage.bytes, usage.errors, usage.last_used_at) == (1, 16, 0, 2.0)
    assert agent.statistics == {"protected": 1, "unprotected": 1}


def test_nothing_leaves_without_an_association(node: UserspaceIpsec, agent: UserspaceIpsec) -> None:
    connect(node, agent)
    with pytest.raises(NoSecurityAssociation):
        node.protect(HOME_ADDRESS, STRANGER, 135, BINDING_UPDATE, 1.0)
    with pytest.raises(NoSecurityAssociation):
        node.protect(HOME_ADDRESS, HOME_AGENT, 58, b"\x92\0\0\0", 1.0)
    assert node.statistics == {"no-security-association": 2}


def test_the_newest_association_is_taken_and_the_older_one_is_still_heard(
    node: UserspaceIpsec, agent: UserspaceIpsec
) -> None:
    older = connect(node, agent)
    before = update(node)
    newer = connect(node, agent)
    assert int.from_bytes(update(node)[:4], "big") == newer
    assert agent.unprotect(HOME_ADDRESS, HOME_AGENT, before, 1.0).security_association.spi == older


def test_an_association_for_another_protocol_is_passed_over(node: UserspaceIpsec, agent: UserspaceIpsec) -> None:
    mobility = connect(node, agent)
    discovery = connect(node, agent, protocol=58)
    assert int.from_bytes(update(node)[:4], "big") == mobility
    packet = node.protect(HOME_ADDRESS, HOME_AGENT, 58, b"\x92\0\0\0", 1.0)
    assert int.from_bytes(packet[:4], "big") == discovery


def test_a_removed_pair_is_gone_both_ways(node: UserspaceIpsec, agent: UserspaceIpsec) -> None:
    older, newer = connect(node, agent), connect(node, agent)
    packet = update(node)
    agent.remove(newer)
    assert reason_of(agent.unprotect, HOME_ADDRESS, HOME_AGENT, packet, 1.0) == "unknown-spi"
    assert agent.protect(HOME_AGENT, HOME_ADDRESS, 135, ACKNOWLEDGEMENT, 1.0)
    agent.remove(older)
    agent.remove(older)
    with pytest.raises(NoSecurityAssociation):
        agent.protect(HOME_AGENT, HOME_ADDRESS, 135, ACKNOWLEDGEMENT, 1.0)
    assert agent.list() == ()
    assert len(agent) == 0


def test_replays_are_refused_and_counted(node: UserspaceIpsec, agent: UserspaceIpsec) -> None:
    connect(node, agent)
    packet = update(node)
    agent.unprotect(HOME_ADDRESS, HOME_AGENT, packet, 1.0)
    for _ in range(2):
        assert reason_of(agent.unprotect, HOME_ADDRESS, HOME_AGENT, packet, 1.0) == "replay"
    assert agent.statistics == {"unprotected": 1, "replay": 2}
    assert agent.list()[0][0].usage.errors == 2


@pytest.mark.parametrize(
    ("source", "destination"), [(STRANGER, HOME_AGENT), (HOME_ADDRESS, STRANGER), (HOME_AGENT, HOME_ADDRESS)]
)
def test_addresses_outside_the_selectors_are_refused(
    node: UserspaceIpsec, agent: UserspaceIpsec, source: IPv6Address, destination: IPv6Address
) -> None:
    """A node that signs for another node's home address gets nowhere (RFC 4301 section 5.2)."""
    connect(node, agent)
    assert reason_of(agent.unprotect, source, destination, update(node), 1.0) == "selector-mismatch"
    assert agent.statistics == {"selector-mismatch": 1}


def test_another_protocol_inside_is_refused(agent: UserspaceIpsec, node: UserspaceIpsec) -> None:
    spi = connect(node, agent)
    rogue = EspOutbound(association_between(spi, HOME_ADDRESS, HOME_AGENT), random.Random(1).randbytes)
    packet = rogue.protect(b"\x80\0\0\0", 58)
    assert reason_of(agent.unprotect, HOME_ADDRESS, HOME_AGENT, packet, 1.0) == "selector-mismatch"


def test_strangers_get_the_typed_error_and_leave_nothing_behind(agent: UserspaceIpsec) -> None:
    for packet, reason in ((b"", "truncated"), (b"\0" * 7, "truncated"), (b"\xff" * 40, "unknown-spi")):
        assert reason_of(agent.unprotect, STRANGER, HOME_AGENT, packet, 1.0) == reason
    assert agent.statistics == {"truncated": 2, "unknown-spi": 1}
    assert agent.list() == ()


def test_an_exhausted_association_says_so(node: UserspaceIpsec, agent: UserspaceIpsec) -> None:
    connect(node, agent)
    pair = node.outbound_for(HOME_ADDRESS, HOME_AGENT, 135, 0x0500)
    update(node)
    assert pair.sealing is not None
    pair.sealing.sequence_number = LAST_SEQUENCE_NUMBER
    assert reason_of(update, node) == "sequence-exhausted"
    assert node.statistics == {"protected": 1, "sequence-exhausted": 1}
    assert pair.outbound.usage.errors == 1


def test_an_spi_is_installed_once(agent: UserspaceIpsec, node: UserspaceIpsec) -> None:
    spi = connect(node, agent)
    pair = (association_between(spi, HOME_ADDRESS, HOME_AGENT), association_between(0x999, HOME_AGENT, HOME_ADDRESS))
    with pytest.raises(IpsecBackendError) as caught:
        agent.install(*pair)
    assert caught.value.reason == "spi-in-use"
    assert len(agent.list()) == 1


def test_allocated_spis_are_fresh_and_not_reserved() -> None:
    backend = UserspaceIpsec(lambda size: bytes(size))  # the start that comes across the reserved values first
    spis = [backend.allocate_spi() for _ in range(5000)]
    assert len(set(spis)) == 5000
    assert min(spis) >= 256
    backend.install(
        association_between(spis[-1] + 1, HOME_ADDRESS, HOME_AGENT), association_between(300, HOME_AGENT, HOME_ADDRESS)
    )
    assert backend.allocate_spi() == spis[-1] + 2


def spi_sent(ipsec: UserspaceIpsec) -> int:
    packet = ipsec.protect(HOME_AGENT, HOME_ADDRESS, 135, ACKNOWLEDGEMENT, 0.0)
    return int.from_bytes(packet[:4], "big")


def test_an_outbound_association_that_waits_is_used_once_the_peer_has_used_its_twin(
    node: UserspaceIpsec, agent: UserspaceIpsec
) -> None:
    """The responder of a rekeying goes on under the old pair (RFC 7296 section 2.8)."""
    agent.install(
        association_between(0x1000, HOME_ADDRESS, HOME_AGENT), association_between(0x2000, HOME_AGENT, HOME_ADDRESS)
    )
    new = association_between(0x1001, HOME_ADDRESS, HOME_AGENT), association_between(0x2001, HOME_AGENT, HOME_ADDRESS)
    agent.install(*new, outbound_waits=True)
    assert spi_sent(agent) == 0x2000
    node.install(new[1], new[0])
    packet = node.protect(HOME_ADDRESS, HOME_AGENT, 135, BINDING_UPDATE, 0.0)
    with pytest.raises(EspError):
        agent.unprotect(HOME_ADDRESS, HOME_AGENT, packet[:-1] + bytes((packet[-1] ^ 1,)), 0.0)
    assert spi_sent(agent) == 0x2000
    agent.unprotect(HOME_ADDRESS, HOME_AGENT, packet, 0.0)
    assert spi_sent(agent) == 0x2001


def test_an_outbound_association_that_waits_is_used_when_there_is_no_other(agent: UserspaceIpsec) -> None:
    agent.install(
        association_between(0x1000, HOME_ADDRESS, HOME_AGENT), association_between(0x2000, HOME_AGENT, HOME_ADDRESS)
    )
    for number in (1, 2):
        agent.install(
            association_between(0x1000 + number, HOME_ADDRESS, HOME_AGENT),
            association_between(0x2000 + number, HOME_AGENT, HOME_ADDRESS),
            outbound_waits=True,
        )
    assert spi_sent(agent) == 0x2000
    agent.remove(0x1000)
    assert spi_sent(agent) == 0x2002


def in_transit(ipsec: UserspaceIpsec) -> tuple[int, bytes]:
    pair = ipsec.outbound_for(HOME_ADDRESS, HOME_AGENT, 135, 0x0500)
    return ipsec.seal(pair, 135, BINDING_UPDATE, 1.0, (STRANGER, HOME_AGENT))


def test_a_pair_is_wrapped_in_udp_only_when_it_is_told_to_be(node: UserspaceIpsec, agent: UserspaceIpsec) -> None:
    connect(node, agent)
    protocol, packet = in_transit(node)
    assert protocol == 50
    agent.unprotect(HOME_ADDRESS, HOME_AGENT, packet, 1.0)
    ((inbound, _),) = node.list()
    for port in (4500, 31_000):
        node.reroute(inbound.spi, UdpEncapsulation(4500, HOME_AGENT, port))
        protocol, datagram = in_transit(node)
        source, destination, packet = unwrap_from_udp(datagram)
        assert (protocol, source, destination) == (17, 4500, port)
        assert agent.unprotect(HOME_ADDRESS, HOME_AGENT, packet, 1.0).payload == BINDING_UPDATE
    assert [sa.encapsulation for pair in node.list() for sa in pair] == [UdpEncapsulation(4500, HOME_AGENT, 31_000)] * 2
    assert node.list()[0][1].usage.packets == 3
    node.reroute(0x999, UdpEncapsulation(4500, HOME_AGENT, 1))
