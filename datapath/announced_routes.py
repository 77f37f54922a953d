"""Kernel routes to what this home agent serves, in a table of their own, for a routing daemon to announce.

Nothing is forwarded by them, as no rule leads to that table: the XDP program knows where packets go. BIRD learns from
such a table (``kernel table``, ``learn``), and FRR from the main one (``redistribute kernel``).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network

from datapath.errors import DatapathError
from datapath.xfrm.attributes import attribute, attributes
from datapath.xfrm.messages import message, messages

PROTOCOL = 109
"""Who made a route, as `ip -6 route show proto 109` asks: nobody else's routes are ever touched."""

_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 24, 25, 26
_REQUEST, _ACKNOWLEDGE, _REPLACE, _CREATE, _DUMP = 0x1, 0x4, 0x100, 0x400, 0x300
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _CAP_ACK, _STRICT_CHECK = 270, 10, 12
_ROUTE = struct.Struct("=BBBBBBBBI")
"""Family, prefix lengths of destination and source, type of service, table, protocol, scope, type, flags."""
_DESTINATION, _TABLE = 1, 15
_MAIN_TABLE = 254
_UNREACHABLE = 7
_AT_ONCE = 256
_RECEIVE_BUFFER = 1 << 20


class RouteRefused(DatapathError):
    """The kernel does not take a route, or does not let one go."""

    reason = "route-refused"


class AnnouncedRoutes:
    """The routes of one table. Whoever stops leaves them there, as the data path goes on, too."""

    def __init__(self, table: int = 110) -> None:
        """Opens a socket in this thread's network namespace.

        Args:
            table: number of the routing table.
        """
        self._table = table
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)

    def close(self) -> None:
        """Closes the socket; the routes stay."""
        self._socket.close()

    def add(self, networks: Iterable[IPv6Network]) -> None:
        """Has routes to these, whether there were any or not.

        Raises:
            RouteRefused: the kernel does not take one; those before it are there.
        """
        self._change(_NEW_ROUTE, _CREATE | _REPLACE, networks, passed_over=0)

    def remove(self, networks: Iterable[IPv6Network]) -> None:
        """Has no routes to these.

        Raises:
            RouteRefused: the kernel does not let one go.
        """
        self._change(_DELETE_ROUTE, 0, networks, passed_over=errno.ESRCH)

    def reconcile(self, expected: Iterable[IPv6Network]) -> None:
        """Has routes to exactly these; only differences are written.

        Raises:
            RouteRefused: the kernel refuses.
        """
        wanted, present = set(expected), set(self.present())
        self.remove(present - wanted)
        self.add(wanted - present)

    def present(self) -> list[IPv6Network]:
        """Where there are routes to.

        Raises:
            RouteRefused: the kernel does not tell.
        """
        found: list[IPv6Network] = []
        self._send(_GET_ROUTE, _DUMP, self._body(IPv6Network("::/0"), kind=0))
        while True:
            for kind, _, _, body in messages(self._socket.recv(1 << 18)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise _refusal(-int.from_bytes(body[:4], "little", signed=True), "tell of routes")
                found += self._own(body)

    def _own(self, body: bytes) -> Iterator[IPv6Network]:
        _, length, _, _, _, protocol, *_ = _ROUTE.unpack_from(body)
        found = dict(attributes(body[_ROUTE.size :]))
        # The kernel filters by both, but did not always.
        if protocol == PROTOCOL and found.get(_TABLE) == struct.pack("=I", self._table):
            yield IPv6Network((found.get(_DESTINATION, bytes(16)), length))

    def _change(self, kind: int, flags: int, networks: Iterable[IPv6Network], passed_over: int) -> None:
        waiting = list(networks)
        while waiting:
            batch, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            for network in batch:
                self._send(kind, _ACKNOWLEDGE | flags, self._body(network))
            answers = 0
            while answers < len(batch):
                for _, _, _, body in messages(self._socket.recv(1 << 16)):
                    code = -int.from_bytes(body[:4], "little", signed=True)
                    if code not in (0, passed_over):
                        self._drain(len(batch) - answers - 1)
                        raise _refusal(code, f"change the route to {batch[answers]}")
                    answers += 1

    def _drain(self, answers: int) -> None:
        """Read what else was answered, so that the next request finds its own answers."""
        self._socket.setblocking(False)
        try:
            while answers > 0:
                answers -= sum(1 for _ in messages(self._socket.recv(1 << 16)))
        except BlockingIOError:
            return
        finally:
            self._socket.setblocking(True)

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(message(kind, _REQUEST | flags, self._sequence, body))

    def _body(self, network: IPv6Network, kind: int = _UNREACHABLE) -> bytes:
        table = self._table if self._table < 256 else 0
        fixed = _ROUTE.pack(socket.AF_INET6, network.prefixlen, 0, 0, table, PROTOCOL, 0, kind, 0)
        own_table = attribute(_TABLE, struct.pack("=I", self._table))
        if not kind:
            return fixed + own_table
        return fixed + attribute(_DESTINATION, network.network_address.packed) + own_table


def is_announcement(route: bytes) -> bool:
    """Whether the body of an rtnetlink message of a route is about a route made here, by which nothing is forwarded."""
    if len(route) < _ROUTE.size:
        return False
    _, _, _, _, table, protocol, *_ = _ROUTE.unpack_from(route)
    return bool(protocol == PROTOCOL and table != _MAIN_TABLE)


def _refusal(code: int, what: str) -> RouteRefused:
    remedy = "run as root, or with CAP_NET_ADMIN" if code == errno.EPERM else "see `ip -6 route show table all`"
    return RouteRefused(f"The kernel does not {what} ({os.strerror(code)}): {remedy}.")
