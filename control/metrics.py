"""Prometheus metrics: one snapshot of plain numbers in, the text of /metrics out.

The names follow Prometheus' conventions: one prefix, base units, ``_total`` for counters, points in time as timestamps,
entries beside capacity. No label takes a node, an address or an SPI as its value, so the cost of a scrape does not grow
with the bindings. `homeagent status` shows the same snapshot.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


class DurationHistogram:
    """Counts durations by upper bound."""

    def __init__(self, bounds_s: tuple[float, ...] = _BOUNDS_S) -> None:
        self._bounds = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum_s += seconds

    def snapshot(self) -> DurationSnapshot:
        """What was counted up to now."""
        return DurationSnapshot(self._bounds, tuple(self._counts), self._sum_s)


@dataclass(frozen=True, slots=True)
class DurationSnapshot:
    """A histogram at one moment.

    Attributes:
        bounds_s: upper bounds, ascending, in seconds.
        counts: durations above the bound before and up to this one; the last is for those above all bounds.
        sum_s: sum of all durations.
    """

    bounds_s: tuple[float, ...] = _BOUNDS_S
    counts: tuple[int, ...] = (0,) * (len(_BOUNDS_S) + 1)
    sum_s: float = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        total, buckets = 0, []
        for bound, count in zip((*self.bounds_s, float("inf")), self.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        return buckets


@dataclass(frozen=True, slots=True)
class MapUsage:
    """How full a BPF map is."""

    entries: int
    capacity: int


@dataclass(frozen=True, slots=True)
class LeaseSnapshot:
    """A home agent's lease.

    Attributes:
        home_agent: its name.
        address: its address, as text.
        token: fencing token.
        expires_at: seconds since the epoch.
    """

    home_agent: str
    address: str
    token: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class BootstrapSnapshot:
    """How far bringing nodes back is.

    Attributes:
        total: nodes of the takeovers since the last time that none were left.
        recovered, given_up, in_flight, waiting: where they are.
        peak_in_flight: most at the same time.
        limit: how many may be in flight at present.
        paused: whether an operator holds it.
        eta_s: seconds until none are left, as far as can be told.
        recovered_total, given_up_total: since the daemon started.
        failures: failed attempts by reason, since the daemon started.
    """

    total: int = 0
    recovered: int = 0
    given_up: int = 0
    in_flight: int = 0
    waiting: int = 0
    peak_in_flight: int = 0
    limit: int = 0
    paused: bool = False
    eta_s: float | None = None
    recovered_total: int = 0
    given_up_total: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a daemon counts, at one moment.

    Attributes:
        name, address, identity, version: who answers.
        state: "starting", "active", "fenced" (its lease was lost) or "stopping".
        authorised_nodes: nodes in the configuration.
        bindings: registrations in force.
        ike_sas: IKE SAs by state, "half-open" or "established".
        ike_workers: processes that do IKEv2 at present; 1: the daemon alone.
        ike_worker_restarts: how often one of them died and was started again.
        child_sas: pairs of ESP security associations.
        ipsec_back_end, ipsec_reason: who does ESP, "kernel" or "userspace", and why.
        datapath_up: whether the pinned programs and maps could be opened.
        datapath_mode: XDP mode in use by interface.
        datapath_packets: packets by reason code of the XDP programs.
        maps: entries and capacity of BPF maps by name.
        lease: this home agent's own, None while it has none.
        peers: the leases of the others.
        takeovers: home agents taken over since the daemon started.
        bootstrap: progress of bringing nodes back.
        ike: the IKE engine's statistics by slug.
        esp: ESP packets by result.
        associations: child SAs that could not be installed and packets whose owner is unknown, by reason.
        sockets: what the sockets count, by event.
        mobility: Mobility Header messages by (direction, type, status).
        mobility_errors: refused Mobility Header messages by reason.
        store_failures: what could not be written to the state store, by reason.
        handshake: from IKE_SA_INIT to the security associations for the Mobility Header.
    """

    name: str
    address: str
    identity: str
    version: str
    state: str
    authorised_nodes: int = 0
    bindings: int = 0
    ike_sas: Mapping[str, int] = field(default_factory=dict)
    ike_workers: int = 1
    ike_worker_restarts: int = 0
    child_sas: int = 0
    ipsec_back_end: str = "userspace"
    ipsec_reason: str = ""
    datapath_up: bool = False
    datapath_mode: Mapping[str, str] = field(default_factory=dict)
    datapath_packets: Mapping[str, int] = field(default_factory=dict)
    maps: Mapping[str, MapUsage] = field(default_factory=dict)
    lease: LeaseSnapshot | None = None
    peers: tuple[LeaseSnapshot, ...] = ()
    takeovers: int = 0
    bootstrap: BootstrapSnapshot = BootstrapSnapshot()
    ike: Mapping[str, int] = field(default_factory=dict)
    esp: Mapping[str, int] = field(default_factory=dict)
    associations: Mapping[str, int] = field(default_factory=dict)
    sockets: Mapping[str, int] = field(default_factory=dict)
    mobility: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    mobility_errors: Mapping[str, int] = field(default_factory=dict)
    store_failures: Mapping[str, int] = field(default_factory=dict)
    handshake: DurationSnapshot = DurationSnapshot()

    def to_status(self) -> dict[str, Any]:
        """What ``homeagent status`` shows, ready for JSON."""
        bootstrap = self.bootstrap
        return {
            "home_agent": {"name": self.name, "address": self.address, "identity": self.identity},
            "version": self.version,
            "state": self.state,
            "lease": _lease(self.lease) if self.lease else None,
            "peers": [_lease(peer) for peer in self.peers],
            "nodes": self.authorised_nodes,
            "bindings": self.bindings,
            "ike_sas": dict(self.ike_sas),
            "ike_workers": {"running": self.ike_workers, "restarts": self.ike_worker_restarts},
            "child_sas": self.child_sas,
            "ipsec": {"back_end": self.ipsec_back_end, "reason": self.ipsec_reason},
            "takeovers": self.takeovers,
            "bootstrap": {
                "total": bootstrap.total,
                "recovered": bootstrap.recovered,
                "given_up": bootstrap.given_up,
                "in_flight": bootstrap.in_flight,
                "waiting": bootstrap.waiting,
                "peak_in_flight": bootstrap.peak_in_flight,
                "limit": bootstrap.limit,
                "paused": bootstrap.paused,
                "eta_s": bootstrap.eta_s,
            },
            "datapath": {
                "up": self.datapath_up,
                "mode": dict(self.datapath_mode),
                "packets": {reason: count for reason, count in self.datapath_packets.items() if count},
                "maps": {name: {"entries": use.entries, "capacity": use.capacity} for name, use in self.maps.items()},
            },
        }


