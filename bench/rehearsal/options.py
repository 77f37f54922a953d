"""What a rehearsed failover varies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.lab.credentials import Authentication


@dataclass(frozen=True, slots=True)
class FailoverOptions:
    """Parameters of one rehearsal.

    Attributes:
        mobile_nodes: simulated nodes, all registered with ha1 before it fails.
        concurrency: nodes that ha2 brings back at the same time, at most.
        rate_per_s: nodes that ha2 begins with per second, at most.
        loss_percent: packets lost at random between access network and nodes, in each direction.
        authentication: shared keys or certificates (ECDSA P-256).
        new_home_address: ha2 has another home prefix, so the nodes are given new home addresses.
        workers: processes of ha2 that do IKEv2; 1: its daemon alone, 0: one for each core but the first.
        seed: of the loss and the nodes' timers.
        lease_s: how long ha1 may be silent before ha2 takes over; its heartbeat is a third of that.
        probe_rate_per_s: echo probes of the correspondent, all nodes together, at most.
        give_up_after_s: when ha2 gives a node up.
        json_file: where the result goes as JSON; None: nowhere.
        output: where the processes' logs go; None: nowhere.
    """

    mobile_nodes: int = 100
    concurrency: int = 64
    rate_per_s: float = 200.0
    loss_percent: float = 0.0
    authentication: Authentication = "cert"
    new_home_address: bool = False
    workers: int = 1
    seed: int = 1
    lease_s: float = 3.0
    probe_rate_per_s: float = 2000.0
    give_up_after_s: float = 300.0
    json_file: Path | None = None
    output: Path | None = None
