"""Serves /metrics for Prometheus, and the status page for people, from threads of its own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app

from control.metrics.families import HomeAgentCollector
from control.metrics.snapshot import Snapshot
from control.metrics.status_page import content_security_policy, page, status_document

SnapshotSource = Callable[[], Snapshot]

_IDLE_S = 10.0


def from_event_loop(
    loop: asyncio.AbstractEventLoop, build: Callable[[], Snapshot], timeout_s: float = 5.0
) -> SnapshotSource:
    """A source for another thread that lets ``build`` run in the event loop, where nothing changes under its hands.

    A loop that does not come to it in time makes the scrape fail, which is what a scrape of a hung daemon should do.
    """

    async def in_loop() -> Snapshot:
        return build()

    def source() -> Snapshot:
        return asyncio.run_coroutine_threadsafe(in_loop(), loop).result(timeout_s)

    return source


class Pages:
    """What is answered to which path (PEP 3333)."""

    def __init__(self, source: SnapshotSource) -> None:
        """Nothing is asked of ``source`` yet.

        Args:
            source: called for each request that needs numbers.
        """
        registry = CollectorRegistry()
        registry.register(HomeAgentCollector(source))
        ProcessCollector(registry=registry)
        self._source = source
        self._metrics: Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]] = make_wsgi_app(registry)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _answer(
                start_response, "405 Method Not Allowed", "text/plain", b"only GET here\n", Allow="GET, HEAD"
            )
        try:
            return self._get(environ, start_response)
        except TimeoutError:
            said = b"the home agent is too busy to say how it is\n"
            return _answer(start_response, "503 Service Unavailable", "text/plain", said)

    def _get(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return self._metrics(environ, start_response)
            case "/":
                policy = {"Content-Security-Policy": content_security_policy()}
                return _answer(start_response, "200 OK", "text/html; charset=utf-8", page(), **policy)
            case "/status.json":
                document = status_document(self._source(), time.time())
                return _answer(start_response, "200 OK", "application/json", document)
        said = b"there are /, /status.json and /metrics here\n"
        return _answer(start_response, "404 Not Found", "text/plain", said)


def _answer(
    start_response: StartResponse, status: str, content_type: str, body: bytes, **headers: str
) -> Iterable[bytes]:
    fixed = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    start_response(status, [*fixed.items(), *headers.items()])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Ipv6Server(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _IDLE_S

    def log_message(self, *_: Any) -> None:
        """Say nothing: a scrape every few seconds is not worth a line."""


class MetricsServer:
    """Listens until it is closed.

    Attributes:
        port: the TCP port, the one chosen where any would do.
    """

    def __init__(self, host: str, port: int, source: SnapshotSource) -> None:
        """Takes the port; who asks before :meth:`start` has to wait.

        Args:
            host: numeric address to listen on.
            port: TCP port; 0 for any.
            source: called in a thread of the server at each scrape, see :func:`from_event_loop`.

        Raises:
            OSError: the address cannot be listened on.
        """
        server_class = _Ipv6Server if ":" in host else _Server
        self._server = make_server(host, port, Pages(source), server_class, _Handler)
        self._thread: Thread | None = None
        self.port: int = self._server.server_port

    def start(self) -> None:
        """Begins to answer."""
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops serving."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
