"""The UDP socket of IKEv2: non-blocking, drained in batches (RFC 7296 section 2: UDP port 500)."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address

from control.ikev2.address import IKE_PORT, Datagram, SocketAddress

_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
_LARGEST_DATAGRAM = 65_535
_BATCH = 256


class IkeSocket:
    """IKE datagrams in and out of one local address."""

    def __init__(self, address: IPv6Address, port: int = IKE_PORT) -> None:
        """Bind to ``address``.

        Raises:
            OSError: the address is not on this machine, or the port is taken.
        """
        self.local = SocketAddress(address, port)
        self.dropped = 0
        self._buffer = bytearray(_LARGEST_DATAGRAM)
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            enlarge_receive_buffer(self._socket, _RECEIVE_BUFFER_BYTES)
            self._socket.bind((str(address), port))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor, for the event loop."""
        return self._socket.fileno()

    def receive(self) -> Iterator[tuple[bytes, SocketAddress]]:
        """What has arrived, at most a batch of it, so that one flood does not starve everything else."""
        for _ in range(_BATCH):
            try:
                size, peer = self._socket.recvfrom_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # An ICMPv6 error of an earlier datagram: the retransmission timers deal with it.
                continue
            yield bytes(self._buffer[:size]), SocketAddress(_address(peer[0]), peer[1])

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """Send, counting in ``dropped`` what the kernel does not take: IKEv2 repeats what matters."""
        for datagram in datagrams:
            try:
                address = socket.inet_ntop(socket.AF_INET6, datagram.remote.address.packed)
                self._socket.sendto(datagram.data, (address, datagram.remote.port))
            except OSError:
                self.dropped += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _address(name: str) -> IPv6Address:
    """The address of a sender; several times faster than parsing in Python, which counts in a flood."""
    return IPv6Address(socket.inet_pton(socket.AF_INET6, name.partition("%")[0]))


def enlarge_receive_buffer(sock: socket.socket, size: int) -> None:
    """Ask for a receive buffer of ``size`` bytes, beyond the system's limit where our privileges allow it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module has no name for it
