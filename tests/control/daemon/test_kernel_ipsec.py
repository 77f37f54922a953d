"""What the kernel back end asks of the kernel, and what it makes of the answers."""

from __future__ import annotations

import errno
import random
from dataclasses import replace
from ipaddress import IPv6Address
from types import MappingProxyType

import pytest
from msgspec import structs

from control.daemon.kernel_ipsec import INBOUND_REQID, KernelIpsec
from control.ipsec.algorithms import AES_128_CBC_SHA256, AES_256_GCM, NULL_SHA256, CipherSuite
from control.ipsec.backend import IpsecBackend
from control.ipsec.errors import IpsecBackendError, NoSecurityAssociation
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.udp_encapsulation import UdpEncapsulation
from control.ipsec.usage_limits import DEFAULT_USAGE_LIMITS, UsageExpiry
from datapath.xfrm.channel import Request
from datapath.xfrm.errors import XfrmLost, XfrmRefused
from datapath.xfrm.events import StateExpired, StateMissing
from datapath.xfrm.numbers import Direction, MessageType
from datapath.xfrm.policies import Policy, PolicyReport, parse_policy
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import Algorithm, State, StateReport, parse_state
from datapath.xfrm.structs import LIFETIME_LIMITS, POLICY_KEY, STATE, STATE_KEY
from tests.control.ipsec.associations import association_between

AGENT, HOME = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:100::17")
SENT, RECEIVED = Selector(AGENT, HOME, 135), Selector(HOME, AGENT, 135)


class Kernel:
    """Keeps states and policies as the kernel does, and refuses or forgets to answer on request."""

    def __init__(self) -> None:
        self.state_reports: dict[tuple[IPv6Address, int], StateReport] = {}
        self.policy_reports: dict[tuple[int, Selector | None], PolicyReport] = {}
        self.refuse: dict[MessageType, int] = {}
        self.lose = 0

    def execute(self, requests: list[Request]) -> list[XfrmRefused | None]:
        answers = [self._carry_out(request) for request in requests]
        if self.lose:
            self.lose -= 1
            raise XfrmLost("lost")
        return [
            XfrmRefused(code, request.what) if code else None for code, request in zip(answers, requests, strict=True)
        ]

    def states(self) -> list[StateReport]:
        return list(self.state_reports.values())

    def policies(self) -> list[PolicyReport]:
        return list(self.policy_reports.values())

    def _carry_out(self, request: Request) -> int:
        if request.type in self.refuse:
            return self.refuse[request.type]
        if request.type is MessageType.NEWSA:
            state = parse_state(request.body)
            assert state is not None
            if (state.destination, state.spi) in self.state_reports:
                return errno.EEXIST
            self.state_reports[state.destination, state.spi] = state
        elif request.type is MessageType.UPDSA:
            state = parse_state(request.body)
            assert state is not None
            if (state.destination, state.spi) not in self.state_reports:
                return errno.ESRCH
            self.state_reports[state.destination, state.spi] = state
        elif request.type is MessageType.UPDPOLICY:
            policy = parse_policy(request.body)
            self.policy_reports[policy.direction, policy.selector] = policy
        elif request.type is MessageType.DELSA:
            destination, spi, _, _ = STATE_KEY.unpack(request.body)
            key = (IPv6Address(destination), int.from_bytes(spi, "big"))
            return 0 if self.state_reports.pop(key, None) else errno.ESRCH
        elif request.type is MessageType.DELPOLICY:
            selector, _, direction = POLICY_KEY.unpack(request.body)
            return 0 if self.policy_reports.pop((direction, Selector.from_wire(selector)), None) else errno.ENOENT
        return 0

    def reqid_out(self) -> int:
        (reqid,) = self.policy_reports[Direction.OUT, SENT].reqids
        return reqid


def associations(
    spi: int, suite: CipherSuite = AES_256_GCM, protocol: int = 135
) -> tuple[SecurityAssociation, SecurityAssociation]:
    return (
        association_between(spi, HOME, AGENT, suite, protocol=protocol),
        association_between(spi, AGENT, HOME, suite, protocol=protocol),
    )


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def ipsec(kernel: Kernel) -> KernelIpsec:
    return KernelIpsec(kernel, random.Random(1).randbytes)  # type: ignore[arg-type]


def test_it_is_a_back_end(ipsec: KernelIpsec) -> None:
    backend: IpsecBackend = ipsec
    assert backend.list() == ()
    assert backend.allocate_spi() != backend.allocate_spi()


