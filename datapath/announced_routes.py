"""Kernel routes to what this home agent serves, in a table of their own, for a routing daemon to announce.

Nothing is forwarded by them, as no rule leads to that table: the XDP program knows where packets go. BIRD learns from
such a table (``kernel table``, ``learn``), and FRR from the main one (``redistribute kernel``).

Routes with a lifetime are dropped by the kernel itself when nobody prolongs them any more. Those of type unreachable
cannot have one (``ip6_route_info_create`` forgets it), so all go by one nexthop object, a blackhole.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import struct
from collections.abc import Collection, Container, Iterable, Iterator
from ipaddress import IPv6Network

from datapath.errors import DatapathError
from datapath.xfrm.attributes import attribute, attributes
from datapath.xfrm.messages import message, messages

PROTOCOL = 109
"""Who made a route, as `ip -6 route show proto 109` asks: nobody else's routes are ever touched."""
NEXT_HOP = 0x6D69_7036
"""Number of the nexthop object: "mip6"."""
KEEPING_S = 1.0
"""Time between calls of :meth:`AnnouncedRoutes.keep`."""

_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE, _NEW_NEXT_HOP = 24, 25, 26, 104
_REQUEST, _ACKNOWLEDGE, _REPLACE, _EXCLUSIVE, _CREATE, _DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x300
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _CAP_ACK, _STRICT_CHECK = 270, 10, 12
_ROUTE = struct.Struct("=BBBBBBBBI")
"""Family, prefix lengths of destination and source, type of service, table, protocol, scope, type, flags."""
_NEXT_HOP_HEADER = struct.Struct("=BBBBI")
"""Family, scope, protocol, reserved, flags."""
_NUMBER = struct.Struct("=I")
_CACHE_INFORMATION = struct.Struct("=IIiIIII")
"""References, last use, time until it expires, error, and identity: ``struct rta_cacheinfo``."""
_DESTINATION, _CACHE, _TABLE, _EXPIRES, _NEXT_HOP_NUMBER = 1, 12, 15, 23, 30
_NUMBER_OF_NEXT_HOP, _BLACKHOLE = 1, 4
_MAIN_TABLE = 254
_UNICAST = 1
_AT_ONCE = 128
_RECEIVE_BUFFER = 1 << 20
_KEPT_AT_ONCE = 1_000
"""Some 8 ms of work."""
_REMEDIES = {errno.EPERM: "run as root, or with CAP_NET_ADMIN", errno.ENETDOWN: "ip link set lo up"}
_ROUNDS_OF_LIFETIME = 3
"""How often a route is prolonged before it would expire."""


class RouteRefused(DatapathError):
    """The kernel does not take a route, or does not let one go."""

    reason = "route-refused"


