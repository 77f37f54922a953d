"""Associations that have carried as much as they may: the userspace back end tells, then refuses."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

import pytest
from msgspec.structs import replace

from control.ipsec.errors import EspError, IpsecBackendError
from control.ipsec.esp import LAST_SEQUENCE_NUMBER
from control.ipsec.usage_limits import DEFAULT_USAGE_LIMITS, UsageExpiry, UsageLimits
from control.ipsec.userspace import UserspaceIpsec
from tests.control.ipsec.associations import association_between

HOME_AGENT, HOME_ADDRESS = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:100::17")
UPDATE, ACKNOWLEDGEMENT = bytes.fromhex("3b010500") + bytes(12), bytes.fromhex("3b010600") + bytes(12)
FEW_PACKETS = UsageLimits(3, 5, 2**40, 2**41)
FEW_BYTES = UsageLimits(2**31, 2**32, 3 * 16, 5 * 16)
SOFT, HARD = UsageExpiry(0x1000, hard=False), UsageExpiry(0x1000, hard=True)


def back_ends(limits: UsageLimits) -> tuple[UserspaceIpsec, UserspaceIpsec]:
    """A home agent with those limits and a node without any that matter."""
    agent, node = (UserspaceIpsec(random.Random(seed).randbytes) for seed in (1, 2))
    up, down = (0x1000, HOME_ADDRESS, HOME_AGENT), (0x2000, HOME_AGENT, HOME_ADDRESS)
    agent.install(association_between(*up, limits=limits), association_between(*down, limits=limits))
    node.install(association_between(*down), association_between(*up))
    return agent, node


def receive(agent: UserspaceIpsec, node: UserspaceIpsec) -> None:
    packet = node.protect(HOME_ADDRESS, HOME_AGENT, 135, UPDATE, 1.0)
    agent.unprotect(HOME_ADDRESS, HOME_AGENT, packet, 1.0)


def send(agent: UserspaceIpsec, _node: UserspaceIpsec) -> None:
    agent.protect(HOME_AGENT, HOME_ADDRESS, 135, ACKNOWLEDGEMENT, 1.0)


@pytest.mark.parametrize("limits", [FEW_PACKETS, FEW_BYTES], ids=["packets", "bytes"])
@pytest.mark.parametrize("use", [receive, send])
def test_the_soft_limit_is_told_once_and_beyond_the_hard_one_nothing_passes(use, limits: UsageLimits) -> None:
    agent, node = back_ends(limits)
    told = []
    for _ in range(5):
        use(agent, node)
        told.append(tuple(agent.usage_expiries()))
    assert told == [(), (), (SOFT,), (), ()]
    for _ in range(3):
        with pytest.raises(EspError) as caught:
            use(agent, node)
        assert caught.value.reason == "usage-exceeded"
    assert agent.usage_expiries() == [HARD]
    assert agent.usage_expiries() == ()
    assert agent.statistics["usage-exceeded"] == 3
    ((inbound, outbound),) = agent.list()
    assert inbound.usage.errors + outbound.usage.errors == 3


def test_the_hard_limit_comes_before_the_sequence_numbers_end() -> None:
    agent, node = back_ends(DEFAULT_USAGE_LIMITS)
    send(agent, node)
    pair = agent.outbound_for(HOME_AGENT, HOME_ADDRESS, 135, 0x0600)
    assert pair.sealing is not None
    pair.sealing.sequence_number = pair.outbound.usage.packets = 2**31 - 2
    send(agent, node)
    assert agent.usage_expiries() == ()
    send(agent, node)
    assert agent.usage_expiries() == [SOFT]
    pair.sealing.sequence_number = pair.outbound.usage.packets = LAST_SEQUENCE_NUMBER - 1
    send(agent, node)
    assert agent.usage_expiries() == ()
    with pytest.raises(EspError, match="usage-exceeded"):
        send(agent, node)
    assert agent.usage_expiries() == [HARD]


def test_keys_that_nobody_replaces_have_no_limit() -> None:
    agent, node = back_ends(FEW_PACKETS)
    ((inbound, outbound),) = agent.list()
    agent.remove(inbound.spi)
    agent.install(replace(inbound, limits=None), replace(outbound, limits=None))
    for _ in range(10):
        send(agent, node)
        receive(agent, node)
    assert agent.usage_expiries() == ()


@pytest.mark.parametrize("numbers", [(0, 1, 1, 2), (2, 2, 1, 2), (1, 2, 3, 2), (1, 2, 0, 1)])
def test_limits_leave_room_to_replace(numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(IpsecBackendError) as caught:
        UsageLimits(*numbers)
    assert caught.value.reason == "bad-limits"
