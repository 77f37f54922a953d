"""The state store in Redis or Valkey, shared by home agents on many hosts.

Every change is one Lua script, which the server runs as a whole: the check of the fencing token and the write it
guards cannot be separated. What survives the server's own death depends on its settings (``appendfsync``) or, with
``min_replicas``, on its replicas: see docs/operations.md.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Any, TypeVar

from msgspec.structs import replace

from control.cluster.certificate_chains import pack_chain, read_chain
from control.cluster.redis_address import RedisAddress
from control.cluster.redis_connection import RedisConnection
from control.cluster.redis_records import (
    binding_from_text,
    binding_to_text,
    lease_from_text,
    node_from_text,
    traffic_from_text,
)
from control.cluster.store import (
    BindingRecord,
    ClaimedNode,
    FencedOut,
    Lease,
    LeaseHeld,
    LeaseLost,
    LeaseRecord,
    NodeRecord,
)
from control.wire import address_text

SCHEMA_VERSION = 1
DEFAULT_TIMEOUT_S = 1.0
# The braces keep all keys on one node of a Redis Cluster.
DEFAULT_PREFIX = "{homeagent}:"
_CLAIMED_WIDTH = 5
_Record = TypeVar("_Record")


class RedisStore:
    """A :class:`control.cluster.store.StateStore` on a server. To be used by one thread at a time.

    Attributes:
        refused_records: records that were left out because they could not be understood, by kind.
    """

    def __init__(
        self, address: RedisAddress, *, timeout_s: float = DEFAULT_TIMEOUT_S, prefix: str = DEFAULT_PREFIX
    ) -> None:
        """Open the store, creating it where the server has none.

        Args:
            address: where it is.
            timeout_s: seconds until an unanswered request counts as failed.
            prefix: what its keys begin with.

        Raises:
            StoreError: it cannot be reached, or is not a store this version understands; nothing was changed.
        """
        self.refused_records: Counter[str] = Counter()
        self._connection = RedisConnection(address, prefix, timeout_s)
        self.incarnation()

    def close(self) -> None:
        """See :meth:`control.cluster.store.StateStore.close`."""
        self._connection.close()

    def incarnation(self) -> str:
        """See :meth:`control.cluster.store.StateStore.incarnation`."""
        self._connection.command("SET", ":schema", SCHEMA_VERSION, "NX")
        self._connection.command("SET", ":generation", secrets.token_hex(8), "NX")
        schema = _text(self._connection.command("GET", ":schema"))
        if schema != str(SCHEMA_VERSION):
            raise self._connection.error(
                "newer-schema",
                f"was written by a newer version (schema {schema}, this one knows {SCHEMA_VERSION}).",
                "Upgrade this home agent, or name another database in cluster.store.",
            )
        generation = _text(self._connection.command("GET", ":generation"))
        return f"{generation}-{self._connection.run_id()}"

    def acquire_lease(
        self, name: str, address: IPv6Address, now: float, duration: float, *, capacity: int = 0
    ) -> Lease:
        """See :meth:`control.cluster.store.StateStore.acquire_lease`."""
        expires_at = now + duration
        token = self._run("acquire_lease", name, repr(now), repr(expires_at), capacity, str(address), stored=True)
        return Lease(name, int(token), expires_at)

    def renew_lease(self, lease: Lease, now: float, duration: float) -> Lease:
        """See :meth:`control.cluster.store.StateStore.renew_lease`."""
        expires_at = now + duration
        if self._run("renew_lease", lease.home_agent, lease.token, repr(expires_at)) == b"lease-lost":
            raise LeaseLost(lease.home_agent, lease.token)
        return Lease(lease.home_agent, lease.token, expires_at)

    def leases(self) -> list[LeaseRecord]:
        """See :meth:`control.cluster.store.StateStore.leases`."""
        return sorted(self._hash(":leases", "lease", lease_from_text), key=lambda lease: lease.home_agent)

    def claim(
        self, failed: str, by: Lease, now: float, *, force: bool = False, limit: int | None = None
    ) -> list[ClaimedNode]:
        """See :meth:`control.cluster.store.StateStore.claim`."""
        most = -1 if limit is None else limit
        # Run again, it would claim further nodes, and nobody would be told of the first ones.
        arguments = (failed, by.home_agent, by.token, repr(now), "force" if force else "", most)
        verdict, *rest = self._connection.run("claim", *arguments, stored=True, once=True)
        if verdict == b"lease-lost":
            raise LeaseLost(by.home_agent, by.token)
        if verdict == b"lease-held":
            raise LeaseHeld(failed, float(rest[0]) - now)
        rows = [rest[index : index + _CLAIMED_WIDTH] for index in range(0, len(rest), _CLAIMED_WIDTH)]
        claimed = (self._claimed_node(row, by.home_agent) for row in rows)
        return [node for node in claimed if node is not None]

    def write_bindings(self, lease: Lease, bindings: Iterable[BindingRecord], now: float | None = None) -> None:
        """See :meth:`control.cluster.store.StateStore.write_bindings`."""
        self._write_bindings("all", lease, bindings, now)

    def write_missing(
        self, lease: Lease, bindings: Iterable[BindingRecord], now: float | None = None
    ) -> list[IPv6Address]:
        """See :meth:`control.cluster.store.StateStore.write_missing`."""
        return sorted(self._write_bindings("missing", lease, bindings, now))

    def remove_bindings(self, lease: Lease, home_addresses: Iterable[IPv6Address]) -> None:
        """See :meth:`control.cluster.store.StateStore.remove_bindings`."""
        self._write("remove_bindings", lease, [str(address) for address in home_addresses])

    def bindings(self, owner: str) -> list[BindingRecord]:
        """See :meth:`control.cluster.store.StateStore.bindings`."""
        found = self._hash(f":bindings:{owner}", "binding", lambda key, text: binding_from_text(key, owner, text))
        return sorted(found, key=lambda binding: binding.home_address)

    def note_traffic(self, lease: Lease, last_traffic: Mapping[str, float]) -> None:
        """See :meth:`control.cluster.store.StateStore.note_traffic`."""
        arguments: list[str | int] = []
        for identity, at in last_traffic.items():
            arguments += (identity, repr(at))
        self._write("note_traffic", lease, arguments)

    def write_certificates(self, lease: Lease, chains: Mapping[str, Sequence[bytes]]) -> None:
        """See :meth:`control.cluster.store.StateStore.write_certificates`."""
        arguments: list[str | int | bytes] = []
        for identity, chain in chains.items():
            arguments += (identity, pack_chain(chain))
        self._write("write_certificates", lease, arguments)

    def certificates(self, owner: str, after: str, limit: int) -> list[tuple[str, tuple[bytes, ...]]]:
        """See :meth:`control.cluster.store.StateStore.certificates`."""
        lowest = f"({after}" if after else "-"
        found = self._connection.command("ZRANGEBYLEX", f":members:{owner}", lowest, "+", "LIMIT", 0, limit)
        packed = self._connection.command("HMGET", ":certificates", *found) if found else []
        return [
            (_text(identity), read_chain(each, self.refused_records))
            for identity, each in zip(found, packed, strict=True)
        ]

    def nodes(self, owner: str) -> list[NodeRecord]:
        """See :meth:`control.cluster.store.StateStore.nodes`."""
        found = self._hash(f":nodes:{owner}", "node", lambda key, text: node_from_text(key, owner, text))
        if found:
            times = self._connection.command("HMGET", ":traffic", *(node.identity for node in found))
            found = [self._with_traffic(node, at) for node, at in zip(found, times, strict=True)]
        return sorted(found, key=lambda node: node.identity.encode())

    def home_addresses(self) -> list[tuple[str, IPv6Address]]:
        """See :meth:`control.cluster.store.StateStore.home_addresses`."""
        owners = sorted(_text(owner) for owner in self._connection.command("SMEMBERS", ":agents"))
        nodes = [node for owner in owners for node in self.nodes(owner)]
        nodes.sort(key=lambda node: (-node.last_seen, node.identity.encode()))
        return [(node.identity, node.home_address) for node in nodes]

    def _write_bindings(
        self, which: str, lease: Lease, bindings: Iterable[BindingRecord], now: float | None
    ) -> list[IPv6Address]:
        arguments: list[str | int] = [repr(0.0 if now is None else now), which]
        for binding in bindings:
            arguments += (
                address_text(binding.home_address),
                binding_to_text(binding),
                binding.identity,
                address_text(binding.home_agent_address),
                address_text(binding.care_of_address),
            )
        return [IPv6Address(_text(taken)) for taken in self._write("write_bindings", lease, arguments)]

    def _run(self, name: str, *arguments: str | int | bytes, stored: bool = False) -> Any:
        return self._connection.run(name, *arguments, stored=stored)

    def _write(self, name: str, lease: Lease, arguments: Sequence[str | int | bytes]) -> list[bytes]:
        verdict, *rest = self._run(name, lease.home_agent, lease.token, *arguments, stored=True)
        if verdict == b"fenced-out":
            raise FencedOut(lease.home_agent, lease.token)
        return list(rest)

    def _hash(self, key: str, kind: str, make: Callable[[str, str], _Record]) -> list[_Record]:
        """All fields of a hash that can be understood."""
        answer = self._connection.command("HGETALL", key)
        pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
        found = (self._read(kind, make, name, value) for name, value in pairs)
        return [record for record in found if record is not None]

    def _claimed_node(self, row: list[bytes], owner: str) -> ClaimedNode | None:
        identity, node, traffic, home_address, binding = row
        record = self._read("node", lambda key, text: node_from_text(key, owner, text), identity, node)
        if record is None:
            return None
        record = self._with_traffic(record, traffic)
        if not home_address:
            return ClaimedNode(record, None)
        made = self._read("binding", lambda key, text: binding_from_text(key, owner, text), home_address, binding)
        return ClaimedNode(record, made)

    def _with_traffic(self, node: NodeRecord, value: bytes | None) -> NodeRecord:
        if not value:
            return node
        at = self._read("traffic", lambda _, text: traffic_from_text(text), node.identity.encode(), value)
        return node if at is None else replace(node, last_traffic=at)

    def _read(self, kind: str, make: Callable[[str, str], _Record], key: bytes, value: bytes) -> _Record | None:
        """One record, None if it is not what this version writes, which is counted."""
        try:
            return make(_text(key), _text(value))
        except ValueError:  # BadRecord, or no UTF-8
            self.refused_records[kind] += 1
            return None


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
