"""IKE datagrams on their way to the engine: in turns, so that other packets get theirs."""

from __future__ import annotations

import socket
import time
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.daemon.ike_traffic import OwnIkeTraffic
from control.ikev2.nat import NatTraversal

HERE = IPv6Address("::1")
DATAGRAMS = 20


class SlowAgent:
    """An engine that takes its time for every message."""

    def __init__(self) -> None:
        self.endpoint = SimpleNamespace(configuration=SimpleNamespace(nat_traversal=NatTraversal.AUTO))
        self.taken: list[tuple[bytes, float]] = []

    def receive_ike(self, data, peer, now, port=500):
        self.taken.append((data, now))
        time.sleep(0.002)


@pytest.fixture
def agent():
    return SlowAgent()


@pytest.fixture
def traffic(agent):
    traffic = OwnIkeTraffic(HERE, agent, ports=(0, 0))
    yield traffic
    traffic.close()


@pytest.mark.parametrize(("index", "marker"), [(0, b""), (1, bytes(4))], ids=["plain", "nat-traversal"])
def test_a_burst_is_taken_in_turns_in_order_and_each_message_at_its_own_time(agent, traffic, index, marker):
    descriptor, reader = list(traffic.readers().items())[index]
    port = socket.socket(fileno=socket.dup(descriptor)).getsockname()[1]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        for number in range(DATAGRAMS):
            sender.sendto(marker + bytes([number + 1]) * 28, (str(HERE), port))
    turns = 0
    while len(agent.taken) < DATAGRAMS:
        before = len(agent.taken)
        reader(time.monotonic(), time.time())
        assert len(agent.taken) - before <= 2
        turns += len(agent.taken) > before
    assert turns >= DATAGRAMS // 2
    assert [data[0] for data, _ in agent.taken] == list(range(1, DATAGRAMS + 1))
    assert len({now for _, now in agent.taken}) == DATAGRAMS
    # The last ones waited for the turns of all before them.
    assert traffic.take_waited_s() > 0.001 * DATAGRAMS
    assert traffic.take_waited_s() == 0.0
