"""The kernel back end on one side of a veth pair, the userspace back end on the other."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.entering import inside
from control.daemon.kernel_ipsec import KernelIpsec
from control.ipsec.algorithms import (
    AES_128_CBC_SHA256,
    AES_128_GCM,
    AES_256_CBC_SHA256,
    AES_256_GCM,
    NULL_SHA256,
    CipherSuite,
    EncryptionAlgorithm,
    IntegrityAlgorithm,
)
from control.ipsec.errors import IpsecBackendError
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.static import StaticKeying, StaticPair
from control.ipsec.traffic_selector import TrafficSelector
from control.ipsec.usage_limits import DEFAULT_USAGE_LIMITS, UsageLimits
from control.ipsec.userspace import UserspaceIpsec
from control.wire import internet_checksum, ipv6_pseudo_header
from datapath.xfrm.channel import Request, XfrmChannel
from datapath.xfrm.numbers import MessageType
from datapath.xfrm.probe import SO_RCVMARK, kernel_ipsec_available
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import Algorithm, State
from tests.kernel.network import run

pytestmark = pytest.mark.kernel

AGENT, HOME, STRANGER = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:a1::17"), IPv6Address("2001:db8:a1::bad")
BINDING_UPDATE, ACKNOWLEDGEMENT, UNKNOWN = 5, 6, 99
SUITES = (
    AES_128_GCM,
    AES_256_GCM,
    AES_128_CBC_SHA256,
    AES_256_CBC_SHA256,
    CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_384_192),
    CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_512_256),
    NULL_SHA256,
)


def raw_socket(protocol: int, address: IPv6Address) -> socket.socket:
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)
    raw.settimeout(10)
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
    raw.bind((str(address), 0))
    return raw


def mobility_header(source: IPv6Address, destination: IPv6Address, kind: int, number: int = 0) -> bytes:
    """A message of any type whose first two bytes are a number to know it by."""
    message = struct.pack("!BBBBHH", 59, 1, kind, 0, 0, number) + bytes(8)
    checksum = internet_checksum(ipv6_pseudo_header(source, destination, len(message), 135) + message)
    return message[:4] + checksum.to_bytes(2, "big") + message[6:]


def association(spi: int, source: IPv6Address, destination: IPv6Address, suite: CipherSuite) -> SecurityAssociation:
    keys = random.Random(spi)
    return SecurityAssociation(
        spi,
        source,
        destination,
        (TrafficSelector.host(source, 135),),
        (TrafficSelector.host(destination, 135),),
        suite,
        keys.randbytes(suite.encryption_key_size),
        keys.randbytes(suite.integrity_key_size),
    )


class Wire:
    """A home agent in one namespace and a node that does its own ESP in another."""

    def __init__(self) -> None:
        for name in ("agent", "node"):
            run(f"ip netns add {name}")
        run("ip -n agent link add wire type veth peer name wire netns node")
        for name, addresses in (("agent", [AGENT]), ("node", [HOME, STRANGER])):
            with inside(name):
                run("ip link set lo up")
                Path("/proc/sys/net/ipv6/conf/wire/accept_dad").write_text("0")
                run("ip link set wire up")
                for address in addresses:
                    run(f"ip addr add {address}/64 dev wire nodad")
        with inside("agent"):
            self.channel = XfrmChannel()
            self.ipsec = KernelIpsec(self.channel, random.Random(1).randbytes)
            self.mobility = raw_socket(135, AGENT)
        self.node = UserspaceIpsec(random.Random(2).randbytes)
        with inside("node"):
            self.esp = raw_socket(50, HOME)
            self.clear = {address: raw_socket(135, address) for address in (HOME, STRANGER)}

    def close(self) -> None:
        for one in (self.channel, self.mobility, self.esp, *self.clear.values()):
            one.close()
        for name in ("agent", "node"):
            run(f"ip netns del {name}")

    def connect(self, suite: CipherSuite, limits: UsageLimits = DEFAULT_USAGE_LIMITS) -> int:
        up, down = self.ipsec.allocate_spi(), self.node.allocate_spi()
        inbound, outbound = association(up, HOME, AGENT, suite), association(down, AGENT, HOME, suite)
        self.ipsec.install(replace(inbound, limits=limits), replace(outbound, limits=limits))
        self.node.install(outbound, inbound)
        return up

    def protected(self, kind: int, number: int) -> bytes:
        message = mobility_header(HOME, AGENT, kind, number)
        return self.node.protect(HOME, AGENT, 135, message, kind << 8, 0.0)

    def send_esp(self, packet: bytes) -> None:
        self.esp.sendto(packet, (str(AGENT), 0))

    def receive_whole(self) -> tuple[bytes, SecurityAssociation | None]:
        """The next Mobility Header at the agent, and the association that opened it."""
        payload, association, _ = self._receive()
        return payload, association

    def receive(self) -> tuple[int, int, IPv6Address, SecurityAssociation | None]:
        """Type and number of the next Mobility Header at the agent, who seems to have sent it, and who has."""
        payload, association, source = self._receive()
        return payload[2], int.from_bytes(payload[6:8], "big"), source, association

    def _receive(self) -> tuple[bytes, SecurityAssociation | None, IPv6Address]:
        payload, ancillary, _, peer = self.mobility.recvmsg(2000, 200)
        marks = [struct.unpack("=I", data)[0] for level, kind, data in ancillary if (level, kind) == (1, 36)]
        assert len(marks) == 1, ancillary
        return payload, self.ipsec.opened_by(marks[0]), IPv6Address(peer[0])

    def counter(self, name: str) -> int:
        return self._counters()[name]

    def refused(self) -> int:
        """How many packets IPsec has not let in."""
        return sum(value for name, value in self._counters().items() if name.startswith("XfrmIn"))

    def _counters(self) -> dict[str, int]:
        with inside("agent"):
            lines = Path("/proc/thread-self/net/xfrm_stat").read_text().splitlines()
        return {line.split()[0]: int(line.split()[1]) for line in lines}


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


@pytest.fixture
def wire(shared_wire: Wire) -> Iterator[Wire]:
    yield shared_wire
    for inbound, _ in shared_wire.ipsec.list():
        shared_wire.ipsec.remove(inbound.spi)
    for inbound, _ in shared_wire.node.list():
        shared_wire.node.remove(inbound.spi)
    assert shared_wire.channel.states() == []
    assert shared_wire.channel.policies() == []
    assert shared_wire.ipsec.statistics == {}


def test_this_kernel_can() -> None:
    assert kernel_ipsec_available() is None


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_both_back_ends_understand_each_other(wire: Wire, suite: CipherSuite) -> None:
    spi = wire.connect(suite)
    wire.send_esp(wire.protected(BINDING_UPDATE, 7))
    kind, number, source, opened_by = wire.receive()
    assert (kind, number, source) == (BINDING_UPDATE, 7, HOME)
    assert opened_by is not None
    assert opened_by.spi == spi
    wire.mobility.sendto(mobility_header(AGENT, HOME, ACKNOWLEDGEMENT, 8), (str(HOME), 0))
    packet = wire.esp.recvmsg(2000)[0]
    opened = wire.node.unprotect(AGENT, HOME, packet, 0.0)
    assert (opened.protocol, opened.payload[2], opened.payload[7]) == (135, ACKNOWLEDGEMENT, 8)
    ((inbound, outbound),) = wire.ipsec.list()
    assert (inbound.usage.packets, outbound.usage.packets) == (1, 1)
    assert wire.node.statistics["bad-icv"] == 0


def test_a_replay_a_forgery_and_an_unprotected_update_are_dropped(wire: Wire) -> None:
    wire.connect(AES_128_GCM)
    first, second = wire.protected(BINDING_UPDATE, 1), wire.protected(BINDING_UPDATE, 2)
    before = {name: wire.counter(name) for name in ("XfrmInTmplMismatch", "XfrmInStateSeqError")}
    wire.send_esp(first)
    wire.send_esp(first)
    wire.send_esp(second[:-1] + bytes([second[-1] ^ 1]))
    wire.clear[HOME].sendto(mobility_header(HOME, AGENT, BINDING_UPDATE, 66), (str(AGENT), 0))
    wire.send_esp(second)
    assert [wire.receive()[1] for _ in range(2)] == [1, 2]
    assert wire.counter("XfrmInTmplMismatch") == before["XfrmInTmplMismatch"] + 1
    assert wire.counter("XfrmInStateSeqError") == before["XfrmInStateSeqError"] + 1
    ((inbound, _),) = wire.ipsec.list()
    assert (inbound.usage.packets, inbound.usage.errors) == (2, 2)


def test_unprotected_messages_never_carry_a_mark_of_ours(wire: Wire) -> None:
    wire.connect(AES_128_GCM)
    wire.clear[STRANGER].sendto(mobility_header(STRANGER, AGENT, BINDING_UPDATE, 3), (str(AGENT), 0))
    assert wire.receive() == (BINDING_UPDATE, 3, STRANGER, None)
    with inside("agent"):
        run("ip xfrm policy flush")  # somebody else's doing
    wire.clear[HOME].sendto(mobility_header(HOME, AGENT, BINDING_UPDATE, 4), (str(AGENT), 0))
    assert wire.receive() == (BINDING_UPDATE, 4, HOME, None)
    wire.clear[HOME].setsockopt(socket.SOL_SOCKET, 36, 0x6D000001)  # SO_MARK does not cross the wire
    wire.clear[HOME].sendto(mobility_header(HOME, AGENT, BINDING_UPDATE, 5), (str(AGENT), 0))
    assert wire.receive() == (BINDING_UPDATE, 5, HOME, None)
    wire.clear[HOME].setsockopt(socket.SOL_SOCKET, 36, 0)


def test_manual_keys_against_states_of_ip_xfrm(wire: Wire) -> None:
    """The node's side is the kernel of the other namespace, told by iproute2; numbers may start again."""
    up, down = (random.Random(n).randbytes(48) for n in (1, 2))
    pair = StaticPair(135, StaticKeying(0x1001, AES_128_CBC_SHA256, up), StaticKeying(0x2001, AES_128_CBC_SHA256, down))
    wire.ipsec.install(*pair.associations(AGENT, HOME, 0.0))
    add = "ip xfrm state add src {} dst {} proto esp spi {} mode transport replay-window 0 "
    add += "enc cbc(aes) 0x{} auth-trunc hmac(sha256) 0x{} 128"
    policy = "ip xfrm policy add src {} dst {} proto 135 dir {} tmpl proto esp mode transport"

    def start_node() -> None:
        run("ip xfrm state flush")
        run(add.format(HOME, AGENT, "0x1001", up[:16].hex(), up[16:].hex()))
        run(add.format(AGENT, HOME, "0x2001", down[:16].hex(), down[16:].hex()))

    with inside("node"):
        run(policy.format(HOME, AGENT, "out"))
        run(policy.format(AGENT, HOME, "in"))
    try:
        for number in (1, 2):
            with inside("node"):
                start_node()
            wire.clear[HOME].sendto(mobility_header(HOME, AGENT, BINDING_UPDATE, number), (str(AGENT), 0))
            kind, received, source, opened_by = wire.receive()
            assert (kind, received, source) == (BINDING_UPDATE, number, HOME)
            assert opened_by is not None
            assert opened_by.spi == 0x1001
            wire.mobility.sendto(mobility_header(AGENT, HOME, ACKNOWLEDGEMENT, number), (str(HOME), 0))
            assert wire.clear[HOME].recv(2000)[2] == ACKNOWLEDGEMENT
    finally:
        with inside("node"):
            run("ip xfrm policy flush")
            run("ip xfrm state flush")
        wire.ipsec.remove(0x1001)
    wire.esp.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while wire.esp.recv(2000):
            pass
    wire.esp.settimeout(10)


