"""Prometheus' metric families from a snapshot.

The names follow Prometheus' conventions: one prefix, base units, ``_total`` for counters, points in time as timestamps,
entries beside capacity. No label takes a node, an address or an SPI as its value, so the cost of a scrape does not grow
with the bindings. Counters that alerts and dashboards ask for are there from the start, at zero: the first event would
otherwise be no increase of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from control.metrics.snapshot import BootstrapSnapshot, KeyExchangeSnapshot, Snapshot, StoreSnapshot

_IKE_EVENTS = (
    "received-ike-sa-init-request",
    "established",
    "retransmissions",
    "requests-unanswered",
    "responses-repeated",
    "cookies-sent",
    "cookies-accepted",
    "cookies-refused",
    "dropped-half-open-limit",
    "half-open-expired",
    "ike-rekeyed",
    "child-rekeyed",
    "redirects-sent",
    "peer-address-changes",
)
_STORE_FAILURES = ("store", "no-lease", "fenced-out", "queue-full", "data-path", "no-room")
_RECORD_KINDS = ("binding", "node", "lease")
_DURATIONS = {
    "handshake": "Time from IKE_SA_INIT to security associations for the Mobility Header, towards nodes brought back.",
    "bootstrap": "Time from the queueing of a node that needs this home agent to its acknowledged registration.",
    "binding_update": "Time from the arrival of a Binding Update to its acknowledgement, state store included.",
    "event_loop_lag": "How late the event loop comes to a timer that is due twenty times a second.",
    "store_operation": "Time the state store takes for an operation, without waiting for its turn.",
}


class HomeAgentCollector(Collector):
    """Turns a snapshot into Prometheus' metric families at each scrape."""

    def __init__(self, source: Callable[[], Snapshot]) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """The metrics of this moment."""
        snapshot = self._source()
        yield from _about(snapshot)
        yield from _datapath(snapshot)
        yield from _cluster(snapshot)
        yield from _store(snapshot.store)
        yield from _bootstrap(snapshot.bootstrap)
        yield from _key_exchange(snapshot.key_exchange)
        yield from _signalling(snapshot)
        for name, about in _DURATIONS.items():
            duration = snapshot.durations[name]
            family = HistogramMetricFamily(f"homeagent_{name}_seconds", about)
            family.add_metric([], duration.buckets(), duration.sum_s)
            yield family

    def describe(self) -> Iterator[Metric]:
        """None: asking for names at registration would take a snapshot before there is anything to see."""
        return iter(())


def _about(snapshot: Snapshot) -> Iterator[Metric]:
    about = (snapshot.name, snapshot.address, snapshot.version)
    yield _gauge("info", "This home agent.", {about: 1}, ("name", "address", "version"))
    active = {(): int(snapshot.state == "active")}
    yield _gauge("active", "Whether it serves mobile nodes: 0 while it starts, stops or has lost its lease.", active)
    yield _gauge("authorised_nodes", "Mobile nodes in the configuration.", {(): snapshot.authorised_nodes})
    yield _gauge("bindings", "Registrations in force.", {(): snapshot.bindings})
    networks = {(): snapshot.mobile_network_prefixes}
    yield _gauge("mobile_network_prefixes", "Prefixes behind registered mobile routers.", networks)
    yield _gauge("child_sas", "Pairs of ESP security associations.", {(): snapshot.child_sas})
    if snapshot.certificate_expires_at is not None:
        expiry = {(): snapshot.certificate_expires_at}
        yield _gauge("certificate_expiry_timestamp_seconds", "When the certificate of this home agent ends.", expiry)
    yield _gauge("ipsec_info", "Who does ESP for the signalling.", {(snapshot.ipsec_back_end,): 1}, ("back_end",))


