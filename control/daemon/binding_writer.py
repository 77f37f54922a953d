"""Where a binding goes before its acknowledgement leaves: the state store first, then the data path.

A node that holds an acknowledgement finds its binding again after a crash of this process at any point, because the
store had it first; and its packets already flow, because the data path had it too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from control.cluster.store import BindingRecord, FencedOut, Lease, StateStore, StoreError
from control.home_agent.engine import HomeAgent
from control.home_agent.registrations import PendingRegistration
from control.mobility.binding_cache import Binding
from control.mobility.home_registration import Change
from datapath.bindings import BindingMap
from datapath.errors import DatapathError

_LOG = logging.getLogger(__name__)


class BindingWriter:
    """Writes what the engine has accepted and then lets it acknowledge.

    Attributes:
        failures: registrations left unacknowledged, by reason.
    """

    def __init__(self, name: str, agent: HomeAgent, store: StateStore, bindings: BindingMap) -> None:
        self.failures: Counter[str] = Counter()
        self._name = name
        self._agent = agent
        self._store = store
        self._bindings = bindings

    def settle(self, lease: Lease | None, now: float, wall: float) -> bool:
        """Write all pending registrations in one transaction. Returns False if this agent was fenced out.

        Args:
            lease: the right to write; without one nothing is acknowledged.
            now: monotonic seconds.
            wall: seconds since the epoch.
        """
        pending = self._agent.registrations.pending()
        if not pending:
            return True
        if lease is None:
            self._refuse(pending, "no-lease")
            return True
        try:
            self._write(lease, pending, wall)
        except FencedOut:
            self._refuse(pending, "fenced-out")
            return False
        except StoreError as error:
            self._refuse(pending, "store")
            _LOG.error("bindings not stored, nodes will repeat their Binding Updates: %s", error)
            return True
        for registration in pending:
            self._finish(lease, registration, now)
        return True

    def remove_expired(self, lease: Lease | None, expired: list[Binding]) -> None:
        """Take bindings out of the data path and the store that have reached the end of their lifetime."""
        self._remove_from_data_path(expired)
        if lease is None or not expired:
            return
        try:
            self._store.remove_bindings(lease, [binding.home_address for binding in expired])
        except StoreError as error:
            # They are past their lifetime in the store too, and are dropped when it is next read.
            _LOG.warning("expired bindings stay in the store for now: %s", error)

    def _write(self, lease: Lease, pending: list[PendingRegistration], wall: float) -> None:
        records = [
            record_of(self._name, registration.outcome.binding)
            for registration in pending
            if registration.outcome.change is not Change.REMOVE and registration.outcome.binding is not None
        ]
        gone = [registration.home_address for registration in pending if registration.outcome.change is Change.REMOVE]
        if records:
            self._store.write_bindings(lease, records, wall)
        if gone:
            self._store.remove_bindings(lease, gone)

    def _finish(self, lease: Lease, registration: PendingRegistration, now: float) -> None:
        outcome = registration.outcome
        try:
            if outcome.change is Change.REMOVE:
                self._bindings.remove(registration.home_address)
            elif outcome.change is Change.INSTALL and outcome.binding is not None:
                binding = outcome.binding
                self._bindings.install(binding.home_address, binding.care_of_address, binding.home_agent)
        except DatapathError as error:
            self._roll_back(lease, registration)
            self._refuse([registration], "data-path")
            _LOG.error("binding of %s not installed: %s", registration.home_address, error)
            return
        self._agent.stored(registration, now)

    def _roll_back(self, lease: Lease, registration: PendingRegistration) -> None:
        """Undo in the store what the data path did not take: store and data path agree, the node repeats."""
        previous = registration.outcome.previous
        try:
            if previous is not None:
                self._store.write_bindings(lease, [record_of(self._name, previous)])
            else:
                self._store.remove_bindings(lease, [registration.home_address])
        except StoreError as error:
            _LOG.error(
                "store and data path disagree about %s until the next start: %s", registration.home_address, error
            )

    def _refuse(self, registrations: Iterable[PendingRegistration], reason: str) -> None:
        for registration in registrations:
            self.failures[reason] += 1
            self._agent.registrations.not_stored(registration)

    def _remove_from_data_path(self, bindings: Iterable[Binding]) -> None:
        for binding in bindings:
            try:
                self._bindings.remove(binding.home_address)
            except DatapathError as error:
                _LOG.error("binding of %s not removed: %s", binding.home_address, error)


def record_of(name: str, binding: Binding) -> BindingRecord:
    """A binding as the store keeps it.

    Args:
        name: the home agent's name in the cluster.
        binding: one of its bindings.
    """
    return BindingRecord(
        home_address=binding.home_address,
        care_of_address=binding.care_of_address,
        home_agent=name,
        home_agent_address=binding.home_agent,
        identity=binding.identity,
        lifetime_expires_at=binding.lifetime_expires_at,
        sequence_number=binding.sequence_number,
        key_management=binding.key_management,
    )


def binding_of(record: BindingRecord) -> Binding:
    """A stored binding as the binding cache holds it."""
    return Binding(
        home_address=record.home_address,
        care_of_address=record.care_of_address,
        home_agent=record.home_agent_address,
        identity=record.identity,
        lifetime_expires_at=record.lifetime_expires_at,
        sequence_number=record.sequence_number,
        key_management=record.key_management,
    )
