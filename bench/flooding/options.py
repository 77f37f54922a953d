"""What a flood varies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.lab.credentials import Authentication


@dataclass(frozen=True, slots=True)
class FloodOptions:
    """Parameters of one run.

    Attributes:
        rate_per_s: forged IKE_SA_INIT requests a second.
        duration_s: how long the flood goes on, at least; it lasts until the last honest node is registered.
        mobile_nodes: honest nodes that register meanwhile, and as many in a run without a flood before.
        node_rate_per_s: honest nodes begun per second.
        authentication: of the honest nodes.
        json_file: where the result goes as JSON; None: nowhere.
    """

    rate_per_s: float = 20_000.0
    duration_s: float = 30.0
    mobile_nodes: int = 200
    node_rate_per_s: float = 10.0
    authentication: Authentication = "cert"
    json_file: Path | None = None
