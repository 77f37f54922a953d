"""The tables of the SQLite state store, and which files are taken for one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from control.cluster.store import StoreError

SCHEMA_VERSION = 4
APPLICATION_ID = 0x6D697036  # "mip6"

_CERTIFICATES = "CREATE TABLE certificates (identity TEXT PRIMARY KEY, chain BLOB NOT NULL) STRICT, WITHOUT ROWID"
_TABLES = (
    """CREATE TABLE fence (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        last_token INTEGER NOT NULL
    ) STRICT""",
    "INSERT INTO fence VALUES (0, 0)",
    """CREATE TABLE leases (
        home_agent TEXT PRIMARY KEY,
        address BLOB NOT NULL,
        token INTEGER NOT NULL,
        expires_at REAL NOT NULL,
        capacity INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE nodes (
        identity TEXT PRIMARY KEY,
        home_address BLOB NOT NULL,
        care_of_address BLOB,
        owner TEXT NOT NULL,
        fence INTEGER NOT NULL,
        last_seen REAL NOT NULL,
        last_traffic REAL NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX nodes_by_owner ON nodes (owner)",
    """CREATE TABLE bindings (
        home_address BLOB PRIMARY KEY,
        care_of_address BLOB NOT NULL,
        home_agent TEXT NOT NULL,
        home_agent_address BLOB NOT NULL,
        identity TEXT NOT NULL,
        lifetime_expires_at REAL NOT NULL,
        sequence_number INTEGER NOT NULL,
        key_management INTEGER NOT NULL,
        mobile_networks TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX bindings_by_node ON bindings (identity, home_agent)",
    "CREATE INDEX bindings_by_home_agent ON bindings (home_agent)",
    _CERTIFICATES,
)

# By the version that a file has: what makes it one of the next version.
_UPGRADES = {
    1: "ALTER TABLE bindings ADD COLUMN mobile_networks TEXT NOT NULL DEFAULT ''",
    2: "ALTER TABLE nodes ADD COLUMN last_traffic REAL NOT NULL DEFAULT 0",
    3: _CERTIFICATES,
}


def prepare_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in an empty file, or make sure that the file is a store this version understands.

    One of an older version is made one of this; a process of that version which has it open goes on with it.
    Called within a write transaction, so that of two processes that open a new file one creates it.

    Raises:
        StoreError: ``foreign-database`` or ``newer-schema``.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == APPLICATION_ID and version == SCHEMA_VERSION:
        return
    if application == APPLICATION_ID and version > SCHEMA_VERSION:
        raise StoreError(
            "newer-schema",
            f"The state store {path} was written by a newer version (schema {version}, this one knows "
            f"{SCHEMA_VERSION}).",
            "Upgrade this home agent, or name another file in cluster.store.",
        )
    if application == APPLICATION_ID and version in _UPGRADES:
        for older in range(version, SCHEMA_VERSION):
            connection.execute(_UPGRADES[older])
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return
    if application or version or connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise StoreError(
            "foreign-database",
            f"The database {path} belongs to another program.",
            "Name another file in cluster.store.",
        )
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