def test_a_removed_pair_opens_nothing_and_the_one_before_sends_again(wire: Wire) -> None:
    old, new = wire.connect(AES_128_GCM), wire.connect(AES_256_GCM)
    late = wire.protected(BINDING_UPDATE, 1)
    wire.ipsec.remove(new)
    before = wire.counter("XfrmInNoStates")
    wire.send_esp(late)
    wire.clear[STRANGER].sendto(mobility_header(STRANGER, AGENT, UNKNOWN, 9), (str(AGENT), 0))
    assert wire.receive()[:2] == (UNKNOWN, 9)
    assert wire.counter("XfrmInNoStates") == before + 1
    wire.mobility.sendto(mobility_header(AGENT, HOME, ACKNOWLEDGEMENT, 8), (str(HOME), 0))
    opened = wire.node.unprotect(AGENT, HOME, wire.esp.recvmsg(2000)[0], 0.0)
    ((_, outbound),) = wire.ipsec.list()
    assert opened.security_association.spi == outbound.spi
    assert old in {inbound.spi for inbound, _ in wire.ipsec.list()}


def test_the_kernel_s_own_refusals_have_a_reason(wire: Wire) -> None:
    spi = wire.connect(AES_128_GCM)
    with pytest.raises(IpsecBackendError) as caught:
        KernelIpsecWithout(wire).install(
            association(spi, HOME, AGENT, AES_128_GCM), association(0x777, AGENT, HOME, AES_128_GCM)
        )
    assert caught.value.reason == "spi-in-use"
    assert len(wire.channel.states()) == 2


class KernelIpsecWithout(KernelIpsec):
    """One that does not know, and does not remove, what is there."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire.channel, random.Random(3).randbytes)

    def _remove_leftovers(self) -> None:
        return


def test_leftovers_of_a_killed_process_go_and_others_stay(wire: Wire) -> None:
    others = State(
        STRANGER, AGENT, 0x5555, 7, Selector(STRANGER, AGENT), 32, aead=Algorithm("rfc4106(gcm(aes))", bytes(20), 128)
    )
    assert wire.channel.execute([Request(MessageType.NEWSA, others.to_wire(), "add")]) == [None]
    wire.connect(AES_128_GCM)
    KernelIpsec(wire.channel, random.Random(4).randbytes)
    assert [(state.spi, state.reqid) for state in wire.channel.states()] == [(0x5555, 7)]
    assert wire.channel.policies() == []
    with inside("agent"):
        run("ip xfrm state flush")
