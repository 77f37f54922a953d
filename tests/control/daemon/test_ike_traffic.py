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
DATAGRAMS = 84
FIRST = 64


class SlowAgent:
    """An engine that takes its time for every message."""

    def __init__(self) -> None:
        self.endpoint = SimpleNamespace(configuration=SimpleNamespace(nat_traversal=NatTraversal.AUTO))
        self.taken: list[tuple[bytes, float]] = []

    def receive_ike_messages(self, messages, now, port=500):
        self.taken += [(data, now) for data, _ in messages]
        time.sleep(0.002 * len(messages))


@pytest.fixture
def agent():
    return SlowAgent()


@pytest.fixture
def traffic(agent):
    traffic = OwnIkeTraffic(HERE, agent, ports=(0, 0))
    yield traffic
    traffic.close()


@pytest.mark.parametrize(("index", "marker"), [(0, b""), (1, bytes(4))], ids=["plain", "nat-traversal"])
def test_a_burst_is_taken_in_turns_as_long_as_messages_cost_and_in_order(agent, traffic, index, marker):
    descriptor, reader = list(traffic.readers().items())[index]
    port = socket.socket(fileno=socket.dup(descriptor)).getsockname()[1]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        for number in range(DATAGRAMS):
            sender.sendto(marker + bytes([number + 1]) * 28, (str(HERE), port))
    taken = []
    while len(agent.taken) < DATAGRAMS:
        before = len(agent.taken)
        reader(time.monotonic(), time.time())
        if len(agent.taken) > before:
            taken.append(len(agent.taken) - before)
    # Nothing was known of them at first; of those after that 10 ms have five at most, and twice five may fit a turn.
    assert taken[0] == FIRST
    assert all(number <= 10 for number in taken[1:])
    assert len(taken) >= 1 + (DATAGRAMS - FIRST) // 10
    assert [data[0] - 1 for data, _ in agent.taken] == list(range(DATAGRAMS))
    times = [now for _, now in agent.taken]
    assert times == sorted(times)
    # The last ones waited for the turns of all before them.
    assert traffic.take_waited_s() > 0.001 * DATAGRAMS
    assert traffic.take_waited_s() == 0.0
