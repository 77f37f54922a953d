"""What the daemon answers on its control socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Protocol

from control.cluster.store import LeaseLost, StoreError
from control.control_socket import Arguments, Command, CommandError, Reply, Row
from control.daemon.membership import Membership
from control.daemon.status import Status
from control.daemon.timeline import Timeline

_PROGRESS_EVERY_S = 0.25
# Rows between which the loop gets its turn: a listing of a hundred thousand bindings must not hold up packets.
_ROWS_AT_ONCE = 500


class Nodes(Protocol):
    """Holds, continues and ends the bringing back of nodes, and sends nodes away."""

    def pause(self) -> None:
        """Begin with no further node."""

    def resume(self) -> None:
        """Go on."""

    def cancel(self, identities: Sequence[str] | None) -> int:
        """Give these nodes up, or all. Returns how many there were."""

    def send_away(self, addresses: Sequence[IPv6Address], taken_from: str | None) -> int:
        """Have all nodes, or those taken over from an agent, register at one of ``addresses``. Returns how many."""


def commands(
    status: Status,
    membership: Membership,
    timeline: Timeline,
    nodes: Nodes,
    refresh: Callable[[], Awaitable[None]],
    hold_data_path: Callable[[], AbstractAsyncContextManager[None]],
    reload: Callable[..., Awaitable[Row]],
) -> Mapping[str, Command]:
    """The commands by name; ``refresh`` makes ``status`` know what IKE workers know."""
    handlers = _Handlers(status, membership, timeline, nodes, refresh, hold_data_path)

    async def answer_reload(arguments: Arguments, reply: Reply) -> Row:
        return await reload(remove_most=arguments.get("remove_most") is True)

    return {
        "status": handlers.status,
        "bindings": handlers.bindings,
        "sas": handlers.sas,
        "takeover": handlers.takeover,
        "rebootstrap": handlers.rebootstrap,
        "drain": handlers.drain,
        "handback": handlers.handback,
        "events": handlers.events,
        "reload": answer_reload,
        "hold-data-path": handlers.hold_data_path,
    }


@dataclass(frozen=True, slots=True)
class _Handlers:
    _status: Status
    _membership: Membership
    _timeline: Timeline
    _nodes: Nodes
    _refresh: Callable[[], Awaitable[None]]
    _hold_data_path: Callable[[], AbstractAsyncContextManager[None]]

    async def status(self, arguments: Arguments, reply: Reply) -> Row:
        """One object that says how the home agent is."""
        return self._status.status()

    async def hold_data_path(self, arguments: Arguments, reply: Reply) -> Row:
        """Neither changes bindings nor acknowledges any, from the one row on and until the client goes."""
        async with self._hold_data_path():
            await reply.row({"held": True})
            await asyncio.Event().wait()
        return {}

    async def bindings(self, arguments: Arguments, reply: Reply) -> Row:
        """A row for each binding."""
        return {"bindings": await _send_all(reply, self._status.bindings())}

    async def sas(self, arguments: Arguments, reply: Reply) -> Row:
        """A row for each IKE SA with its child SAs."""
        await self._refresh()
        return {"ike_sas": await _send_all(reply, self._status.security_associations())}

    async def takeover(self, arguments: Arguments, reply: Reply) -> Row:
        """Claim the nodes of a home agent; rows of progress until all of them are back or given up."""
        home_agent = arguments.get("home_agent")
        if not isinstance(home_agent, str) or not home_agent:
            raise CommandError("no home agent was named", "Name the one to take over from, as `status` lists it.")
        if home_agent == self._membership.name:
            raise CommandError(f"{home_agent} is this home agent itself", "Name another one, as `status` lists it.")
        try:
            queued = await self._membership.take_over_from(home_agent)
        except LeaseLost:
            raise CommandError(
                "this home agent has no lease itself", "Look at `homeagent status`; it is acquired again by itself."
            ) from None
        except StoreError as error:
            raise CommandError(f"the state store refuses ({error})", "Look at the daemon's log.") from None
        if not queued and home_agent not in self._status.known_home_agents():
            raise CommandError(
                f"the cluster knows no home agent {home_agent} with a lease or nodes",
                "Look at `homeagent status` for their names.",
            )
        while self._status.takeover_active():
            await reply.row(self._status.takeover())
            await asyncio.sleep(_PROGRESS_EVERY_S)
        return {"queued": queued, **self._status.takeover()}

    async def rebootstrap(self, arguments: Arguments, reply: Reply) -> Row:
        """Pause, resume or cancel the bringing back of nodes."""
        nodes = arguments.get("nodes") or []
        if not isinstance(nodes, list) or not all(isinstance(node, str) for node in nodes):
            raise CommandError("nodes is not a list of identities", "Name nodes by their identities, or none for all.")
        cancelled = 0
        match arguments.get("action"):
            case "pause":
                self._nodes.pause()
            case "resume":
                self._nodes.resume()
            case "cancel":
                cancelled = self._nodes.cancel(nodes or None)
            case _:
                raise CommandError("there is no such action", "Say pause, resume or cancel.")
        return {"cancelled": cancelled, **self._status.takeover()}

    async def drain(self, arguments: Arguments, reply: Reply) -> Row:
        """Send every node to the other home agents, or to one; rows of progress until all have left or stay silent."""
        return await self._send_away(arguments.get("to"), None, reply)

    async def handback(self, arguments: Arguments, reply: Reply) -> Row:
        """Send the nodes taken over from a home agent back to it; rows of progress."""
        home_agent = arguments.get("home_agent")
        return await self._send_away(home_agent, home_agent, reply)

    async def _send_away(self, to: object, taken_from: object, reply: Reply) -> Row:
        alive = {lease.home_agent: lease.address for lease in self._membership.others_alive()}
        if to is not None and to not in alive:
            raise CommandError(f"{to} is no living home agent of this cluster", "Look at `homeagent status`.")
        if not alive:
            raise CommandError("there is no other living home agent in this cluster", "Start one first.")
        addresses = [address for name, address in alive.items() if to in (None, name)]
        origin = None if taken_from is None else str(addresses[0])
        queued = self._nodes.send_away(addresses, origin)
        while self._status.departures()["waiting"]:
            await reply.row(self._status.departures())
            await asyncio.sleep(_PROGRESS_EVERY_S)
        return {"queued": queued, **self._status.departures()}

    async def events(self, arguments: Arguments, reply: Reply) -> Row:
        """The timeline: what is kept of it, then what comes, until the client leaves."""
        queue = self._timeline.follow()
        try:
            await _send_all(reply, self._timeline.recent() if arguments.get("recent", True) else [])
            while arguments.get("follow", True):
                await reply.row(await queue.get())
        finally:
            self._timeline.unfollow(queue)
        return {}


async def _send_all(reply: Reply, rows: list[Row]) -> int:
    for index, row in enumerate(rows, 1):
        await reply.row(row)
        if index % _ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return len(rows)
