"""What keeps a daemon from serving shows before it has a lease."""

from __future__ import annotations

import asyncio
import errno
import socket
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.config import ListenAddress
from control.control_socket import CommandError
from control.daemon import before_joining
from control.daemon.before_joining import metrics_server, require_ike_ports


@pytest.fixture
def taken(monkeypatch):
    """A socket on what stands for port 500, shared as those of IKE workers are."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("::1", 0))
        monkeypatch.setattr(before_joining, "IKE_PORT", sock.getsockname()[1])
        yield sock


def configuration(listen=None):
    return SimpleNamespace(
        home_agent=SimpleNamespace(address=IPv6Address("::1")),
        ike=SimpleNamespace(nat_traversal="off"),
        metrics=SimpleNamespace(listen=listen),
    )


def test_a_port_that_another_program_keeps(taken, monkeypatch):
    monkeypatch.setattr(before_joining, "_PATIENCE_S", 0.0)
    with pytest.raises(OSError, match="in use") as caught:
        asyncio.run(require_ike_ports(configuration()))
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.filename == f"UDP port {taken.getsockname()[1]} of ::1"


def test_a_port_that_becomes_free(taken, monkeypatch):
    monkeypatch.setattr(before_joining, "_PATIENCE_S", 60.0)

    async def wait():
        asyncio.get_running_loop().call_later(0.1, taken.close)
        await require_ike_ports(configuration())

    asyncio.run(wait())
    assert taken.fileno() == -1


def test_a_port_for_metrics_that_cannot_be_had():
    assert metrics_server(configuration(), dict) is None
    with socket.socket(socket.AF_INET6) as held:
        held.bind(("::1", 0))
        held.listen()
        listen = ListenAddress("::1", held.getsockname()[1])
        with pytest.raises(CommandError, match=r"TCP port \d+ of ::1 cannot be had .*Set \[metrics\] listen"):
            metrics_server(configuration(listen), dict)