def test_a_pair_becomes_two_states_and_two_policies(kernel: Kernel, ipsec: KernelIpsec) -> None:
    pair = associations(0x1000)
    ipsec.install(*pair)
    inbound, outbound = kernel.state_reports[AGENT, 0x1000], kernel.state_reports[HOME, 0x1000]
    assert (inbound.reqid, inbound.selector) == (INBOUND_REQID, RECEIVED)
    assert outbound.selector == SENT
    assert set(kernel.policy_reports) == {(Direction.IN, RECEIVED), (Direction.OUT, SENT)}
    assert kernel.policy_reports[Direction.IN, RECEIVED].reqids == (INBOUND_REQID,)
    assert kernel.reqid_out() == outbound.reqid != INBOUND_REQID
    assert ipsec.list() == (pair,)
    assert len(ipsec) == 1


def test_only_the_mark_of_an_installed_association_says_who_sent_a_packet(kernel: Kernel, ipsec: KernelIpsec) -> None:
    first, second = associations(0x1000), associations(0x2000)
    ipsec.install(*first)
    ipsec.install(*second)
    marks = {spi: state.mark for (address, spi), state in kernel.state_reports.items() if address == AGENT}
    assert ipsec.opened_by(marks[0x1000]) is first[0]
    assert ipsec.opened_by(marks[0x2000]) is second[0]
    assert ipsec.opened_by(0) is None
    assert ipsec.opened_by(INBOUND_REQID) is None
    assert all(state.mark == 0 for (address, _), state in kernel.state_reports.items() if address == HOME)
    ipsec.remove(0x1000)
    assert ipsec.opened_by(marks[0x1000]) is None


def test_the_newest_pair_sends_and_an_older_one_takes_over_again(kernel: Kernel, ipsec: KernelIpsec) -> None:
    for spi in (0x1000, 0x2000, 0x3000):
        ipsec.install(*associations(spi))
    reqids = {spi: state.reqid for (address, spi), state in kernel.state_reports.items() if address == HOME}
    assert kernel.reqid_out() == reqids[0x3000]
    ipsec.remove(0x2000)
    assert kernel.reqid_out() == reqids[0x3000]
    ipsec.remove(0x3000)
    assert kernel.reqid_out() == reqids[0x1000]
    ipsec.remove(0x1000)
    assert kernel.policy_reports == kernel.state_reports == {}
    assert ipsec.statistics == {}


def test_an_outbound_association_that_waits_sends_when_the_others_are_gone(kernel: Kernel, ipsec: KernelIpsec) -> None:
    ipsec.install(*associations(0x1000))
    ipsec.install(*associations(0x2000), outbound_waits=True)
    reqids = {spi: state.reqid for (address, spi), state in kernel.state_reports.items() if address == HOME}
    assert kernel.reqid_out() == reqids[0x1000]
    ipsec.remove(0x1000)
    assert kernel.reqid_out() == reqids[0x2000]


def ports(kernel: Kernel, destination: IPv6Address, spi: int) -> tuple[int, int] | None:
    found = kernel.state_reports[destination, spi].encapsulation
    return None if found is None else (found.source_port, found.destination_port)


def test_esp_in_udp_has_the_ports_of_its_direction_and_follows_the_flow(kernel: Kernel, ipsec: KernelIpsec) -> None:
    plain = associations(0x1001)
    ipsec.install(*plain)
    assert ports(kernel, AGENT, 0x1001) is ports(kernel, HOME, 0x1001) is None
    before = UdpEncapsulation(4500, HOME, 31_000)
    ipsec.install(*(structs.replace(each, encapsulation=before) for each in associations(0x1002)))
    assert (ports(kernel, AGENT, 0x1002), ports(kernel, HOME, 0x1002)) == ((31_000, 4500), (4500, 31_000))
    inbound = kernel.state_reports[AGENT, 0x1002]
    ipsec.reroute(0x1002, UdpEncapsulation(4500, HOME, 32_000))
    ipsec.reroute(0x9999, before)
    assert (ports(kernel, AGENT, 0x1002), ports(kernel, HOME, 0x1002)) == ((32_000, 4500), (4500, 32_000))
    after = kernel.state_reports[AGENT, 0x1002]
    assert (after.mark, after.reqid, after.selector) == (inbound.mark, inbound.reqid, inbound.selector)
    assert {each.encapsulation for each in ipsec.list()[1]} == {UdpEncapsulation(4500, HOME, 32_000)}
    assert ports(kernel, AGENT, 0x1001) is None


def test_removing_what_is_not_there_is_nothing(ipsec: KernelIpsec) -> None:
    ipsec.remove(0x1000)
    assert ipsec.statistics == {}


def test_an_spi_in_use_is_refused_and_its_owner_kept(kernel: Kernel, ipsec: KernelIpsec) -> None:
    others = State(HOME, AGENT, 0x1000, 5, RECEIVED, 32)
    kernel.execute([Request(MessageType.NEWSA, others.to_wire(), "")])
    for _ in range(2):
        with pytest.raises(IpsecBackendError) as caught:
            ipsec.install(*associations(0x1000))
        assert caught.value.reason == "spi-in-use"
    assert [(key, state.reqid) for key, state in kernel.state_reports.items()] == [((AGENT, 0x1000), 5)]
    assert kernel.policy_reports == {}
    assert ipsec.list() == ()
    ipsec.install(*associations(0x2000))
    with pytest.raises(IpsecBackendError):
        ipsec.install(*associations(0x2000))


