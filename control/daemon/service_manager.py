"""What systemd is told of the daemon (sd_notify(3)); nobody is told anything where something else started it."""

from __future__ import annotations

import os
import socket


class ServiceManager:
    """Tells the service manager when the daemon is ready and what it is doing."""

    def __init__(self, address: str | None = None) -> None:
        """Nothing is said yet.

        Args:
            address: path of the manager's datagram socket, an abstract one with a leading "@"; None for what
                NOTIFY_SOCKET in the environment says.
        """
        address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._last: str | None = None

    def ready(self, status: str) -> None:
        """The daemon serves: units ordered after it may start."""
        self._last = status
        self._send(f"READY=1\nSTATUS={status}")

    def waits(self, status: str, seconds: float) -> None:
        """It is not ready yet, for good reason, and has to be given this much more time."""
        self._send(f"STATUS={status}\nEXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def status(self, status: str) -> None:
        """What it is doing, one line for ``systemctl status``; said only when it changes."""
        if status != self._last:
            self._last = status
            self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """It was told to stop and does."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(message.encode(), self._address)
        except OSError:
            return  # a manager that does not listen must not stop the service
