"""TCP ports of the loopback for servers that have to be told theirs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_FIRST, _LAST = 20_000, 29_999
"""Below those that the kernel gives to whoever asks for any."""


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Ports that no other test takes meanwhile, in this process or another, and that nobody listens on."""
    with ExitStack() as held:
        ports: list[int] = []
        for port in range(_FIRST, _LAST + 1):
            if len(ports) == count:
                break
            claim = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            try:
                claim.bind(f"\0homeagent-test-port-{port}")  # gone with its process
            except OSError:
                continue
            if _is_free(port):
                ports.append(port)
        assert len(ports) == count
        yield ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was closed lately does no harm
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
