"""Events as JSON lines, for whoever watches an agent or a simulation."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import TextIO

from control.mobile_node.events import (
    BindingLost,
    BindingUpdateSent,
    CareOfAddressChanged,
    Deregistered,
    FirstTunnelledPacket,
    HomeAddressAssigned,
    HomeAgentSwitched,
    IkeEstablished,
    IkeStarted,
    NameServersAssigned,
    NodeEvent,
    Registered,
    RegistrationFailed,
)

Row = dict[str, object]

_NAMES: dict[type[NodeEvent], str] = {
    IkeStarted: "ike-started",
    IkeEstablished: "ike-established",
    HomeAgentSwitched: "home-agent-switch",
    HomeAddressAssigned: "home-address-assigned",
    NameServersAssigned: "name-servers-assigned",
    CareOfAddressChanged: "care-of-address-changed",
    BindingUpdateSent: "binding-update-sent",
    Registered: "registered",
    Deregistered: "deregistered",
    RegistrationFailed: "registration-failed",
    BindingLost: "binding-lost",
    FirstTunnelledPacket: "first-tunnelled-packet",
}


def event_name(event: NodeEvent) -> str:
    """The slug of an event."""
    return _NAMES[type(event)]


def describe(event: NodeEvent) -> Row:
    """An event's name and facts, ready for JSON."""
    row: Row = {"event": event_name(event)}
    for field in type(event).__slots__:
        value = getattr(event, field)
        if field == "initiated_here":
            row["role"] = "initiator" if value else "responder"
        else:
            row[field] = _plain(value)
    return row


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, IPv6Address) else value


class EventLog:
    """Writes one JSON object a line, each with the time of day."""

    def __init__(self, path: Path | None, wall_clock: Callable[[], float]) -> None:
        """Open.

        Args:
            path: file to append to; None for standard output.
            wall_clock: seconds since the epoch.

        Raises:
            OSError: the file cannot be written.
        """
        self._file: TextIO = sys.stdout if path is None else path.open("a", encoding="utf-8")
        self._wall_clock = wall_clock

    def node_event(self, node: str, event: NodeEvent) -> None:
        """Write what happened to a node."""
        self.write({**describe(event), "node": node})

    def write(self, row: Row) -> None:
        """Write one line; it leaves with the next :meth:`flush`."""
        self._file.write(json.dumps({"time": round(self._wall_clock(), 6), **row}) + "\n")

    def flush(self) -> None:
        """Let readers see what was written; a reader that went away is none of our business."""
        try:
            self._file.flush()
        except BrokenPipeError:
            self._file = open("/dev/null", "w", encoding="utf-8")  # noqa: SIM115

    def close(self) -> None:
        """Write out and close; standard output stays open."""
        self.flush()
        if self._file is not sys.stdout:
            self._file.close()
