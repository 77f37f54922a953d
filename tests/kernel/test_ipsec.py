"""The kernel back end on one side of a veth pair, the userspace back end on the other."""

from __future__ import annotations

import contextlib
import random
import socket

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
from control.ipsec.static import StaticKeying, StaticPair
from datapath.xfrm.channel import Request
from datapath.xfrm.numbers import MessageType
from datapath.xfrm.probe import kernel_ipsec_available
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import Algorithm, State
from tests.control.ipsec.associations import association_between
from tests.kernel.ipsec_wire import (
    ACKNOWLEDGEMENT,
    AGENT,
    BINDING_UPDATE,
    HOME,
    STRANGER,
    UNKNOWN,
    Wire,
    mobility_header,
)
from tests.kernel.network import run

pytestmark = pytest.mark.kernel

SUITES = (
    AES_128_GCM,
    AES_256_GCM,
    AES_128_CBC_SHA256,
    AES_256_CBC_SHA256,
    CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_384_192),
    CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_512_256),
    NULL_SHA256,
)


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
    wire.esp.settimeout(60)


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
            association_between(spi, HOME, AGENT, AES_128_GCM), association_between(0x777, AGENT, HOME, AES_128_GCM)
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
