from __future__ import annotations

import os
import socket

import pytest

from control.daemon.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A datagram socket as systemd opens one, and the address a service is given."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@homeagent-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0", 1))
        sock.setblocking(False)
        yield sock, address


def said(sock):
    messages = []
    while True:
        try:
            messages.append(sock.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_readiness_status_and_end_are_said(manager):
    sock, address = manager
    service = ServiceManager(address)
    service.ready("2001:db8:a1::1: active, 3 bindings")
    service.status("2001:db8:a1::1: active, 4 bindings")
    service.stopping()
    assert said(sock) == [
        "READY=1\nSTATUS=2001:db8:a1::1: active, 3 bindings",
        "STATUS=2001:db8:a1::1: active, 4 bindings",
        "STOPPING=1",
    ]


def test_more_time_is_asked_for(manager):
    sock, address = manager
    ServiceManager(address).waits("leaves its nodes to the others", 61.5)
    assert said(sock) == ["STATUS=leaves its nodes to the others\nEXTEND_TIMEOUT_USEC=61500000"]


def test_a_status_is_said_once(manager):
    sock, address = manager
    service = ServiceManager(address)
    service.ready("a")
    service.status("a")
    service.status("b")
    service.status("b")
    assert said(sock) == ["READY=1\nSTATUS=a", "STATUS=b"]


def test_the_environment_names_the_socket(manager, monkeypatch):
    sock, address = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    ServiceManager().ready("a")
    assert said(sock) == ["READY=1\nSTATUS=a"]


def test_without_a_manager_nothing_is_said(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(socket, "socket", None)  # calling it would fail
    service = ServiceManager()
    service.ready("a")
    service.status("b")
    service.stopping()


def test_a_manager_that_has_gone_stops_nothing(tmp_path):
    ServiceManager(str(tmp_path / "gone")).ready("a")
