"""What deserves an operator's attention, told from the numbers alone: the same as the alerts of deploy/prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from control.metrics.snapshot import Snapshot

Severity = Literal["critical", "warning", "notice"]

_FULL = 0.9
_QUEUE_FULL = 0.5
_HALF_OPEN_FULL = 0.8
_RENEW_BEFORE_S = 14 * 86_400


@dataclass(frozen=True, slots=True)
class Attention:
    """One thing that is not as it should be.

    Attributes:
        severity: "critical" if nodes are not served.
        what: a sentence.
        remedy: what to do about it, or where to look.
    """

    severity: Severity
    what: str
    remedy: str


def needs_attention(snapshot: Snapshot, wall: float) -> list[Attention]:
    """All there is to say, the gravest first.

    Args:
        snapshot: the numbers.
        wall: seconds since the epoch.
    """
    order = {"critical": 0, "warning": 1, "notice": 2}
    found = (*_cluster(snapshot, wall), *_datapath(snapshot), *_signalling(snapshot, wall), *_takeover(snapshot))
    return sorted(found, key=lambda each: order[each.severity])


def _cluster(snapshot: Snapshot, wall: float) -> Iterator[Attention]:
    if snapshot.state != "active":
        yield Attention(
            "critical",
            "This home agent holds no lease, so it acknowledges no registration.",
            "It asks for one again by itself; look at the state store and at homeagent events.",
        )
    store = snapshot.store
    if not store.up:
        yield Attention(
            "critical",
            "The state store does not answer.",
            "Nodes stay served, but nothing new is acknowledged: bring the store back; homeagent doctor looks at it.",
        )
    if store.queue > _QUEUE_FULL * store.queue_capacity > 0:
        yield Attention("warning", f"{store.queue} registrations wait for the state store.", "Is it slow, or its disk?")
    if refused := sum(store.refused_records.values()):
        yield Attention(
            "warning", f"{refused} records of the state store were not understood.", "Who else writes to it?"
        )
    for peer in snapshot.peers:
        if peer.expires_at < wall:
            yield Attention(
                "warning", f"The lease of {peer.home_agent} has lapsed.", "It has failed, or was stopped for long."
            )


def _datapath(snapshot: Snapshot) -> Iterator[Attention]:
    if not snapshot.datapath_up:
        yield Attention(
            "critical", "The data path is not loaded: nothing is tunnelled.", "Run homeagent datapath load."
        )
    for interface in snapshot.datapath_interfaces:
        mode = snapshot.datapath_mode.get(interface)
        if snapshot.datapath_up and mode is None:
            yield Attention("critical", f"{interface} has no XDP program.", "Run homeagent datapath load.")
        elif mode == "generic":
            yield Attention(
                "notice",
                f"XDP runs in generic mode on {interface}, which is slower.",
                "homeagent datapath show says why.",
            )
    for name, use in snapshot.maps.items():
        if use.capacity and use.entries > _FULL * use.capacity:
            yield Attention(
                "warning",
                f"The map {name} has room for {use.capacity - use.entries} more entries.",
                "Raise [datapath] max_bindings.",
            )
    if snapshot.datapath_packets.get("drop-forwarding-disabled"):
        yield Attention(
            "critical", "Packets were dropped because IPv6 forwarding is off.", "sysctl net.ipv6.conf.all.forwarding=1"
        )


def _signalling(snapshot: Snapshot, wall: float) -> Iterator[Attention]:
    ends = snapshot.certificate_expires_at
    if ends is not None and ends - wall < _RENEW_BEFORE_S:
        until = datetime.fromtimestamp(ends, UTC).isoformat(sep=" ", timespec="minutes")
        yield Attention(
            "critical" if ends < wall else "warning",
            f"The certificate of this home agent is valid until {until}.",
            "Have a new one issued, then `homeagent reload`: nodes refuse an expired one.",
        )
    ike = snapshot.key_exchange
    half_open = ike.sas.get("half-open", 0)
    if half_open > _HALF_OPEN_FULL * ike.half_open_limit > 0:
        yield Attention(
            "warning",
            f"{half_open} of {ike.half_open_limit} IKE SAs that strangers may leave half-open are taken.",
            "Somebody floods this home agent; cookies keep honest nodes served.",
        )
    if snapshot.exports_keys:
        yield Attention(
            "warning", "Session keys are written to files.", "For a laboratory only: remove [key_export] in service."
        )


def _takeover(snapshot: Snapshot) -> Iterator[Attention]:
    bootstrap = snapshot.bootstrap
    if bootstrap.paused:
        yield Attention("warning", "The bringing back of nodes is paused.", "homeagent rebootstrap resume goes on.")
    if bootstrap.given_up:
        yield Attention(
            "warning",
            f"{bootstrap.given_up} nodes of the latest takeover were given up.",
            "homeagent events names them; they can still come by themselves.",
        )
