"""Routes for a routing daemon to announce, as the kernel has them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network

import pytest

from bench.lab.entering import inside
from bench.lab.laboratory import Laboratory
from bench.lab.namespaces import Namespace
from datapath.announced_routes import AnnouncedRoutes, RouteRefused
from datapath.route_changes import Message, RouteChanges, RouteMessage

pytestmark = pytest.mark.namespaces

TABLE = 1109
HOMES = [IPv6Network(f"2001:db8:100::{number:x}/128") for number in range(1, 1001)]
NETWORK = IPv6Network("2001:db8:200::/56")


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Laboratory("test") as laboratory:
        yield laboratory.namespace("routes")


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
    assert first.split()[:4] == ["unreachable", "2001:db8:100::1", "dev", "lo"]
    assert "proto 109" in first
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
