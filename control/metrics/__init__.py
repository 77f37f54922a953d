"""What a home agent shows of itself over HTTP: /metrics for Prometheus, and a status page for people.

One snapshot of plain numbers goes in; :mod:`families` names them for Prometheus, :mod:`server` serves them and the
page. `homeagent status` shows the same snapshot.
"""

from __future__ import annotations

from control.metrics.families import HomeAgentCollector
from control.metrics.histogram import DurationHistogram, DurationSnapshot, Instruments
from control.metrics.server import MetricsServer, SnapshotSource, from_event_loop
from control.metrics.snapshot import (
    BootstrapSnapshot,
    KeyExchangeSnapshot,
    LeaseSnapshot,
    MapUsage,
    Snapshot,
    StoreSnapshot,
    TakeoverSample,
)

__all__ = [
    "BootstrapSnapshot",
    "DurationHistogram",
    "DurationSnapshot",
    "HomeAgentCollector",
    "Instruments",
    "KeyExchangeSnapshot",
    "LeaseSnapshot",
    "MapUsage",
    "MetricsServer",
    "Snapshot",
    "SnapshotSource",
    "StoreSnapshot",
    "TakeoverSample",
    "from_event_loop",
]
