"""The merged timeline: what ha2's daemon, the nodes' agents and the correspondent's probes report. Sans I/O."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Any

#: ha2's events that are shown, with what they say to a newcomer.
HOME_AGENT_EVENTS = {
    "lease-lapsed": "the lease of {home_agent} lapsed",
    "nodes-claimed": "takeover claimed under a fencing token: {nodes} nodes of {home_agent}",
    "ike-sa-init-sent": "IKE_SA_INIT sent to {care_of_address}",
    "ike-established": "IKE SA established, the home agent was {role}",
    "home-agent-switch-sent": "Home Agent Switch sent, B = 1, under ESP",
    "binding-update": "Binding Update from {care_of_address} stored and acknowledged",
    "recovered": "recovered",
    "first-packet": "first packet through XDP: {direction}",
    "attempt-failed": "attempt failed: {reason}",
    "given-up": "given up: {reason}",
    "takeover-finished": "takeover finished",
}
#: The nodes' events that are shown.
NODE_EVENTS = {
    "home-address-assigned": "takes the new home address {home_address}",
    "home-agent-switch": "obeys the Home Agent Switch to {home_agent}",
    "binding-update-sent": "Binding Update sent",
    "registered": "registered with {home_agent}",
    "registration-failed": "registration failed: {reason}",
    "binding-lost": "binding lost: {reason}",
    "first-tunnelled-packet": "first packet through the tunnel",
}
#: What a node's row in the table shows, by the event that brings it there.
_STATES = {
    "registered": "registered",
    "ike-sa-init-sent": "key exchange",
    "ike-established": "security associations",
    "home-agent-switch-sent": "switch sent",
    "binding-update": "binding registered",
    "recovered": "recovered",
    "given-up": "given up",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline; `time` in seconds since the epoch."""

    time: float
    where: str
    node: str | None
    event: str
    text: str


@dataclass(slots=True)
class NodeProgress:
    """What the demonstration knows of one node."""

    name: str
    home_address: str
    state: str = "starting"
    registered: bool = False
    recovered: bool = False
    given_up: str | None = None
    outage_s: float | None = None
    #: Kinds of events since the failure, with their number.
    events: dict[str, int] = field(default_factory=dict)


class Timeline:
    """Entries in the order of their times, and the progress of every node."""

    def __init__(self, home_addresses: dict[str, str], started_at: float) -> None:
        """`home_addresses` by node identity; `started_at` in seconds since the epoch."""
        self.started_at = started_at
        self.failed_at: float | None = None
        self.entries: list[Entry] = []
        self.nodes = {
            identity: NodeProgress(identity.partition("@")[0], address) for identity, address in home_addresses.items()
        }

    def note(self, time: float, where: str, event: str, text: str) -> Entry:
        """Something the demonstration itself did or saw."""
        return self._add(Entry(time, where, None, event, text))

    def home_agent_event(self, name: str, row: dict[str, Any]) -> Entry | None:
        """An event of a home agent's timeline; None if it is not one to show."""
        progress = self.nodes.get(str(row.get("node")))
        event = str(row["event"])
        if progress is not None:
            if self.failed_at is not None:
                progress.events[event] = progress.events.get(event, 0) + 1
            progress.state = _STATES.get(event, progress.state)
            progress.recovered = progress.recovered or event == "recovered"
            if event == "given-up":
                progress.given_up = str(row.get("reason"))
        return self._show(HOME_AGENT_EVENTS, name, progress, row)

    def node_event(self, row: dict[str, Any]) -> Entry | None:
        """An event of a mobile node's agent; None if it is not one to show."""
        progress = self.nodes.get(str(row.get("node")))
        if progress is None:
            return None
        if row["event"] == "registered":
            progress.registered = True
            if self.failed_at is None:
                progress.state = "registered"
        if row["event"] == "home-address-assigned":
            progress.home_address = str(row["home_address"])
        return self._show(NODE_EVENTS, progress.name, progress, row)

    def answered(self, identity: str, outage_s: float, time: float) -> Entry:
        """The correspondent reaches a node again."""
        progress = self.nodes[identity]
        progress.outage_s = outage_s
        text = f"ping of {progress.home_address} answered again after {outage_s:.3f} s"
        return self._add(Entry(time, "cn", progress.name, "answered", text))

    def failure(self, time: float, where: str, text: str) -> Entry:
        """The home agent fails: from now on outages count."""
        self.failed_at = time
        for progress in self.nodes.values():
            progress.state = "cut off"
        return self._add(Entry(time, where, None, "failure", text))

    @property
    def all_registered(self) -> bool:
        """Whether every node has registered at least once."""
        return all(node.registered for node in self.nodes.values())

    @property
    def all_recovered(self) -> bool:
        """Whether ha2 has every node's binding and the correspondent reaches every node."""
        return all(node.recovered and node.outage_s is not None for node in self.nodes.values())

    def _show(self, texts: dict[str, str], where: str, node: NodeProgress | None, row: dict[str, Any]) -> Entry | None:
        template = texts.get(str(row["event"]))
        if template is None:
            return None
        text = template.format_map(_Gaps(row))
        name = node.name if node is not None and node.name != where else None
        return self._add(Entry(float(row["time"]), where, name, str(row["event"]), text))

    def _add(self, entry: Entry) -> Entry:
        # Reports of different processes arrive up to a poll apart: their own times put them in order.
        insort(self.entries, entry, key=lambda earlier: earlier.time)
        return entry


class _Gaps(dict[str, Any]):
    """Details an event happens not to carry read as an ellipsis."""

    def __missing__(self, key: str) -> str:
        return "…"
