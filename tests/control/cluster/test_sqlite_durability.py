"""What was acknowledged survives SIGKILL; what goes wrong underneath is a typed error with a remedy."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from control.cluster.sqlite_schema import APPLICATION_ID, SCHEMA_VERSION
from control.cluster.sqlite_store import SqliteStore
from control.cluster.store import BindingRecord, StoreError

MakeBinding = Callable[..., BindingRecord]
OpenStore = Callable[[], SqliteStore]

HA1 = IPv6Address("2001:db8:a1::1")
T0 = 1_700_000_000.0
WRITER = Path(__file__).with_name("acknowledging_writer.py")
ROOT = Path(__file__).parents[3]


def error_of(call: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as caught:
        call()
    assert caught.value.remedy.endswith(".")
    assert str(caught.value).endswith(caught.value.remedy)
    return caught.value


@pytest.mark.parametrize("acknowledged_before_kill", [1, 50, 400])
def test_everything_acknowledged_survives_sigkill(path: Path, acknowledged_before_kill: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(acknowledged_before_kill)]
        writer.kill()
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    store = SqliteStore(path)
    stored = {int(binding.home_address) for binding in store.bindings("ha1")}
    assert len(acknowledged) >= acknowledged_before_kill
    assert stored >= set(acknowledged)
    assert stored == set(range(len(stored)))  # in order, none torn
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)  # and the store still works
    store.remove_bindings(lease, [IPv6Address(0)])
    assert len(store.bindings("ha1")) == len(stored) - 1
    store.close()


def test_writes_go_through_the_log_that_a_power_failure_cannot_tear(open_store: OpenStore) -> None:
    connection = open_store()._connection
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL


def test_a_locked_store_is_a_typed_error_and_nothing_is_half_done(
    path: Path, open_store: OpenStore, make_binding: MakeBinding
) -> None:
    store = open_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(1)])
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    for write in (
        lambda: store.write_bindings(lease, [make_binding(2)]),
        lambda: store.renew_lease(lease, T0, 3.0),
        lambda: store.claim("ha2", lease, T0),
        open_store,
    ):
        assert error_of(write).reason == "locked"
    assert store.bindings("ha1") == [make_binding(1)]  # readers are not held up
    blocker.execute("ROLLBACK")
    blocker.close()
    store.write_bindings(lease, [make_binding(2)])
    assert store.bindings("ha1") == [make_binding(1), make_binding(2)]


def test_a_full_disk_is_a_typed_error_and_the_state_is_intact(open_store: OpenStore, make_binding: MakeBinding) -> None:
    store = open_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(1)])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    assert error_of(lambda: store.write_bindings(lease, [make_binding(n) for n in range(5000)])).reason == "disk-full"
    assert store.bindings("ha1") == [make_binding(1)]
    assert [node.identity for node in store.nodes("ha1")] == [make_binding(1).identity]
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.write_bindings(lease, [make_binding(2)])
    assert len(store.bindings("ha1")) == 2


def test_a_failure_in_the_middle_of_a_batch_undoes_all_of_it(open_store: OpenStore, make_binding: MakeBinding) -> None:
    store = open_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    bad = make_binding(2, sequence_number="not a number")
    assert error_of(lambda: store.write_bindings(lease, [make_binding(1), bad])).reason == "database"
    assert store.bindings("ha1") == []
    assert store.nodes("ha1") == []


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    content = b"[home_agent]\nname = 'ha1'\n" * 100
    path.write_bytes(content)
    assert error_of(lambda: SqliteStore(path)).reason == "not-a-database"
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.commit()
    other.close()
    content = path.read_bytes()
    assert error_of(lambda: SqliteStore(path)).reason == "foreign-database"
    assert path.read_bytes() == content


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    SqliteStore(path).close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    newer.close()
    error = error_of(lambda: SqliteStore(path))
    assert error.reason == "newer-schema"
    assert "Upgrade" in error.remedy
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
    assert check.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    check.close()


def test_a_store_of_the_first_schema_is_read_and_made_one_of_this(path: Path, make_binding: MakeBinding) -> None:
    SqliteStore(path).close()
    older = sqlite3.connect(path)
    older.execute("ALTER TABLE bindings DROP COLUMN mobile_networks")
    older.execute("ALTER TABLE nodes DROP COLUMN last_traffic")
    older.execute("DROP TABLE certificates")
    older.execute("PRAGMA user_version = 1")
    insert = "INSERT INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    one, two = make_binding(1), make_binding(2)
    rows = [
        (
            binding.home_address.packed,
            binding.care_of_address.packed,
            "ha1",
            binding.home_agent_address.packed,
            binding.identity,
            binding.lifetime_expires_at,
            binding.sequence_number,
            int(binding.key_management),
        )
        for binding in (one, two)
    ]
    older.execute(insert, rows[0])
    older.commit()

    store = SqliteStore(path)

    assert store.bindings("ha1") == [one]
    # A process of the older version that still has the file open names the columns it knows.
    columns = "home_address, care_of_address, home_agent, home_agent_address, identity, lifetime_expires_at"
    older.execute(f"{insert.replace('bindings', f'bindings ({columns}, sequence_number, key_management)')}", rows[1])
    older.commit()
    older.close()
    assert store.bindings("ha1") == [one, two]
    store.close()
    again = SqliteStore(path)
    assert again.bindings("ha1") == [one, two]
    lease = again.acquire_lease("ha1", one.home_agent_address, 0.0, 3.0)
    again.write_bindings(lease, [one])
    again.note_traffic(lease, {one.identity: 5.0})
    again.write_certificates(lease, {one.identity: (b"certificate",)})
    assert [node.last_traffic for node in again.nodes("ha1")] == [5.0]
    assert again.certificates("ha1", "", 1) == [(one.identity, (b"certificate",))]


def test_a_damaged_store_says_so(path: Path, make_binding: MakeBinding) -> None:
    store = SqliteStore(path)
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(n) for n in range(2000)])
    store.close()
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    damaged = SqliteStore(path)
    error = error_of(lambda: damaged.bindings("ha1"))
    assert error.reason == "corrupt"
    assert "backup" in error.remedy
    damaged.close()


@pytest.mark.parametrize("place", ["missing/state.db", "file/state.db", "directory"])
def test_a_path_that_cannot_be_opened(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    error = error_of(lambda: SqliteStore(tmp_path / place))
    assert error.reason == "cannot-open"
    assert str(tmp_path / place) in str(error)


def test_a_store_that_may_not_be_written(path: Path) -> None:
    store = SqliteStore(path)
    store._connection.execute("PRAGMA query_only = ON")  # what a lack of permission looks like, also to root
    assert error_of(lambda: store.acquire_lease("ha1", HA1, T0, 3.0)).reason == "read-only"
    store.close()
