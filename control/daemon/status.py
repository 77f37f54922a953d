"""What the daemon tells of itself, to the control socket and to Prometheus from the same numbers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from msgspec import structs

from control.cluster.store import LeaseRecord
from control.config import Configuration
from control.config.schema import KeyExportSettings
from control.control_socket import Row
from control.daemon.assembly import Assembly
from control.daemon.back_end import BackEndChoice
from control.daemon.binding_writer import QUEUE_LIMIT, BindingWriter
from control.daemon.membership import Membership
from control.daemon.security_association_rows import security_association_rows
from control.daemon.store_thread import StoreThread
from control.daemon.takeover_record import TakeoverRecord
from control.daemon.tunnels import Tunnels
from control.home_agent.engine import HomeAgent
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.policy import HALF_OPEN_LIMIT
from control.metrics import (
    BootstrapSnapshot,
    Instruments,
    KeyExchangeSnapshot,
    LeaseSnapshot,
    MapUsage,
    Snapshot,
    StoreSnapshot,
)
from control.version import installed_version
from datapath import attachments
from datapath.counters import Counters
from datapath.errors import DatapathError
from datapath.xfrm.statistics import dropped_packets


@dataclass(frozen=True, slots=True)
class Status:
    """Looks at every part; changes none.

    ``_monotonic`` tells monotonic seconds, ``_sockets`` what sockets have counted, ``_workers`` how many processes do
    IKEv2 and how many of them were replaced.
    """

    _configuration: Configuration
    _assembly: Assembly
    _membership: Membership
    _tunnels: Tunnels
    _counters: Counters
    _writer: BindingWriter
    _store: StoreThread
    _instruments: Instruments
    _takeover_record: TakeoverRecord
    _monotonic: Callable[[], float]
    _back_end: BackEndChoice
    _sockets: Callable[[], Mapping[str, int]]
    _workers: Callable[[], tuple[int, int]]

    @property
    def _agent(self) -> HomeAgent:
        return self._assembly.agent

    @property
    def _certificate_expires_at(self) -> float | None:
        credentials = self._agent.endpoint.configuration.credentials
        ends = [each.not_valid_after_utc.timestamp() for each in credentials.certificates] if credentials else []
        return min(ends, default=None)

    def status(self) -> Row:
        """All of it in one object."""
        row = self.snapshot().to_status()
        return {**row, "takeover": self._with_handshakes(row["takeover"])}

    def sentence(self) -> str:
        """The shortest answer to how it is, for `systemctl status`."""
        bindings = len(self._agent.registrations.rules.cache)
        state = "active" if self._membership.lease is not None else "without a lease"
        said = f"{self._configuration.home_agent.address}: {state}, {bindings} bindings"
        if not self.takeover_active():
            return said
        progress = self._agent.takeover.progress(self._monotonic())
        return f"{said}, bringing nodes back: {progress.recovered} of {progress.total}, {progress.given_up} given up"

    def takeover_active(self) -> bool:
        """Whether nodes are being brought back."""
        return self._agent.takeover.active

    def known_home_agents(self) -> set[str]:
        """Names of the home agents that held leases when the store was last looked at."""
        return {record.home_agent for record in self._membership.leases}

    def departures(self) -> Row:
        """How far sending nodes away is."""
        return asdict(self._agent.departures.progress)

    def takeover(self) -> Row:
        """How far bringing nodes back is."""
        return self._with_handshakes(self._bootstrap().to_status())

    def _with_handshakes(self, row: Row) -> Row:
        return {
            **row,
            "handshake_ms": _percentiles_ms(self._agent.takeover.handshake_s),
            "retransmissions": self._agent.endpoint.statistics["retransmissions"],
        }

    def bindings(self) -> list[Row]:
        """A row for each binding, by home address."""
        now = time.time()
        return [
            {
                "home_address": str(binding.home_address),
                "care_of_address": str(binding.care_of_address),
                "home_agent": str(binding.home_agent),
                "identity": binding.identity,
                "lifetime_expires_at": _iso(binding.lifetime_expires_at),
                "lifetime_left_s": round(binding.lifetime_expires_at - now, 1),
                "sequence_number": binding.sequence_number,
                "mobile_network_prefixes": [str(network) for network in binding.mobile_networks],
            }
            for binding in sorted(
                self._agent.registrations.rules.cache.bindings(), key=lambda binding: binding.home_address
            )
        ]

    def security_associations(self) -> list[Row]:
        """A row for each IKE SA, its child SAs within."""
        agent = self._agent
        rows = security_association_rows(
            agent.sessions, self._assembly.ipsec.list(), agent.directory, self._monotonic()
        )
        return list(rows)

    def snapshot(self) -> Snapshot:
        """The numbers of this moment."""
        settings = self._configuration.home_agent
        own, peers = self._leases()
        packets, up = self._datapath_packets()
        return Snapshot(
            name=settings.name,
            address=str(settings.address),
            identity=str(settings.identity or settings.address),
            version=installed_version(),
            state="active" if self._membership.lease is not None else "fenced",
            authorised_nodes=len(self._agent.directory),
            bindings=len(self._agent.registrations.rules.cache),
            mobile_network_prefixes=len(self._agent.registrations.rules.cache.prefixes),
            child_sas=len(self._assembly.ipsec),
            ipsec_back_end=self._back_end.name,
            ipsec_reason=self._back_end.reason,
            certificate_expires_at=self._certificate_expires_at,
            exports_keys=self._configuration.key_export != KeyExportSettings(),
            datapath_up=up,
            datapath_interfaces=tuple(self._configuration.datapath.interfaces),
            datapath_mode=self._datapath_modes(),
            datapath_packets=packets,
            maps={name: MapUsage(*fill) for name, fill in self._tunnels.fill().items()},
            lease=own,
            peers=peers,
            takeovers=self._membership.takeovers,
            bootstrap=self._bootstrap(),
            key_exchange=self._key_exchange(),
            esp=dict(self._assembly.ipsec.statistics),
            associations=dict(self._agent.statistics),
            sockets=dict(self._sockets()),
            xfrm=dropped_packets() if self._back_end.kernel else {},
            mobility=dict(self._agent.registrations.messages),
            mobility_errors=dict(self._agent.registrations.statistics + self._agent.unprotected.statistics),
            home_links=dict(self._agent.home_links.statistics),
            store=StoreSnapshot(
                up=self._membership.store_answers,
                queue=len(self._writer),
                queue_capacity=QUEUE_LIMIT,
                failures=dict(self._writer.failures),
                refused_records=self._store.refused_records,
            ),
            durations=self._instruments.snapshot(),
        )

    def _key_exchange(self) -> KeyExchangeSnapshot:
        endpoint = self._agent.endpoint
        # The workers' are theirs: what is made ahead there is not known here.
        key_pairs = endpoint.key_pairs if isinstance(endpoint, IkeEndpoint) else None
        workers, restarts = self._workers()
        return KeyExchangeSnapshot(
            sas={"half-open": endpoint.half_open, "established": len(self._agent.sessions)},
            half_open_limit=HALF_OPEN_LIMIT,
            workers=workers,
            worker_restarts=restarts,
            key_pairs=len(key_pairs) if key_pairs is not None else 0,
            key_pairs_capacity=key_pairs.limit if key_pairs is not None else 0,
            events=dict(endpoint.statistics),
        )

    def _bootstrap(self) -> BootstrapSnapshot:
        takeover = self._agent.takeover
        return BootstrapSnapshot(
            **structs.asdict(takeover.progress(self._monotonic())),
            recovered_total=takeover.recovered_total,
            given_up_reasons=dict(self._takeover_record.given_up),
            failures=dict(takeover.failures),
            started_at=self._takeover_record.started_at,
            finished_at=self._takeover_record.finished_at,
            history=self._takeover_record.history,
        )

    def _leases(self) -> tuple[LeaseSnapshot | None, tuple[LeaseSnapshot, ...]]:
        own = self._configuration.home_agent.name
        snapshots = [_lease_snapshot(record) for record in self._membership.leases]
        mine = next((lease for lease in snapshots if lease.home_agent == own), None)
        return mine, tuple(lease for lease in snapshots if lease.home_agent != own)

    def _datapath_modes(self) -> dict[str, str]:
        try:
            recorded = attachments.recorded(self._configuration.datapath.pin_path)
        except DatapathError:
            return {}
        return {attachment.name: str(attachment.actual_mode) for attachment in recorded}

    def _datapath_packets(self) -> tuple[dict[str, int], bool]:
        try:
            return {reason.slug: count for reason, count in self._counters.read().items()}, True
        except DatapathError:
            return {}, False


def _lease_snapshot(record: LeaseRecord) -> LeaseSnapshot:
    return LeaseSnapshot(record.home_agent, str(record.address), record.token, record.expires_at)


def _percentiles_ms(samples_s: list[float]) -> dict[str, float] | None:
    if not samples_s:
        return None
    if len(samples_s) == 1:
        only = round(samples_s[0] * 1000, 3)
        return {"p50": only, "p99": only}
    cuts = statistics.quantiles(samples_s, n=100, method="inclusive")
    return {"p50": round(cuts[49] * 1000, 3), "p99": round(cuts[98] * 1000, 3)}


def _iso(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="seconds")