def _lease(lease: LeaseSnapshot) -> dict[str, Any]:
    return {
        "home_agent": lease.home_agent,
        "address": lease.address,
        "token": lease.token,
        "expires_at": lease.expires_at,
    }


SnapshotSource = Callable[[], Snapshot]


class HomeAgentCollector(Collector):
    """Turns a snapshot into Prometheus' metric families at each scrape."""

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        snapshot = self._source()
        yield from _about(snapshot)
        yield from _datapath(snapshot)
        yield from _cluster(snapshot)
        yield from _bootstrap(snapshot.bootstrap)
        yield from _protocols(snapshot)

    def describe(self) -> Iterator[Metric]:
        """None: asking for names at registration would take a snapshot before there is anything to see."""
        yield from ()


def _about(snapshot: Snapshot) -> Iterator[Metric]:
    who = {(snapshot.name, snapshot.address, snapshot.version): 1}
    yield _gauge("info", "The home agent that answers; always 1.", who, ("name", "address", "version"))
    active = {(): int(snapshot.state == "active")}
    yield _gauge("active", "Whether it serves mobile nodes: 0 while it starts, stops or has lost its lease.", active)
    yield _gauge("authorised_nodes", "Mobile nodes in the configuration.", {(): snapshot.authorised_nodes})
    yield _gauge("bindings", "Registrations in force.", {(): snapshot.bindings})
    yield _gauge("ike_sas", "IKE security associations by state.", _by(snapshot.ike_sas), ("state",))
    yield _gauge("ike_workers", "Processes that do IKEv2.", {(): snapshot.ike_workers})
    yield _counter("ike_worker_restarts", "Workers that died and were replaced.", {(): snapshot.ike_worker_restarts})
    yield _gauge("child_sas", "Pairs of ESP security associations.", {(): snapshot.child_sas})


