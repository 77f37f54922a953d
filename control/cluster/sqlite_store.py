"""The state store in one SQLite file, shared by the home agents of one host.

Write-ahead logging with synchronous=NORMAL: a returned write survives the death of the process (SIGKILL included);
after a power failure the last moments may be missing, but nothing is torn. Every write is one IMMEDIATE transaction,
so the check of the fencing token and the write it guards cannot be separated.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from control.cluster.certificate_chains import pack_chain, read_chain
from control.cluster.sqlite_errors import typed_error
from control.cluster.sqlite_schema import prepare_schema
from control.cluster.store import (
    BindingRecord,
    ClaimedNode,
    FencedOut,
    Lease,
    LeaseHeld,
    LeaseLost,
    LeaseRecord,
    NodeRecord,
    StoreError,
)

DEFAULT_BUSY_TIMEOUT_S = 2.0
_WAL_ATTEMPTS = 20

_NODE_COLUMNS = "identity, home_address, care_of_address, owner, fence, last_seen"
_BINDING_COLUMNS = (
    "home_address, care_of_address, home_agent, home_agent_address, identity, "
    "lifetime_expires_at, sequence_number, key_management, mobile_networks"
)
_UPSERT_BINDING = f"INSERT OR REPLACE INTO bindings ({_BINDING_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPSERT_NODE = f"""
    INSERT INTO nodes ({_NODE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (identity) DO UPDATE SET
        home_address = excluded.home_address, care_of_address = excluded.care_of_address, owner = excluded.owner,
        fence = excluded.fence, last_seen = max(last_seen, excluded.last_seen)
"""
# A claimed binding that its node has replaced by one with this agent, perhaps under another home address.
_DELETE_SUPERSEDED = "DELETE FROM bindings WHERE identity = ? AND home_agent = ? AND home_agent_address != ?"
# Whether a home address or a node is another agent's by now.
_SELECT_TAKEN = """
    SELECT 1 FROM bindings WHERE home_address = ? AND home_agent != ?
    UNION ALL SELECT 1 FROM nodes WHERE identity = ? AND owner != ?
"""
# In the column order of nodes and then bindings, already with the claimer as the owner.
_SELECT_CLAIMED = """
    SELECT n.identity, n.home_address, n.care_of_address, :by, :fence, n.last_seen, n.last_traffic,
        b.home_address, b.care_of_address, :by, b.home_agent_address, b.identity,
        b.lifetime_expires_at, b.sequence_number, b.key_management, b.mobile_networks
    FROM (SELECT * FROM nodes WHERE owner = :failed ORDER BY identity LIMIT :limit) n
        LEFT JOIN bindings b ON b.identity = n.identity AND b.home_agent = :failed
    ORDER BY n.identity
"""
_NODE_WIDTH = 7
_SELECT_CERTIFICATES = """
    SELECT n.identity, c.chain FROM nodes n LEFT JOIN certificates c ON c.identity = n.identity
    WHERE n.owner = ? AND n.identity > ? ORDER BY n.identity LIMIT ?
"""


class SqliteStore:
    """A :class:`control.cluster.store.StateStore` in a file. To be used by one thread at a time."""

    def __init__(self, path: str | Path, *, busy_timeout_s: float = DEFAULT_BUSY_TIMEOUT_S) -> None:
        """Open the store, creating it if the file does not exist or is empty.

        Args:
            path: the file; SQLite keeps two more beside it, named ``…-wal`` and ``…-shm``.
            busy_timeout_s: how long to wait for another process's transaction.

        Raises:
            StoreError: it cannot be opened, or is not a store this version understands; nothing was changed.
        """
        self._path = Path(path)
        self.refused_records: Counter[str] = Counter()
        with self._typed_errors():
            self._connection = sqlite3.connect(
                self._path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
        try:
            with self._transaction():
                prepare_schema(self._connection, self._path)
            self._use_write_ahead_log()
        except StoreError:
            self._connection.close()
            raise

    def close(self) -> None:
        """See :meth:`control.cluster.store.StateStore.close`."""
        with self._typed_errors():
            self._connection.close()

    def incarnation(self) -> str:
        """See :meth:`control.cluster.store.StateStore.incarnation`."""
        return str(self._path)  # a file loses nothing that it has acknowledged

    def acquire_lease(
        self, name: str, address: IPv6Address, now: float, duration: float, *, capacity: int = 0
    ) -> Lease:
        """See :meth:`control.cluster.store.StateStore.acquire_lease`."""
        with self._transaction() as connection:
            token = _next_token(connection)
            connection.execute(
                "INSERT OR REPLACE INTO leases (home_agent, address, token, expires_at, capacity) "
                "VALUES (?, ?, ?, ?, ?)",
                (name, address.packed, token, now + duration, capacity),
            )
        return Lease(name, token, now + duration)

    def renew_lease(self, lease: Lease, now: float, duration: float) -> Lease:
        """See :meth:`control.cluster.store.StateStore.renew_lease`."""
        with self._transaction() as connection:
            renewed = connection.execute(
                "UPDATE leases SET expires_at = ? WHERE home_agent = ? AND token = ?",
                (now + duration, lease.home_agent, lease.token),
            )
            if not renewed.rowcount:
                raise LeaseLost(lease.home_agent, lease.token)
        return Lease(lease.home_agent, lease.token, now + duration)

    def leases(self) -> list[LeaseRecord]:
        """See :meth:`control.cluster.store.StateStore.leases`."""
        query = "SELECT home_agent, address, token, expires_at, capacity FROM leases ORDER BY home_agent"
        with self._typed_errors():
            return [
                LeaseRecord(home_agent, IPv6Address(address), token, expires_at, capacity)
                for home_agent, address, token, expires_at, capacity in self._connection.execute(query)
            ]

    def claim(
        self, failed: str, by: Lease, now: float, *, force: bool = False, limit: int | None = None
    ) -> list[ClaimedNode]:
        """See :meth:`control.cluster.store.StateStore.claim`."""
        with self._transaction() as connection:
            if not _lease_runs(connection, by, now):
                raise LeaseLost(by.home_agent, by.token)
            row = connection.execute("SELECT expires_at FROM leases WHERE home_agent = ?", (failed,)).fetchone()
            if row is not None and row[0] > now and not force:
                raise LeaseHeld(failed, row[0] - now)
            rows = [] if failed == by.home_agent else _take_over(connection, failed, by, now, limit)
        return [_claimed_node(row) for row in rows]

    def write_bindings(self, lease: Lease, bindings: Iterable[BindingRecord], now: float | None = None) -> None:
        """See :meth:`control.cluster.store.StateStore.write_bindings`."""
        records = list(bindings)
        with self._fenced_transaction(lease) as connection:
            _put_bindings(connection, lease, records, now)

    def write_missing(
        self, lease: Lease, bindings: Iterable[BindingRecord], now: float | None = None
    ) -> list[IPv6Address]:
        """See :meth:`control.cluster.store.StateStore.write_missing`."""
        records = list(bindings)
        with self._fenced_transaction(lease) as connection:
            taken = {record.home_address for record in records if _is_taken(connection, lease, record)}
            _put_bindings(connection, lease, [record for record in records if record.home_address not in taken], now)
        return sorted(taken)

    def remove_bindings(self, lease: Lease, home_addresses: Iterable[IPv6Address]) -> None:
        """See :meth:`control.cluster.store.StateStore.remove_bindings`."""
        rows = [(address.packed, lease.home_agent) for address in home_addresses]
        with self._fenced_transaction(lease) as connection:
            connection.executemany("DELETE FROM bindings WHERE home_address = ? AND home_agent = ?", rows)

    def bindings(self, owner: str) -> list[BindingRecord]:
        """See :meth:`control.cluster.store.StateStore.bindings`."""
        query = f"SELECT {_BINDING_COLUMNS} FROM bindings WHERE home_agent = ? ORDER BY home_address"
        with self._typed_errors():
            return [_binding(row) for row in self._connection.execute(query, (owner,))]

    def note_traffic(self, lease: Lease, last_traffic: Mapping[str, float]) -> None:
        """See :meth:`control.cluster.store.StateStore.note_traffic`."""
        rows = [(at, identity, lease.home_agent) for identity, at in last_traffic.items()]
        with self._fenced_transaction(lease) as connection:
            connection.executemany("UPDATE nodes SET last_traffic = ? WHERE identity = ? AND owner = ?", rows)

    def write_certificates(self, lease: Lease, chains: Mapping[str, Sequence[bytes]]) -> None:
        """See :meth:`control.cluster.store.StateStore.write_certificates`."""
        rows = [(identity, pack_chain(chain)) for identity, chain in chains.items()]
        with self._fenced_transaction(lease) as connection:
            connection.executemany("INSERT OR REPLACE INTO certificates (identity, chain) VALUES (?, ?)", rows)

    def certificates(self, owner: str, after: str, limit: int) -> list[tuple[str, tuple[bytes, ...]]]:
        """See :meth:`control.cluster.store.StateStore.certificates`."""
        with self._typed_errors():
            rows = self._connection.execute(_SELECT_CERTIFICATES, (owner, after, limit)).fetchall()
        return [(identity, read_chain(packed, self.refused_records)) for identity, packed in rows]

    def nodes(self, owner: str) -> list[NodeRecord]:
        """See :meth:`control.cluster.store.StateStore.nodes`."""
        query = f"SELECT {_NODE_COLUMNS}, last_traffic FROM nodes WHERE owner = ? ORDER BY identity"
        with self._typed_errors():
            return [_node(row) for row in self._connection.execute(query, (owner,))]

    def home_addresses(self) -> list[tuple[str, IPv6Address]]:
        """See :meth:`control.cluster.store.StateStore.home_addresses`."""
        query = "SELECT identity, home_address FROM nodes ORDER BY last_seen DESC, identity"
        with self._typed_errors():
            return [(identity, IPv6Address(address)) for identity, address in self._connection.execute(query)]

    def _use_write_ahead_log(self) -> None:
        with self._typed_errors():
            self._connection.execute("PRAGMA synchronous = NORMAL")
        # SQLite does not wait when two processes switch a new file over at the same moment, it refuses one of them.
        for attempts_left in reversed(range(_WAL_ATTEMPTS)):
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.Error as error:
                refused = typed_error(error, self._path)
                if refused.reason != "locked" or not attempts_left:
                    raise refused from error
            with self._transaction():
                pass  # waits for the other one's turn to end

    @contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise typed_error(error, self._path) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all of it or, on any error, nothing."""
        connection = self._connection
        with self._typed_errors():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _fenced_transaction(self, lease: Lease) -> Iterator[sqlite3.Connection]:
        with self._transaction() as connection:
            query = "SELECT 1 FROM leases WHERE home_agent = ? AND token = ?"
            if connection.execute(query, (lease.home_agent, lease.token)).fetchone() is None:
                raise FencedOut(lease.home_agent, lease.token)
            yield connection


def _next_token(connection: sqlite3.Connection) -> int:
    """The next fencing token of the whole store: unique for ever, even when the leases it went to are gone."""
    token: int = connection.execute(
        "UPDATE fence SET last_token = last_token + 1 WHERE id = 0 RETURNING last_token"
    ).fetchone()[0]
    return token


def _put_bindings(
    connection: sqlite3.Connection, lease: Lease, records: list[BindingRecord], now: float | None
) -> None:
    last_seen = 0.0 if now is None else now
    node_rows = [
        (b.identity, b.home_address.packed, b.care_of_address.packed, lease.home_agent, lease.token, last_seen)
        for b in records
    ]
    superseded = [(b.identity, lease.home_agent, b.home_agent_address.packed) for b in records]
    connection.executemany(_DELETE_SUPERSEDED, superseded)
    connection.executemany(_UPSERT_BINDING, [_binding_row(b, lease.home_agent) for b in records])
    connection.executemany(_UPSERT_NODE, node_rows)


def _is_taken(connection: sqlite3.Connection, lease: Lease, record: BindingRecord) -> bool:
    values = (record.home_address.packed, lease.home_agent, record.identity, lease.home_agent)
    return connection.execute(_SELECT_TAKEN, values).fetchone() is not None


def _lease_runs(connection: sqlite3.Connection, lease: Lease, now: float) -> bool:
    query = "SELECT 1 FROM leases WHERE home_agent = ? AND token = ? AND expires_at > ?"
    return connection.execute(query, (lease.home_agent, lease.token, now)).fetchone() is not None


def _take_over(
    connection: sqlite3.Connection, failed: str, by: Lease, now: float, limit: int | None
) -> list[tuple[Any, ...]]:
    """Move up to ``limit`` nodes of ``failed`` to the holder of ``by``; rows of _SELECT_CLAIMED."""
    names = {"failed": failed, "by": by.home_agent, "fence": by.token, "limit": -1 if limit is None else limit}
    rows = connection.execute(_SELECT_CLAIMED, names).fetchall()
    identities = dict.fromkeys(row[0] for row in rows)  # each once, still in the order of the index
    connection.executemany(
        "UPDATE nodes SET owner = ?, fence = ? WHERE identity = ?",
        [(by.home_agent, by.token, identity) for identity in identities],
    )
    connection.executemany(
        "UPDATE bindings SET home_agent = ? WHERE identity = ? AND home_agent = ?",
        [(by.home_agent, identity, failed) for identity in identities],
    )
    if connection.execute("SELECT 1 FROM nodes WHERE owner = ? LIMIT 1", (failed,)).fetchone():
        # Fenced out from the first part on; still listed as dead, should this claimer die before the last one.
        connection.execute(
            "UPDATE leases SET token = ?, expires_at = min(expires_at, ?) WHERE home_agent = ?",
            (_next_token(connection), now, failed),
        )
    else:
        connection.execute("DELETE FROM leases WHERE home_agent = ?", (failed,))
        # Left are bindings of nodes that meanwhile registered elsewhere under another home address.
        connection.execute("DELETE FROM bindings WHERE home_agent = ?", (failed,))
    return rows


def _claimed_node(row: tuple[Any, ...]) -> ClaimedNode:
    binding_row = row[_NODE_WIDTH:]
    return ClaimedNode(_node(row[:_NODE_WIDTH]), None if binding_row[0] is None else _binding(binding_row))


def _node(row: tuple[Any, ...]) -> NodeRecord:
    identity, home_address, care_of_address, owner, fence, last_seen, last_traffic = row
    care_of = None if care_of_address is None else IPv6Address(care_of_address)
    return NodeRecord(identity, IPv6Address(home_address), care_of, owner, fence, last_seen, last_traffic)


def _binding(row: tuple[Any, ...]) -> BindingRecord:
    home_address, care_of_address, home_agent, home_agent_address, identity, expires_at, sequence_number, *rest = row
    key_management, networks = rest
    return BindingRecord(
        IPv6Address(home_address),
        IPv6Address(care_of_address),
        home_agent,
        IPv6Address(home_agent_address),
        identity,
        expires_at,
        sequence_number,
        bool(key_management),
        tuple(map(IPv6Network, networks.split())),
    )


def _binding_row(binding: BindingRecord, home_agent: str) -> tuple[object, ...]:
    return (
        binding.home_address.packed,
        binding.care_of_address.packed,
        home_agent,
        binding.home_agent_address.packed,
        binding.identity,
        binding.lifetime_expires_at,
        binding.sequence_number,
        int(binding.key_management),
        " ".join(map(str, binding.mobile_networks)),
    )
