"""What is asked of the state store about the nodes of a failed home agent."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.bootstrap.urgency import urgency
from control.cluster.store import ClaimedNode, Lease, LeaseRecord, StateStore


def priority(wall: float, claimed: ClaimedNode) -> float:
    """Which claimed node comes first, smaller before larger; see :func:`control.bootstrap.urgency.urgency`."""
    expires_at = 0.0 if claimed.binding is None else claimed.binding.lifetime_expires_at
    return urgency(claimed.node.last_traffic, expires_at, wall)


def claim(home_agent: str, lease: Lease, wall: float, force: bool, limit: int, store: StateStore) -> list[ClaimedNode]:
    """See :meth:`control.cluster.store.StateStore.claim`."""
    return store.claim(home_agent, lease, wall, force=force, limit=limit)


def left_behind(dead: LeaseRecord, living: list[str], store: StateStore) -> int:
    """How many nodes a failed agent had: those it still has, and those that others have claimed already."""
    claimed = (record.home_agent_address == dead.address for name in living for record in store.bindings(name))
    return len(store.nodes(dead.home_agent)) + sum(claimed)


def unfinished(store: StateStore, name: str, address: IPv6Address) -> list[ClaimedNode]:
    """Nodes that a home agent has claimed and not yet brought back, as the store knows them.

    Args:
        store: the state store.
        name: the home agent's name in the cluster.
        address: its home agent address.

    Raises:
        StoreError: the store cannot be read.
    """
    nodes = {node.identity: node for node in store.nodes(name)}
    return [
        ClaimedNode(nodes[record.identity], record)
        for record in store.bindings(name)
        if record.home_agent_address != address
        and record.identity in nodes
        and nodes[record.identity].home_address == record.home_address
    ]