def _datapath(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("datapath_up", "Whether the XDP programs and maps are loaded.", {(): int(snapshot.datapath_up)})
    modes = dict.fromkeys(snapshot.datapath_mode.items(), 1)
    yield _gauge("datapath_xdp_mode_info", "XDP mode in use by interface.", modes, ("interface", "mode"))
    packets = _by(snapshot.datapath_packets)
    yield _counter("datapath_packets", "Packets the XDP programs saw, by what became of them.", packets, ("reason",))
    entries = {(name,): use.entries for name, use in snapshot.maps.items()}
    capacity = {(name,): use.capacity for name, use in snapshot.maps.items()}
    yield _gauge("datapath_map_entries", "Entries in a BPF map.", entries, ("map",))
    yield _gauge("datapath_map_capacity", "Entries a BPF map has room for.", capacity, ("map",))


def _cluster(snapshot: Snapshot) -> Iterator[Metric]:
    if snapshot.lease is not None:
        expiry = {(): snapshot.lease.expires_at}
        yield _gauge("lease_expiry_timestamp_seconds", "When this home agent's lease ends unless renewed.", expiry)
        yield _gauge("lease_token", "Fencing token of this home agent's lease.", {(): snapshot.lease.token})
    peers = {(peer.home_agent,): peer.expires_at for peer in snapshot.peers}
    yield _gauge("peer_lease_expiry_timestamp_seconds", "When a peer's lease ends or ended.", peers, ("home_agent",))
    yield _counter("takeovers", "Home agents taken over.", {(): snapshot.takeovers})
    failures = _by(snapshot.store_failures)
    yield _counter("store_failures", "Writes that the state store did not take.", failures, ("reason",))


def _bootstrap(bootstrap: BootstrapSnapshot) -> Iterator[Metric]:
    nodes = {("waiting",): bootstrap.waiting, ("in-flight",): bootstrap.in_flight}
    yield _gauge("bootstrap_nodes", "Nodes of failed home agents that are not back yet.", nodes, ("state",))
    limit = "Nodes that may be brought back at the same time, at present."
    yield _gauge("bootstrap_concurrency_limit", limit, {(): bootstrap.limit})
    yield _gauge("bootstrap_paused", "Whether an operator holds the bringing back of nodes.", {(): bootstrap.paused})
    yield _counter("bootstrap_recovered", "Nodes brought back.", {(): bootstrap.recovered_total})
    yield _counter("bootstrap_given_up", "Nodes given up.", {(): bootstrap.given_up_total})
    yield _counter("bootstrap_failures", "Failed attempts by reason.", _by(bootstrap.failures), ("reason",))


def _protocols(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter("ike_events", "What the IKE engine counts, by event.", _by(snapshot.ike), ("event",))
    yield _counter("esp_packets", "ESP packets by result.", _by(snapshot.esp), ("result",))
    associations = "Child SAs that could not be put to work, and packets under security associations of nobody."
    yield _counter("association_errors", associations, _by(snapshot.associations), ("reason",))
    sockets = "What the sockets count: keepalives, malformed packets, packets that could not be sent."
    yield _counter("socket_events", sockets, _by(snapshot.sockets), ("event",))
    labels = ("direction", "type", "status")
    yield _counter("mobility_messages", "Mobility Header messages.", snapshot.mobility, labels)
    errors = _by(snapshot.mobility_errors)
    yield _counter("mobility_errors", "Mobility Header messages refused, by reason.", errors, ("reason",))
    handshake = HistogramMetricFamily(
        "homeagent_handshake_seconds",
        "Time from IKE_SA_INIT to the security associations for the Mobility Header, towards nodes brought back.",
    )
    handshake.add_metric([], snapshot.handshake.buckets(), snapshot.handshake.sum_s)
    yield handshake


def _by(counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(key,): count for key, count in counts.items()}


def _gauge(name: str, about: str, values: Mapping[Any, float], labels: tuple[str, ...] = ()) -> Metric:
    return _filled(GaugeMetricFamily(f"homeagent_{name}", about, labels=labels), values)


def _counter(name: str, about: str, values: Mapping[Any, float], labels: tuple[str, ...] = ()) -> Metric:
    return _filled(CounterMetricFamily(f"homeagent_{name}", about, labels=labels), values)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[Any, float]
) -> GaugeMetricFamily | CounterMetricFamily:
    for labels, value in values.items():
        family.add_metric([str(label) for label in labels], value)
    return family


def from_event_loop(
    loop: asyncio.AbstractEventLoop, build: Callable[[], Snapshot], timeout_s: float = 5.0
) -> SnapshotSource:
    """A source for another thread that lets ``build`` run in the event loop, where nothing changes under its hands.

    A loop that does not come to it in time makes the scrape fail, which is what a scrape of a hung daemon should do.
    """

    async def in_loop() -> Snapshot:
        return build()

    def source() -> Snapshot:
        return asyncio.run_coroutine_threadsafe(in_loop(), loop).result(timeout_s)

    return source


class MetricsServer:
    """Serves /metrics from a thread of its own."""

    def __init__(self, host: str, port: int, source: SnapshotSource) -> None:
        """Begins to serve.

        Args:
            host: numeric address to listen on.
            port: TCP port; 0 for any.
            source: called in the server's thread at each scrape, see :func:`from_event_loop`.

        Raises:
            OSError: the address cannot be listened on.
        """
        registry = CollectorRegistry()
        registry.register(HomeAgentCollector(source))
        ProcessCollector(registry=registry)
        self._server, self._thread = start_http_server(port, host, registry)
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
