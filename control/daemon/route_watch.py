"""Lets the data path keep next hops, for as long as somebody is there to tell it of changes."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Sequence

from datapath.route_changes import (
    IPV6_ONLY,
    Message,
    RouteChanges,
    RouteMessage,
    depends_on_more_than_destination,
    dump_request,
    messages,
)
from datapath.route_control import RouteControl

_LOG = logging.getLogger(__name__)

_PERMISSION_S = 5.0
_RENEWAL_S = 1.0
_GENERATION_S = 10.0
"""The kernel does not tell when it learns the MTU of a path, so nothing is kept for longer."""
# Links, neighbours and next hop objects; of each family addresses, routes, forwarding settings and rules.
_GROUPS = (1, 3, 32)
_GROUPS_OF_FAMILY: dict[int, tuple[int, ...]] = {socket.AF_INET6: (9, 11, 25, 19), socket.AF_INET: (5, 7, 24, 8)}
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_RECEIVE_BUFFER = 1 << 20


class RouteWatch:
    """Follows the kernel's routes in this network namespace. Close it when the daemon stops.

    Args:
        control: what the data path looks at.
        loop: the event loop this is called from.
        families: address families that care-of addresses are of.
    """

    def __init__(
        self, control: RouteControl, loop: asyncio.AbstractEventLoop, families: Sequence[int] = IPV6_ONLY
    ) -> None:
        self._control = control
        self._loop = loop
        self._families = families
        self._changes = RouteChanges(families)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        for group in (*_GROUPS, *(group for family in families for group in _GROUPS_OF_FAMILY[family])):
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self._is_allowed = False
        self._renewals = 0
        self._check_policy()
        control.begin_generation()
        loop.add_reader(self._socket, self._drain)

    def close(self) -> None:
        """From here on the data path asks the kernel for every packet."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._control.forbid()
        self._control.close()

    async def run(self) -> None:
        """Renews the permission until cancelled."""
        while True:
            if self._is_allowed:
                self._control.permit(self._loop.time(), _PERMISSION_S)
            self._renewals += 1
            if self._renewals % round(_GENERATION_S / _RENEWAL_S) == 0:
                self._control.begin_generation()
            await asyncio.sleep(_RENEWAL_S)

    def _drain(self) -> None:
        received: list[Message] = []
        matters = False
        while True:
            try:
                received += messages(self._socket.recv(65536))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                matters = True  # something was lost
                self._check_policy()
        for message in received:  # all of them: each may be of a neighbour to remember
            matters |= self._changes.matters(message)
        if matters:
            self._control.begin_generation()
        if any(
            message.kind in (RouteMessage.NEW_RULE, RouteMessage.DELETE_RULE)
            or depends_on_more_than_destination(message, self._families)
            for message in received
        ):
            self._check_policy()

    def _check_policy(self) -> None:
        """What is kept is kept by destination: where more decides, nothing may be."""
        was_allowed = self._is_allowed
        self._is_allowed = not any(
            depends_on_more_than_destination(message, self._families)
            for kind in (RouteMessage.GET_RULE, RouteMessage.GET_ROUTE)
            for family in self._families
            for message in _dump(kind, family)
        )
        if not self._is_allowed:
            self._control.forbid()
        if was_allowed and not self._is_allowed:
            _LOG.warning("routes depend on more than the destination now: the data path looks up every packet's")


def _dump(kind: RouteMessage, family: int) -> list[Message]:
    found: list[Message] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.send(dump_request(kind, family))
        while True:
            for message in messages(asking.recv(1 << 20)):
                if message.kind <= RouteMessage.DONE:
                    return found
                found.append(message)
