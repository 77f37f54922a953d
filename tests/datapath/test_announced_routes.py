"""Routes for a routing daemon to announce, as the kernel has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import IPv6Network

import pytest

from bench.lab.entering import inside
from bench.lab.laboratory import Laboratory
from bench.lab.namespaces import Namespace
from datapath.announced_routes import AnnouncedRoutes, RouteRefused
from datapath.route_changes import Message, RouteChanges, RouteMessage
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces

TABLE = 1109
LIFETIME_S = 6
HOMES = [IPv6Network(f"2001:db8:100::{number:x}/128") for number in range(1, 1001)]
NETWORK = IPv6Network("2001:db8:200::/56")


@pytest.fixture
def laboratory() -> Iterator[Laboratory]:
    with Laboratory("test") as laboratory:
        yield laboratory


@pytest.fixture
def namespace(laboratory: Laboratory) -> Namespace:
    return laboratory.namespace("routes")


@pytest.fixture
def routes(namespace: Namespace) -> Iterator[AnnouncedRoutes]:
    with inside(namespace.name):
        routes = AnnouncedRoutes(TABLE)
    yield routes
    routes.close()


def shown(namespace: Namespace, table: str = str(TABLE)) -> list[str]:
    return namespace.run(["ip", "-6", "route", "show", "table", table]).splitlines()


def test_routes_come_and_go_and_forward_nothing(namespace, routes):
    routes.add([HOMES[0], NETWORK])
    routes.add([HOMES[0]])
    assert sorted(routes.present()) == [HOMES[0], NETWORK]
    first, second = shown(namespace)
    assert first.split()[:2] == ["blackhole", "2001:db8:100::1"]
    assert "proto 109" in first
    assert "expires" not in first
    assert "2001:db8:200::/56" in second
    assert shown(namespace, "main") == []
    routes.remove([HOMES[0], HOMES[5]])
    assert routes.present() == [NETWORK]


def test_many_are_made_to_be_as_they_should_and_others_left_alone(namespace, routes):
    namespace.ip(
        [f"route add unreachable {HOMES[2]} table 1110 proto 109", f"route add unreachable {NETWORK} table 1109"]
    )
    routes.reconcile(HOMES)
    assert set(routes.present()) == set(HOMES)
    routes.reconcile([*HOMES[:2], IPv6Network("2001:db8:300::/64")])
    assert len(routes.present()) == 3
    routes.reconcile(())
    assert routes.present() == []
    assert len(shown(namespace, "1110")) == 1
    assert len(shown(namespace)) == 1


class Changes:
    """What the kernel tells of routes, from here on."""

    def __init__(self, laboratory: Laboratory, namespace: Namespace) -> None:
        self._namespace = namespace
        self._monitor = laboratory.spawn(namespace, "monitor", ["ip", "-6", "monitor", "route"])
        self._wait_for("fd00:1::/64")
        self._begin = len(self._lines())

    def so_far(self, meanwhile: Callable[[], None] = lambda: None) -> list[str]:
        self._wait_for("fd00:2::/64", meanwhile)
        return [line for line in self._lines()[self._begin :] if "fd00:" not in line]

    def _wait_for(self, marked: str, meanwhile: Callable[[], None] = lambda: None) -> None:
        def is_heard() -> bool:
            meanwhile()
            self._namespace.ip([f"route replace unreachable {marked}"])
            return any(marked in line for line in self._lines())

        wait_until(is_heard, "the kernel tells nothing")

    def _lines(self) -> list[str]:
        return self._monitor.output.read_text().splitlines()


@pytest.fixture
def passing(namespace: Namespace) -> Iterator[AnnouncedRoutes]:
    """Routes that last six seconds, and a kernel that looks for expired ones each second."""
    namespace.sysctl({"net.ipv6.route.gc_interval": "1"})
    with inside(namespace.name):
        routes = AnnouncedRoutes(TABLE, LIFETIME_S)
    yield routes
    routes.close()


def test_what_nobody_keeps_expires_and_what_is_kept_stays(laboratory, namespace, passing):
    with inside(namespace.name):
        dead, living = AnnouncedRoutes(TABLE, LIFETIME_S), AnnouncedRoutes(TABLE + 1, LIFETIME_S)
    dead.add(HOMES[:10])
    living.add(HOMES[:10])
    dead.close()
    changes = Changes(laboratory, namespace)
    wait_until(lambda: living.keep(expire=True) or not passing.present(), shown(namespace))
    kept = shown(namespace, str(TABLE + 1))
    told = changes.so_far(lambda: living.keep(expire=True))
    living.close()
    assert len(kept) == 10
    assert all("expires" in line for line in kept)
    assert len(told) == 10, "routing daemons hear of those that expire, and nothing of those that are kept"
    assert all(line.startswith("Deleted blackhole") and f"table {TABLE}" in line for line in told)


def test_routes_stay_for_ever_where_nobody_else_could_have_them(namespace, passing):
    passing.add(HOMES[:10])
    for _ in range(LIFETIME_S):
        passing.keep(expire=False)
    assert not any("expires" in line for line in shown(namespace))
    with inside(namespace.name), closing(AnnouncedRoutes(TABLE, LIFETIME_S)) as successor:
        successor.reconcile(HOMES[:10])
        for _ in range(LIFETIME_S):
            successor.keep(expire=None)  # it does not know yet
    assert not any("expires" in line for line in shown(namespace))
    passing.add(HOMES[10:20])
    assert not any("expires" in line for line in shown(namespace))
    for _ in range(LIFETIME_S):
        passing.keep(expire=True)
    assert all("expires" in line for line in shown(namespace))
    wait_until(lambda: not passing.present(), shown(namespace))


def test_a_successor_finds_them_as_they_were_and_has_them_last(laboratory, namespace, passing):
    passing.add(HOMES[:500])
    with inside(namespace.name):
        lasting, successor = AnnouncedRoutes(TABLE), AnnouncedRoutes(TABLE, 86400)
    lasting.add(HOMES[500:600])
    lasting.close()
    namespace.ip([f"route add unreachable {HOMES[700]} table {TABLE} proto 109"])  # as earlier versions made them
    changes = Changes(laboratory, namespace)
    successor.reconcile(HOMES[1:701])
    told = changes.so_far()
    successor.close()
    replaced = [line for line in told if not line.startswith("Deleted")]
    assert len(replaced) == 101, "the new ones and the one of an earlier version"
    assert [line.split()[2] for line in told if line not in replaced] == ["2001:db8:100::1"]
    rows = {IPv6Network(row.split()[1]): row for row in shown(namespace)}
    assert rows.keys() == set(HOMES[1:701])
    assert all("nhid" in row for row in rows.values())
    assert {each for each, row in rows.items() if "expires" not in row} == set(HOMES[500:600])


def test_many_routes_are_kept_in_turns_and_last_for_longer(laboratory, namespace, passing):
    many = [IPv6Network((int(HOMES[0].network_address) + number, 128)) for number in range(5000)]
    passing.add(many)
    assert passing.lifetime_s == 15 > LIFETIME_S
    changes = Changes(laboratory, namespace)
    for _ in range(5):
        passing.keep(expire=True)
    passing.add(many[:10])  # as with each Binding Update of a node
    assert changes.so_far() == []
    left = [int(re.search(r"expires (\d+)sec", row)[1]) for row in shown(namespace)]
    assert len(left) == 5000
    assert min(left) > 3


def test_routes_that_somebody_removed_with_their_next_hop_come_back(namespace, passing):
    passing.add(HOMES[:10])
    namespace.run(["ip", "nexthop", "flush", "proto", "109"])
    assert passing.present() == []
    for _ in range(LIFETIME_S):
        passing.keep(expire=True)
    assert set(passing.present()) == set(HOMES[:10])


def test_without_a_loopback_device_an_operator_hears_why(namespace):
    namespace.ip(["link set dev lo down"])
    with inside(namespace.name), pytest.raises(RouteRefused, match="ip link set lo up"):
        AnnouncedRoutes(TABLE)


def test_a_refusal_is_told_and_what_follows_finds_its_own_answers(routes):
    beyond = IPv6Network("fe80::/64")
    object.__setattr__(beyond, "_prefixlen", 129)
    with pytest.raises(RouteRefused, match="The kernel does not change the route"):
        routes.add([beyond, HOMES[0], HOMES[1]])
    routes.add([HOMES[2]])
    assert HOMES[2] in routes.present()


def test_next_hops_stay_good_when_such_a_route_changes(routes):
    body = routes._body(HOMES[0])
    assert not RouteChanges().matters(Message(RouteMessage.NEW_ROUTE, body))
    another = body[:5] + b"\x03" + body[6:]
    assert RouteChanges().matters(Message(RouteMessage.DELETE_ROUTE, another))