@pytest.mark.parametrize("message", [MessageType.NEWSA, MessageType.UPDPOLICY])
def test_what_the_kernel_refuses_leaves_nothing(kernel: Kernel, ipsec: KernelIpsec, message: MessageType) -> None:
    kernel.refuse[message] = errno.ENOMEM
    with pytest.raises(IpsecBackendError) as caught:
        ipsec.install(*associations(0x1000))
    assert caught.value.reason == "kernel-refused"
    kernel.refuse.clear()
    assert kernel.state_reports == kernel.policy_reports == {}
    ipsec.install(*associations(0x1000))
    assert len(kernel.policy_reports) == 2


def test_a_refused_policy_leaves_the_pair_before_in_force(kernel: Kernel, ipsec: KernelIpsec) -> None:
    ipsec.install(*associations(0x1000))
    before = dict(kernel.policy_reports), dict(kernel.state_reports)
    policies = kernel._carry_out

    def refuse_once(request: Request) -> int:
        if request.type is MessageType.UPDPOLICY and not refused:
            refused.append(request)
            return errno.ENOMEM
        return policies(request)

    refused: list[Request] = []
    kernel._carry_out = refuse_once  # type: ignore[method-assign]
    with pytest.raises(IpsecBackendError):
        ipsec.install(*associations(0x2000))
    assert (kernel.policy_reports, kernel.state_reports) == before


def test_lost_answers_refuse_the_pair_and_no_packet_counts_as_its(kernel: Kernel, ipsec: KernelIpsec) -> None:
    kernel.lose = 1
    with pytest.raises(IpsecBackendError) as caught:
        ipsec.install(*associations(0x1000))
    assert caught.value.reason == "kernel-lost"
    assert kernel.policy_reports == {}
    assert all(ipsec.opened_by(state.mark) is None for state in kernel.states())


def test_removal_is_repeated_until_it_is_known_to_be_done(kernel: Kernel, ipsec: KernelIpsec) -> None:
    ipsec.install(*associations(0x1000))
    kernel.lose = 2
    ipsec.remove(0x1000)
    assert kernel.state_reports == kernel.policy_reports == {}
    assert ipsec.statistics == {"kernel-lost": 2}


def test_what_an_earlier_process_left_goes_and_what_is_another_s_stays(kernel: Kernel, ipsec: KernelIpsec) -> None:
    ipsec.install(*associations(0x1000))
    other = IPv6Address("2001:db8::99")
    requests = [
        Request(MessageType.NEWSA, State(other, AGENT, 0x1000_0000, 7, Selector(other, AGENT), 32).to_wire(), ""),
        Request(MessageType.UPDPOLICY, Policy(Direction.IN, Selector(other, AGENT), 7, 1).to_wire(), ""),
    ]
    kernel.execute(requests)
    kernel.policy_reports[Direction.OUT, None] = PolicyReport(Direction.OUT, None, (INBOUND_REQID,), 0)
    kernel.policy_reports[Direction.OUT, SENT] = PolicyReport(Direction.OUT, SENT, (), 1)
    KernelIpsec(kernel, random.Random(1).randbytes)  # type: ignore[arg-type]
    assert [state.reqid for state in kernel.states()] == [7]
    assert {policy.reqids for policy in kernel.policies()} == {(7,), (), (INBOUND_REQID,)}


def test_counters_come_from_the_kernel(kernel: Kernel, ipsec: KernelIpsec) -> None:
    ipsec.install(*associations(0x1000))
    report = kernel.state_reports[AGENT, 0x1000]
    changed = StateReport(
        *(getattr(report, name) for name in StateReport.__slots__[:7]), bytes=900, packets=9, errors=2, first_used_at=1
    )
    kernel.state_reports[AGENT, 0x1000] = changed
    ((inbound, outbound),) = ipsec.list()
    assert (inbound.usage.packets, inbound.usage.bytes, inbound.usage.errors) == (9, 900, 2)
    assert outbound.usage.packets == 0


EXPECTED = MappingProxyType(
    {
        AES_256_GCM: (Algorithm("rfc4106(gcm(aes))", bytes(36), 128),),
        AES_128_CBC_SHA256: (Algorithm("cbc(aes)", bytes(16)), Algorithm("hmac(sha256)", bytes(32), 128)),
        NULL_SHA256: (Algorithm("ecb(cipher_null)", b""), Algorithm("hmac(sha256)", bytes(32), 128)),
    }
)