def _datapath(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge("datapath_up", "Whether the XDP programs and maps are loaded.", {(): int(snapshot.datapath_up)})
    attached = {(name,): int(name in snapshot.datapath_mode) for name in snapshot.datapath_interfaces}
    configured = "Whether an interface of the configuration has the XDP program."
    yield _gauge("datapath_interface_attached", configured, attached, ("interface",))
    modes = dict.fromkeys(snapshot.datapath_mode.items(), 1)
    yield _gauge("datapath_xdp_mode_info", "XDP mode in use by interface.", modes, ("interface", "mode"))
    packets = {(reason.partition("-")[0], reason): count for reason, count in snapshot.datapath_packets.items()}
    became = "Packets the XDP programs saw, by what became of them."
    yield _counter("datapath_packets", became, packets, ("verdict", "reason"))
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


def _store(store: StoreSnapshot) -> Iterator[Metric]:
    yield _gauge("store_up", "Whether the state store answered when it was last asked.", {(): int(store.up)})
    yield _gauge("store_queue_length", "Registrations that wait for the state store.", {(): store.queue})
    capacity = {(): store.queue_capacity}
    yield _gauge("store_queue_capacity", "Registrations that may wait for the state store; more are refused.", capacity)
    failures = _by(store.failures, _STORE_FAILURES)
    yield _counter(
        "store_failures", "Registrations that could not be written and were not acknowledged.", failures, ("reason",)
    )
    refused = _by(store.refused_records, _RECORD_KINDS)
    yield _counter(
        "store_refused_records", "Records of the state store that could not be understood.", refused, ("kind",)
    )


def _bootstrap(bootstrap: BootstrapSnapshot) -> Iterator[Metric]:
    nodes = {("waiting",): bootstrap.waiting, ("in-flight",): bootstrap.in_flight}
    yield _gauge("bootstrap_nodes", "Nodes of failed home agents that are not back yet.", nodes, ("state",))
    limit = "Nodes that may be brought back at the same time, at present."
    yield _gauge("bootstrap_concurrency_limit", limit, {(): bootstrap.limit})
    yield _gauge("bootstrap_paused", "Whether an operator holds the bringing back of nodes.", {(): bootstrap.paused})
    started, finished = {(): bootstrap.started_at}, {(): bootstrap.finished_at}
    yield _gauge(
        "bootstrap_started_timestamp_seconds", "When nodes were last begun to be brought back, 0: never.", started
    )
    yield _gauge("bootstrap_finished_timestamp_seconds", "When none were left to bring back, 0: never.", finished)
    yield _counter("bootstrap_recovered", "Nodes brought back.", {(): bootstrap.recovered_total})
    given_up = _by(bootstrap.given_up_reasons)
    yield _counter("bootstrap_given_up", "Nodes given up, by why the last attempt failed.", given_up, ("reason",))
    yield _counter("bootstrap_failures", "Failed attempts by reason.", _by(bootstrap.failures), ("reason",))


def _key_exchange(ike: KeyExchangeSnapshot) -> Iterator[Metric]:
    yield _gauge("ike_sas", "IKE security associations by state.", _by(ike.sas), ("state",))
    limit = "Half-open IKE security associations that strangers may have; more are dropped."
    yield _gauge("ike_half_open_limit", limit, {(): ike.half_open_limit})
    yield _gauge("ike_workers", "Processes that do IKEv2.", {(): ike.workers})
    yield _counter("ike_worker_restarts", "Workers that died and were replaced.", {(): ike.worker_restarts})
    yield _gauge("ike_key_pairs", "Diffie-Hellman key pairs made ahead.", {(): ike.key_pairs})
    yield _gauge("ike_key_pairs_capacity", "Diffie-Hellman key pairs kept at most.", {(): ike.key_pairs_capacity})
    yield _counter("ike_events", "What the IKE engine counts, by event.", _by(ike.events, _IKE_EVENTS), ("event",))


def _signalling(snapshot: Snapshot) -> Iterator[Metric]:
    yield _counter("esp_packets", "ESP packets by result.", _by(snapshot.esp), ("result",))
    associations = "Child SAs that could not be put to work, and packets under security associations of nobody."
    yield _counter("association_errors", associations, _by(snapshot.associations), ("reason",))
    sockets = "What the sockets count: keepalives, malformed packets, packets that could not be sent."
    yield _counter("socket_events", sockets, _by(snapshot.sockets, ("send-refused",)), ("event",))
    dropped = "Packets that the IPsec of this network namespace has dropped, by the kernel's names of the reasons."
    yield _counter("xfrm_errors", dropped, _by(snapshot.xfrm), ("name",))
    labels = ("direction", "type", "status")
    yield _counter("mobility_messages", "Mobility Header messages.", snapshot.mobility, labels)
    errors = _by(snapshot.mobility_errors)
    yield _counter("mobility_errors", "Mobility Header messages refused, by reason.", errors, ("reason",))
    discovery = "Neighbour discovery done for mobile nodes on home links, by event."
    yield _counter("home_link_events", discovery, _by(snapshot.home_links), ("event",))


def _by(counts: Mapping[str, int], from_the_start: tuple[str, ...] = ()) -> dict[tuple[str, ...], int]:
    return {(key,): count for key, count in {**dict.fromkeys(from_the_start, 0), **counts}.items()}


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
