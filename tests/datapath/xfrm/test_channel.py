"""The netlink socket against the kernel at hand: policies need no ESP."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from bench.lab.entering import own_network
from datapath.xfrm.channel import Request, XfrmChannel
from datapath.xfrm.errors import XfrmLost
from datapath.xfrm.numbers import Direction, MessageType
from datapath.xfrm.policies import Policy, policy_key
from datapath.xfrm.probe import kernel_ipsec_available
from datapath.xfrm.selectors import Selector

pytestmark = pytest.mark.namespaces

AGENT = IPv6Address("2001:db8:a1::1")


@pytest.fixture
def channel() -> Iterator[XfrmChannel]:
    with own_network(), XfrmChannel() as channel:
        yield channel


def selector(number: int) -> Selector:
    return Selector(AGENT, IPv6Address(f"2001:db8:100::{number:x}"), 135, (5, 0xFFFF))


def additions(count: int) -> list[Request]:
    policies = (Policy(Direction.OUT, selector(number), number, 1000) for number in range(count))
    return [Request(MessageType.UPDPOLICY, policy.to_wire(), "add") for policy in policies]


def test_many_requests_are_answered_one_by_one_in_order(channel: XfrmChannel) -> None:
    requests = additions(2000)
    key = policy_key(Direction.OUT, selector(0xFFFF))
    requests.insert(1000, Request(MessageType.DELPOLICY, key, "remove what is not there"))
    answers = channel.execute(requests)
    assert [index for index, refused in enumerate(answers) if refused is not None] == [1000]
    refused = answers[1000]
    assert refused is not None
    assert refused.errno == errno.ENOENT
    assert "remove what is not there" in str(refused)
    found = channel.policies()
    assert {policy.selector for policy in found} == {selector(number) for number in range(2000)}
    assert all(policy.reqids == (int(policy.selector.destination) & 0xFFFF,) for policy in found if policy.selector)


def test_lost_answers_are_noticed_and_the_socket_stays_usable(channel: XfrmChannel) -> None:
    channel._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    with pytest.raises(XfrmLost):
        channel.execute(additions(200))
    channel._socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 20)  # SO_RCVBUFFORCE
    assert len(channel.policies()) == 200
    assert channel.execute(additions(3)) == [None] * 3


def test_nothing_there_is_an_empty_list(channel: XfrmChannel) -> None:
    assert channel.policies() == []
    assert channel.states() == []
    assert channel.execute([]) == []


def test_the_probe_says_in_a_sentence_what_this_kernel_lacks_and_leaves_nothing(channel: XfrmChannel) -> None:
    reason = kernel_ipsec_available()
    assert channel.states() == []
    assert reason is None or (reason.startswith("this kernel") and not reason.endswith("."))