@pytest.mark.parametrize("suite", EXPECTED, ids=str)
def test_suites_have_the_kernel_s_names(kernel: Kernel, ipsec: KernelIpsec, suite: CipherSuite) -> None:
    bodies: list[bytes] = []
    carry_out = kernel._carry_out
    kernel._carry_out = lambda request: bodies.append(request.body) or carry_out(request)  # type: ignore[method-assign,func-returns-value]
    ipsec.install(*associations(0x1000, suite))
    for algorithm in EXPECTED[suite]:
        assert all(algorithm.name.encode() + b"\0" in body for body in bodies[:2])


def test_what_no_association_covers_must_not_leave(kernel, ipsec):
    with pytest.raises(NoSecurityAssociation):
        ipsec.outbound_for(HOME, 135, 6 << 8)
    ipsec.install(*associations(0x1000))
    ipsec.install(*associations(0x1001))
    assert ipsec.outbound_for(HOME, 135, 6 << 8).destination == HOME
    for destination, protocol in ((AGENT, 135), (HOME, 58)):
        with pytest.raises(NoSecurityAssociation):
            ipsec.outbound_for(destination, protocol, 6 << 8)
    for spi in (0x1000, 0x1001):
        assert ipsec.outbound_for(HOME, 135, 6 << 8).source == AGENT
        ipsec.remove(spi)
    with pytest.raises(NoSecurityAssociation):
        ipsec.outbound_for(HOME, 135, 6 << 8)


@pytest.mark.parametrize("destination", [AGENT, HOME])
def test_the_kernel_tells_of_limits_and_each_is_passed_on_once(
    kernel: Kernel, ipsec: KernelIpsec, destination: IPv6Address
) -> None:
    ipsec.install(*associations(0x1000))
    for hard in (False, False, True, True):
        ipsec.handle_event(StateExpired(destination, 0x1000, hard))
    assert ipsec.usage_expiries() == [UsageExpiry(0x1000, hard=False), UsageExpiry(0x1000, hard=True)]
    assert ipsec.usage_expiries() == []
    assert ipsec.statistics == {"usage-exceeded": 1}


def test_expiries_of_others_and_packets_without_a_state_change_nothing(kernel: Kernel, ipsec: KernelIpsec) -> None:
    ipsec.install(*associations(0x1000))
    for destination, spi in ((AGENT, 0x1001), (HOME, 0x1001), (IPv6Address("2001:db8::bad"), 0x1000)):
        ipsec.handle_event(StateExpired(destination, spi, hard=True))
    assert ipsec.statistics == {}
    ipsec.handle_event(StateMissing(HOME, SENT))
    assert ipsec.statistics == {"xfrm-acquire": 1}
    assert ipsec.usage_expiries() == []
    assert len(kernel.state_reports) == 2


def test_limits_go_to_the_kernel_and_keys_by_hand_have_none(ipsec: KernelIpsec) -> None:
    sent: list[Request] = []
    carry_out = ipsec._channel._carry_out  # type: ignore[attr-defined]
    ipsec._channel._carry_out = lambda request: (sent.append(request), carry_out(request))[1]  # type: ignore[attr-defined]
    ipsec.install(*associations(0x1000))
    ipsec.install(*(structs.replace(one, limits=None) for one in associations(0x1001)))
    found = [LIFETIME_LIMITS.unpack(STATE.unpack_from(r.body)[3])[:4] for r in sent if r.type is MessageType.NEWSA]
    limits = DEFAULT_USAGE_LIMITS
    few = (limits.soft_bytes, limits.hard_bytes, limits.soft_packets, limits.hard_packets)
    assert found == [few, few, (2**64 - 1,) * 4, (2**64 - 1,) * 4]


def test_lost_events_are_made_up_for_from_what_the_kernel_has(kernel: Kernel, ipsec: KernelIpsec) -> None:
    for spi in (0x1000, 0x2000, 0x3000):
        ipsec.install(*associations(spi))
    del kernel.state_reports[HOME, 0x1000]
    kernel.state_reports[AGENT, 0x2000] = replace(kernel.state_reports[AGENT, 0x2000], packets=2**31)
    ours = kernel.state_reports[AGENT, 0x3000]
    kernel.state_reports[AGENT, 0x4000] = replace(ours, spi=0x4000)
    kernel.state_reports[AGENT, 0x5000] = replace(ours, spi=0x5000, reqid=7)
    ipsec.resynchronise()
    ipsec.resynchronise()
    assert ipsec.usage_expiries() == [UsageExpiry(0x1000, hard=True), UsageExpiry(0x2000, hard=False)]
    assert (AGENT, 0x4000) not in kernel.state_reports
    assert {(AGENT, 0x5000), (AGENT, 0x3000), (AGENT, 0x1000)} <= set(kernel.state_reports)
    assert ipsec.statistics == {"xfrm-resynchronised": 2, "usage-exceeded": 1}
