"""The numbers of a home agent at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from control.metrics.histogram import DurationSnapshot, Instruments


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
class TakeoverSample:
    """How far bringing nodes back was at one moment.

    Attributes:
        at: seconds since the epoch.
        recovered, given_up, in_flight: nodes.
    """

    at: float
    recovered: int
    given_up: int
    in_flight: int


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
        recovered_total: since the daemon started.
        given_up_reasons: nodes given up since the daemon started, by reason.
        failures: failed attempts by reason, since the daemon started.
        started_at, finished_at: seconds since the epoch, of the latest; 0 for never.
        history: how it went, from the latest start on.
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
    given_up_reasons: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    started_at: float = 0.0
    finished_at: float = 0.0
    history: tuple[TakeoverSample, ...] = ()

    @property
    def active(self) -> bool:
        """Whether any node still waits or is under way."""
        return self.in_flight + self.waiting > 0

    def to_status(self) -> dict[str, Any]:
        """Ready for JSON, without the history."""
        row = {name: getattr(self, name) for name in self.__slots__}
        del row["history"], row["recovered_total"], row["failures"]
        return {**row, "given_up_reasons": dict(self.given_up_reasons), "reasons": dict(self.failures)}


@dataclass(frozen=True, slots=True)
class KeyExchangeSnapshot:
    """IKEv2.

    Attributes:
        sas: IKE SAs by state, "half-open" or "established".
        half_open_limit: most half-open IKE SAs of strangers.
        workers: processes that do IKEv2 at present; 1: the daemon alone.
        worker_restarts: how often one of them died and was started again.
        key_pairs: Diffie-Hellman key pairs made ahead.
        key_pairs_capacity: most of them.
        events: the engine's statistics by slug.
    """

    sas: Mapping[str, int] = field(default_factory=dict)
    half_open_limit: int = 0
    workers: int = 1
    worker_restarts: int = 0
    key_pairs: int = 0
    key_pairs_capacity: int = 0
    events: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """The state store.

    Attributes:
        up: whether it answered when it was last asked.
        queue: registrations that wait for it.
        queue_capacity: most of them.
        failures: registrations that could not be written, by reason.
        refused_records: records left out because they could not be understood, by kind.
    """

    up: bool = True
    queue: int = 0
    queue_capacity: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    refused_records: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a daemon counts, at one moment.

    Attributes:
        name, address, identity, version: who answers.
        state: "starting", "active", "fenced" (its lease was lost) or "stopping".
        authorised_nodes: nodes in the configuration.
        bindings: registrations in force.
        mobile_network_prefixes: prefixes behind the mobile routers among them.
        child_sas: pairs of ESP security associations.
        ipsec_back_end, ipsec_reason: who does ESP, "kernel" or "userspace", and why.
        exports_keys: whether session keys are written to files.
        certificate_expires_at: when the first certificate of this home agent's chain ends, None without one.
        datapath_up: whether the pinned programs and maps could be opened.
        datapath_interfaces: the interfaces of the configuration.
        datapath_mode: XDP mode in use by interface.
        datapath_packets: packets by reason code of the XDP programs.
        maps: entries and capacity of BPF maps by name.
        lease: this home agent's own, None while it has none.
        peers: the leases of the others.
        takeovers: home agents taken over since the daemon started.
        bootstrap: progress of bringing nodes back.
        key_exchange: IKEv2.
        esp: ESP packets by result.
        associations: child SAs that could not be installed and packets whose owner is unknown, by reason.
        sockets: what the sockets count, by event.
        xfrm: packets the kernel's IPsec has dropped, by its names of the reasons; empty where the daemon does ESP.
        mobility: Mobility Header messages by (direction, type, status).
        mobility_errors: refused Mobility Header messages by reason.
        home_links: neighbour discovery done for mobile nodes, by event.
        store: the state store.
        durations: histograms by name, see :class:`Instruments`.
    """

    name: str
    address: str
    identity: str
    version: str
    state: str
    authorised_nodes: int = 0
    bindings: int = 0
    mobile_network_prefixes: int = 0
    child_sas: int = 0
    ipsec_back_end: str = "userspace"
    ipsec_reason: str = ""
    exports_keys: bool = False
    certificate_expires_at: float | None = None
    datapath_up: bool = False
    datapath_interfaces: tuple[str, ...] = ()
    datapath_mode: Mapping[str, str] = field(default_factory=dict)
    datapath_packets: Mapping[str, int] = field(default_factory=dict)
    maps: Mapping[str, MapUsage] = field(default_factory=dict)
    lease: LeaseSnapshot | None = None
    peers: tuple[LeaseSnapshot, ...] = ()
    takeovers: int = 0
    bootstrap: BootstrapSnapshot = BootstrapSnapshot()
    key_exchange: KeyExchangeSnapshot = KeyExchangeSnapshot()
    esp: Mapping[str, int] = field(default_factory=dict)
    associations: Mapping[str, int] = field(default_factory=dict)
    sockets: Mapping[str, int] = field(default_factory=dict)
    xfrm: Mapping[str, int] = field(default_factory=dict)
    mobility: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    mobility_errors: Mapping[str, int] = field(default_factory=dict)
    home_links: Mapping[str, int] = field(default_factory=dict)
    store: StoreSnapshot = StoreSnapshot()
    durations: Mapping[str, DurationSnapshot] = field(default_factory=lambda: Instruments().snapshot())

    def to_status(self) -> dict[str, Any]:
        """What ``homeagent status`` shows, ready for JSON."""
        return {
            "home_agent": {"name": self.name, "address": self.address, "identity": self.identity},
            "version": self.version,
            "state": self.state,
            "lease": asdict(self.lease) if self.lease else None,
            "peers": [asdict(peer) for peer in self.peers],
            "nodes": self.authorised_nodes,
            "bindings": self.bindings,
            "mobile_network_prefixes": self.mobile_network_prefixes,
            "ike_sas": dict(self.key_exchange.sas),
            "ike_workers": {"running": self.key_exchange.workers, "restarts": self.key_exchange.worker_restarts},
            "child_sas": self.child_sas,
            "ipsec": {"back_end": self.ipsec_back_end, "reason": self.ipsec_reason},
            "takeovers": self.takeovers,
            "takeover": self.bootstrap.to_status(),
            "store": {"up": self.store.up, "queue": self.store.queue, "queue_capacity": self.store.queue_capacity},
            "datapath": {
                "up": self.datapath_up,
                "mode": dict(self.datapath_mode),
                "packets": {reason: count for reason, count in self.datapath_packets.items() if count},
                "maps": {name: asdict(use) for name, use in self.maps.items()},
            },
        }
