"""What a mobile router changes around itself, and that it is undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from bench.lab.entering import own_network
from control.mobile_daemon.iproute import NetworkError
from control.mobile_daemon.router_network import RouterNetwork
from tests.datapath.conftest import make_interface, run

pytestmark = pytest.mark.namespaces

SETTINGS = Path("/proc/sys/net/ipv6/conf")
NETWORK = IPv6Network("2001:db8:700::/56")


@pytest.fixture(autouse=True)
def _network() -> Iterator[None]:
    with own_network():
        for name in ("wan0", "lan0"):
            make_interface(name)
            write(f"{name}/accept_ra", "1")
        write("all/forwarding", "0")
        yield


def write(name: str, value: str) -> None:
    (SETTINGS / name).write_text(value)


def read(name: str) -> str:
    return (SETTINGS / name).read_text().strip()


def routes() -> str:
    return run("ip -6 route show")


def test_it_forwards_and_still_listens_to_the_routers_of_visited_networks() -> None:
    with closing(RouterNetwork([NETWORK], ["wan0"])) as network:
        network.open()
        assert (read("all/forwarding"), read("wan0/accept_ra"), read("lan0/accept_ra")) == ("1", "2", "1")
        assert f"unreachable {NETWORK} dev lo metric 4294967294" in routes()
    assert (read("all/forwarding"), read("wan0/accept_ra")) == ("0", "1")
    assert "unreachable" not in routes()


def test_what_an_operator_has_set_stays() -> None:
    write("all/forwarding", "1")
    write("wan0/accept_ra", "0")
    with closing(RouterNetwork([NETWORK], ["wan0"])) as network:
        network.open()
        assert (read("all/forwarding"), read("wan0/accept_ra")) == ("1", "0")
    assert (read("all/forwarding"), read("wan0/accept_ra")) == ("1", "0")


def test_what_cannot_be_done_undoes_the_rest() -> None:
    network = RouterNetwork([NETWORK], ["wan0", "none0"])
    with pytest.raises(NetworkError, match="none0/accept_ra"):
        network.open()
    assert (read("all/forwarding"), read("wan0/accept_ra")) == ("0", "1")
    assert "unreachable" not in routes()