class AnnouncedRoutes:
    """The routes of one table. Whoever stops leaves them there, as the data path goes on, too."""

    def __init__(self, table: int = 110, lifetime_s: int = 0) -> None:
        """Opens a socket in this thread's network namespace.

        Args:
            table: number of the routing table.
            lifetime_s: how long routes last that are not kept, until :meth:`keep` says otherwise; 0: for ever.

        Raises:
            RouteRefused: the kernel does not take the nexthop object.
        """
        self._table = table
        self._shortest_lifetime_s = lifetime_s
        self._expire = lifetime_s > 0
        self._routes: dict[IPv6Network, bool] = {}
        """Whether each expires."""
        self._round: list[IPv6Network] = []
        self._sequence = 0
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)
        try:
            self._make_next_hop()
        except RouteRefused:
            self._socket.close()
            raise

    def close(self) -> None:
        """Closes the socket; the routes stay, for as long as they last."""
        self._socket.close()

    @property
    def lifetime_s(self) -> int:
        """How long routes last that are not kept; longer where there are more than can be kept so often."""
        round_s = math.ceil(len(self._routes) / _KEPT_AT_ONCE) * KEEPING_S
        return max(self._shortest_lifetime_s, math.ceil(_ROUNDS_OF_LIFETIME * round_s))

    def add(self, networks: Iterable[IPv6Network]) -> None:
        """Has routes to these, whether there were any or not; those that are right are not announced anew.

        Raises:
            RouteRefused: the kernel does not take one; others may be there.
        """
        networks = set(networks)
        right = {each for each in networks if self._routes.get(each) is self._expire}
        self._prolong(right)
        self._make(networks - right, _CREATE | _REPLACE)
        self._routes.update(dict.fromkeys(networks, self._expire))

    def remove(self, networks: Iterable[IPv6Network]) -> None:
        """Has no routes to these.

        Raises:
            RouteRefused: the kernel does not let one go.
        """
        networks = list(networks)
        self._change(_DELETE_ROUTE, 0, [(each, self._body(each)) for each in networks], (errno.ESRCH,))
        for each in networks:
            self._routes.pop(each, None)

    def reconcile(self, expected: Iterable[IPv6Network]) -> None:
        """Has routes to exactly these; only differences are written, and what would expire is prolonged.

        Raises:
            RouteRefused: the kernel refuses.
        """
        wanted, present = set(expected), self._present()
        self.remove(present.keys() - wanted)
        self._routes = {each: expires for each in wanted if (expires := present.get(each)) is not None}
        self._prolong([each for each, expires in self._routes.items() if expires])
        self.add(wanted - self._routes.keys())

    def keep(self, *, expire: bool | None) -> None:
        """Has some of the routes last for another lifetime, or for ever; to be called every KEEPING_S seconds.

        Args:
            expire: whether routes are to vanish when this is not called any more; None: those that would now.

        Raises:
            RouteRefused: the kernel does not take one.
        """
        if expire is not None:
            self._expire = expire and self._shortest_lifetime_s > 0
        if not self._round:
            self._round = list(self._routes)
        count = math.ceil(len(self._routes) * _ROUNDS_OF_LIFETIME * KEEPING_S / max(1, self.lifetime_s))
        turn, self._round = self._round[-count:], self._round[:-count]
        turn = [each for each in turn if each in self._routes]
        changed = [] if expire is None else [each for each in turn if self._routes[each] is not self._expire]
        if self._expire and turn:
            self._make_next_hop()  # without it, there would be no routes any more
            self._prolong([each for each in turn if self._routes[each]])
        if changed:
            self.add(changed)

    def present(self) -> list[IPv6Network]:
        """Where there are routes to.

        Raises:
            RouteRefused: the kernel does not tell.
        """
        return list(self._present())

    def _present(self) -> dict[IPv6Network, bool | None]:
        """Whether each route expires; None of one that cannot, as earlier versions made them."""
        found: dict[IPv6Network, bool | None] = {}
        header = _ROUTE.pack(socket.AF_INET6, 0, 0, 0, self._short_table, PROTOCOL, 0, 0, 0)
        self._send([(_GET_ROUTE, _DUMP, header + attribute(_TABLE, _NUMBER.pack(self._table)))])
        while True:
            for kind, _, _, body in messages(self._socket.recv(1 << 18)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise _refusal(_code(body), "tell of routes")
                found.update(self._own(body))

    def _own(self, body: bytes) -> Iterator[tuple[IPv6Network, bool | None]]:
        _, length, _, _, _, protocol, *_ = _ROUTE.unpack_from(body)
        found = dict(attributes(body[_ROUTE.size :]))
        # The kernel filters by both, but did not always.
        if protocol == PROTOCOL and found.get(_TABLE) == _NUMBER.pack(self._table):
            expires: bool | None = None
            if found.get(_NEXT_HOP_NUMBER) == _NUMBER.pack(NEXT_HOP):
                expires = _CACHE in found and _CACHE_INFORMATION.unpack_from(found[_CACHE])[2] != 0
            yield IPv6Network((found.get(_DESTINATION, bytes(16)), length)), expires

    def _prolong(self, networks: Collection[IPv6Network]) -> None:
        """Nobody is told of a route that is there already and gets another lifetime."""
        self._make(networks, _CREATE, passed_over=(errno.EEXIST,))

    def _make(self, networks: Iterable[IPv6Network], flags: int, passed_over: Container[int] = ()) -> None:
        ending = attribute(_NEXT_HOP_NUMBER, _NUMBER.pack(NEXT_HOP))
        if self._expire:
            ending += attribute(_EXPIRES, _NUMBER.pack(self.lifetime_s))
        self._change(_NEW_ROUTE, flags, [(each, self._body(each) + ending) for each in networks], passed_over)

    def _make_next_hop(self) -> None:
        header = _NEXT_HOP_HEADER.pack(socket.AF_INET6, 0, PROTOCOL, 0, 0)
        body = header + attribute(_NUMBER_OF_NEXT_HOP, _NUMBER.pack(NEXT_HOP)) + attribute(_BLACKHOLE, b"")
        self._change(_NEW_NEXT_HOP, _CREATE | _EXCLUSIVE, [("them", body)], (errno.EEXIST,))

    def _change(self, kind: int, flags: int, changes: list[tuple[object, bytes]], passed_over: Container[int]) -> None:
        """One request for each body, beside which stands what its route leads to."""
        for begin in range(0, len(changes), _AT_ONCE):
            batch = changes[begin : begin + _AT_ONCE]
            self._send([(kind, _ACKNOWLEDGE | flags, body) for _, body in batch])
            codes: list[int] = []
            while len(codes) < len(batch):
                codes += (_code(body) for _, _, _, body in messages(self._socket.recv(1 << 16)))
            for (destination, _), code in zip(batch, codes, strict=True):
                if code and code not in passed_over:
                    raise _refusal(code, f"change the route to {destination}")

    def _send(self, requests: Iterable[tuple[int, int, bytes]]) -> None:
        together = b""
        for kind, flags, body in requests:
            self._sequence += 1
            together += message(kind, _REQUEST | flags, self._sequence, body)
        self._socket.send(together)

    def _body(self, network: IPv6Network) -> bytes:
        fixed = _ROUTE.pack(socket.AF_INET6, network.prefixlen, 0, 0, self._short_table, PROTOCOL, 0, _UNICAST, 0)
        own_table = attribute(_TABLE, _NUMBER.pack(self._table))
        return fixed + attribute(_DESTINATION, network.network_address.packed) + own_table

    @property
    def _short_table(self) -> int:
        return self._table if self._table < 256 else 0


def is_announcement(route: bytes) -> bool:
    """Whether the body of an rtnetlink message of a route is about a route made here, by which nothing is forwarded."""
    if len(route) < _ROUTE.size:
        return False
    _, _, _, _, table, protocol, *_ = _ROUTE.unpack_from(route)
    return bool(protocol == PROTOCOL and table != _MAIN_TABLE)


def _code(body: bytes) -> int:
    return -int.from_bytes(body[:4], "little", signed=True)


def _refusal(code: int, what: str) -> RouteRefused:
    remedy = _REMEDIES.get(code, "see `ip -6 route show table all` and `ip nexthop`")
    return RouteRefused(f"The kernel does not {what} ({os.strerror(code)}): {remedy}.")
