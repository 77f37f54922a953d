"""What is served over HTTP: metrics, the status page and what it asks for; and what is not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

import pytest

from control.metrics import MetricsServer, Snapshot, from_event_loop
from tests.ports import reserved_ports


@pytest.fixture
def server(full_snapshot: Snapshot) -> Iterator[MetricsServer]:
    server = MetricsServer("::1", 0, lambda: full_snapshot)
    server.start()
    yield server
    server.close()


def ask(port: int, path: str, method: str = "GET") -> HTTPResponse:
    request = urllib.request.Request(f"http://[::1]:{port}{path}", method=method)
    response: HTTPResponse = urllib.request.urlopen(request, timeout=60)
    return response


def get(port: int, path: str = "/metrics") -> str:
    with ask(port, path) as response:
        return response.read().decode()


def test_metrics_with_those_of_the_process_beside_them(server: MetricsServer) -> None:
    text = get(server.port)
    assert "homeagent_bindings 10.0" in text
    assert "process_cpu_seconds_total" in text
    assert "process_resident_memory_bytes" in text


def test_the_status_and_what_the_page_needs_beside_it(server: MetricsServer, full_snapshot: Snapshot) -> None:
    status: dict[str, Any] = json.loads(get(server.port, "/status.json"))
    expected = json.loads(json.dumps(full_snapshot.to_status()))
    assert {key: status[key] for key in expected} == expected
    assert status["history"] == [[0.0, 0, 0, 0], [2.5, 5, 0, 2]]
    assert [each["what"] for each in status["attention"]][:1] == ["core1 has no XDP program."]


def test_the_page_needs_nothing_from_elsewhere(server: MetricsServer) -> None:
    with ask(server.port, "/") as response:
        page = response.read().decode()
        policy = response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers.get_content_type() == "text/html"
    assert not re.search(r"""(?:src|href)=["']?(?:https?:|//)|@import|url\(""", page)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for element in ("script", "style"):
        (content,) = re.findall(rf"<{element}[^>]*>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    # Whatever a name or a reason holds is text: nothing of the status is ever read as markup.
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|style=|\son[a-z]+=\"", page)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/nodes", "GET", 404), ("/", "POST", 405), ("/status.json", "DELETE", 405)],
)
def test_nothing_else_is_answered(server: MetricsServer, path: str, method: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(server.port, path, method)
    assert refused.value.code == status
    refused.value.close()


def test_a_port_in_use(full_snapshot: Snapshot) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            MetricsServer("::1", taken.getsockname()[1], lambda: full_snapshot)


def test_one_that_has_only_its_port_can_be_closed(full_snapshot: Snapshot) -> None:
    with reserved_ports(1) as (port,):
        for _ in range(2):
            MetricsServer("::1", port, lambda: full_snapshot).close()


def test_snapshots_are_taken_in_the_event_loop(full_snapshot: Snapshot) -> None:
    threads: list[threading.Thread] = []

    def build() -> Snapshot:
        threads.append(threading.current_thread())
        return full_snapshot

    async def run() -> None:
        server = MetricsServer("::1", 0, from_event_loop(asyncio.get_running_loop(), build))
        server.start()
        try:
            assert "homeagent_bindings 10.0" in await asyncio.to_thread(get, server.port)
        finally:
            await asyncio.to_thread(server.close)

    asyncio.run(run())
    assert threads == [threading.main_thread()]


@pytest.mark.parametrize("path", ["/metrics", "/status.json"])
def test_a_hung_daemon_is_told_of(full_snapshot: Snapshot, path: str) -> None:
    loop = asyncio.new_event_loop()
    server = MetricsServer("::1", 0, from_event_loop(loop, lambda: full_snapshot, timeout_s=0.05))
    server.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as failed:
            get(server.port, path)
        assert failed.value.code == 503
        failed.value.close()
    finally:
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
