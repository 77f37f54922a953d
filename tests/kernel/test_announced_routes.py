"""Routes to be announced expire by Debian's kernel as well, unless they are kept."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest

from bench.lab.entering import inside
from datapath.announced_routes import AnnouncedRoutes
from tests.kernel.network import run
from tests.waiting import wait_until

pytestmark = pytest.mark.kernel

NETWORKS = [IPv6Network("2001:db8:100::1"), IPv6Network("2001:db8:700::/56")]


def test_what_nobody_keeps_expires_and_what_is_kept_stays() -> None:
    run("ip netns add routes")
    try:
        with inside("routes"):
            run("sysctl -qw net.ipv6.route.gc_interval=1")
            run("ip link set lo up")
            kept, left = AnnouncedRoutes(110, 3), AnnouncedRoutes(254, 3)
        for routes in (kept, left):
            routes.add(NETWORKS)
        wait_until(lambda: kept.keep(expire=True) or not left.present(), "nothing has expired")
        assert set(kept.present()) == set(NETWORKS)
        left.reconcile(NETWORKS)
        for _ in range(3):
            left.keep(expire=False)
        assert "expires" not in str(run("ip -n routes -6 route show"))
        assert set(left.present()) == set(NETWORKS)
    finally:
        run("ip netns del routes")
