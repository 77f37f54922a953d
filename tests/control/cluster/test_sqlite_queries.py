"""SQLite's plans for the queries of the store."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from control.cluster.sqlite_store import SqliteStore
from control.cluster.store import BindingRecord

HA2 = IPv6Address("2001:db8:a2::1")
T0 = 1_700_000_000.0


def test_no_operation_on_a_node_reads_through_the_nodes_of_its_agent(
    open_store: Callable[[], SqliteStore], make_binding: Callable[..., BindingRecord]
) -> None:
    """A query that takes the wrong index costs 100 ms a binding at 100,000 nodes; the planner tells which it takes."""
    store = open_store()
    statements: list[str] = []
    store._connection.set_trace_callback(statements.append)
    lease = store.acquire_lease("ha2", HA2, T0, 3.0)
    store.write_bindings(lease, [make_binding(1)], T0)
    store.remove_bindings(lease, [make_binding(1).home_address])
    store.claim("ha1", lease, T0)
    store._connection.set_trace_callback(None)
    plans = [
        row[3]
        for statement in statements
        if statement.startswith(("INSERT", "UPDATE", "DELETE", "SELECT", "\n"))
        for row in store._connection.execute(f"EXPLAIN QUERY PLAN {statement}")
    ]
    per_node = [plan for plan in plans if "bindings" in plan or plan.startswith("SEARCH b ")]
    assert "SEARCH b USING INDEX bindings_by_node (identity=? AND home_agent=?) LEFT-JOIN" in per_node
    assert "SEARCH bindings USING INDEX bindings_by_node (identity=? AND home_agent=?)" in per_node
    assert {plan for plan in plans if plan.startswith("SCAN")} <= {"SCAN n"}  # the part claimed, of limited size
