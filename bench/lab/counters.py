"""Reading the XDP counters out of what `homeagent datapath show --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def read_counters(shown: Mapping[str, Any]) -> dict[str, int]:
    """Packets by reason, e.g. {"forward-encapsulated": 12}; reasons that never occurred may be missing."""
    return {str(name).lower().replace("_", "-"): int(value) for name, value in shown["counters"].items()}


def counter_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, int]:
    """What was counted between two snapshots, by reason."""
    earlier = read_counters(before)
    return {name: value - earlier.get(name, 0) for name, value in read_counters(after).items()}
