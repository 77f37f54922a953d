"""What a rehearsed failover varies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, get_args

from bench.lab.credentials import Authentication
from bench.lab.toml import Table

Policy = Literal["fixed", "aimd", "gradient", "unlimited"]
Store = Literal["sqlite", "redis"]

POLICIES: tuple[Policy, ...] = get_args(Policy)
STORES: tuple[Store, ...] = get_args(Store)

_HIGHEST_CONCURRENCY = 65_536
_HIGHEST_RATE_PER_S = 100_000.0


@dataclass(frozen=True, slots=True)
class FailoverOptions:
    """Parameters of one rehearsal.

    Attributes:
        mobile_nodes: simulated nodes, all registered with ha1 before it fails.
        policy: how the survivors bound what they do at once; `unlimited`: not at all.
        concurrency: nodes that a survivor brings back at the same time, at most.
        rate_per_s: nodes that a survivor begins with per second, at most.
        loss_percent: packets lost at random between access network and nodes, in each direction.
        rtt_ms: time that the way to the nodes and back takes.
        jitter_ms: further time, at most, there and back together.
        unreachable_percent: share of the nodes that vanish together with ha1.
        background_bu_rate_per_s: Binding Updates of other nodes, registered at ha2 before, during the recovery.
        traffic_pps: packets a second, each way, of a node that is registered at ha2 all the time.
        survivors: home agents beside ha1; more than one have home prefixes of their own.
        store: what the state store of the cluster is.
        authentication: shared keys or certificates (ECDSA P-256).
        new_home_address: ha2 has another home prefix, so the nodes are given new home addresses.
        workers: processes of ha2 that do IKEv2; 1: its daemon alone, 0: one for each core but the first.
        seed: of the loss, the nodes' timers and the choice of those that vanish.
        lease_s: how long ha1 may be silent before it is taken over; its heartbeat is a third of that.
        probe_rate_per_s: echo probes of the correspondent, all nodes together, at most.
        survivor_cpu_percent: of one core, for all survivors together from the failure on; 0: whatever they can have.
        give_up_after_s: when a survivor gives a node up.
        simulate: whether to let virtual time pass instead of starting processes.
        calibrate_file: JSON of a real run that a simulation takes its costs from; None: assumed ones.
        compare: whether to rehearse under every policy instead of one.
        json_file: where the result goes as JSON; None: nowhere.
        plot_file: where the result goes as a picture; None: nowhere.
        output: where the processes' logs go; None: nowhere.
    """

    mobile_nodes: int = 100
    policy: Policy = "aimd"
    concurrency: int = 1024
    rate_per_s: float = 1000.0
    loss_percent: float = 0.0
    rtt_ms: float = 0.0
    jitter_ms: float = 0.0
    unreachable_percent: float = 0.0
    background_bu_rate_per_s: float = 0.0
    traffic_pps: float = 0.0
    survivors: int = 1
    store: Store = "sqlite"
    authentication: Authentication = "cert"
    new_home_address: bool = False
    workers: int = 1
    seed: int = 1
    lease_s: float = 3.0
    probe_rate_per_s: float = 2000.0
    survivor_cpu_percent: float = 0.0
    give_up_after_s: float = 300.0
    simulate: bool = False
    calibrate_file: Path | None = None
    compare: bool = False
    json_file: Path | None = None
    plot_file: Path | None = None
    output: Path | None = None

    @property
    def bootstrap(self) -> Table:
        """The section `[bootstrap]` of the home agents."""
        limits: dict[str, int | float | str] = {
            "policy": self.policy,
            "concurrency": self.concurrency,
            "rate_per_s": self.rate_per_s,
        }
        if self.policy == "unlimited":
            limits = {
                "policy": "fixed",
                "concurrency": min(self.mobile_nodes, _HIGHEST_CONCURRENCY),
                "rate_per_s": _HIGHEST_RATE_PER_S,
                "reserve": 0.0,
            }
        return {**limits, "give_up_after_s": self.give_up_after_s}

    @property
    def unreachable(self) -> frozenset[int]:
        """The nodes that vanish, by number, counted from 1."""
        number = round(self.mobile_nodes * self.unreachable_percent / 100)
        return frozenset(Random(self.seed).sample(range(1, self.mobile_nodes + 1), number))
