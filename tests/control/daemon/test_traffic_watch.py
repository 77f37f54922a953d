"""When nodes had traffic, from counters that move."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from control.daemon.traffic_watch import TrafficWatch

WALL = 1_700_000_000.0
ROUND_S = 15.0


class Network:
    """Counters, and the watch over them."""

    def __init__(self, nodes: int) -> None:
        self.homes = [IPv6Address((0x20010DB8 << 96) + number) for number in range(nodes)]
        self.counts: Counter[IPv6Address] = Counter()
        self.looked_at = 0
        self.watch = TrafficWatch(self.count)

    def count(self, home_address: IPv6Address) -> int:
        self.looked_at += 1
        return self.counts[home_address]

    def look(self, now: float) -> dict[str, float]:
        """One call, everything that is to be written then taken for written."""
        self.watch.look(lambda: ((home, str(home)) for home in self.homes), now, WALL + now)
        times = self.watch.to_write()
        self.watch.written(times)
        return times


def test_a_counter_that_moves_is_traffic_and_one_found_high_is_not() -> None:
    network = Network(3)
    network.counts.update(dict.fromkeys(network.homes, 7))
    assert network.look(0.0) == {}
    network.counts[network.homes[1]] += 1
    assert network.look(1.0) == {}, "looked again before its time"
    assert network.look(ROUND_S) == {str(network.homes[1]): WALL + ROUND_S}
    assert network.look(2 * ROUND_S) == {}


def test_a_busy_node_is_written_once_a_minute() -> None:
    network = Network(1)
    written = []
    for step in range(41):
        network.counts[network.homes[0]] += 100
        written += network.look(step * ROUND_S).values()
    gaps = [later - earlier for earlier, later in pairwise(written)]
    assert set(gaps) == {60.0}
    assert len(written) == 10


def test_what_the_store_did_not_take_is_offered_again() -> None:
    network = Network(1)
    network.look(0.0)
    network.counts[network.homes[0]] += 1
    network.watch.look(lambda: ((home, str(home)) for home in network.homes), ROUND_S, WALL + ROUND_S)
    assert network.watch.to_write() == network.watch.to_write() == {str(network.homes[0]): WALL + ROUND_S}


def test_a_node_that_is_gone_is_forgotten() -> None:
    network = Network(2)
    network.look(0.0)
    network.counts.update(network.homes)
    gone = network.homes.pop()
    network.look(ROUND_S)
    network.homes.append(gone)
    assert network.look(2 * ROUND_S) == {}, "the counter of its new binding is not compared with that of the old one"


@settings(max_examples=10)
@given(st.integers(1, 3000), st.integers(1, 30))
def test_work_at_once_is_bounded_and_everybody_is_seen(nodes: int, extra: int) -> None:
    network = Network(nodes)
    now, written = 0.0, set()
    for _ in range(2 * -(-nodes // 1000) + 1):
        before = network.looked_at
        times = network.look(now)
        assert network.looked_at - before <= 1000
        assert len(times) <= 500
        written |= times.keys()
        network.counts.update(dict.fromkeys(network.homes, extra))
        now += ROUND_S
    for _ in range(-(-nodes // 500)):
        written |= network.look(now).keys()
        now += ROUND_S
    assert written == set(map(str, network.homes))
