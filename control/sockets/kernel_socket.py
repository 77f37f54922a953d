"""What the sockets of this package have in common."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module has no name for it


class KernelSocket:
    """A socket that an event loop waits for."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a socket that does not block."""
        self._socket = sock

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        """Around what follows opening it: options, filters, an address."""
        try:
            yield
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor, for the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def enlarge_receive_buffer(sock: socket.socket, size: int) -> None:
    """Ask for a receive buffer of ``size`` bytes, beyond the system's limit where our privileges allow it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
