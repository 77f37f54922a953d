"""How survivors divide what a failed home agent leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control.cluster.store import LeaseRecord


def capacities(leases: Iterable[LeaseRecord], failed: Iterable[str]) -> dict[str, int]:
    """The living home agents with what each is made for.

    Args:
        leases: all in the store.
        failed: names of those that have failed.

    Returns:
        By name. Where one of them made no statement all count the same.
    """
    gone = set(failed)
    living = {record.home_agent: record.capacity for record in leases if record.home_agent not in gone}
    return living if all(living.values()) else dict.fromkeys(living, 1)


def share(total: int, own: str, by_capacity: Mapping[str, int]) -> int:
    """How many of ``total`` nodes are for one home agent; all shares together are at least ``total``.

    Args:
        total: nodes to divide.
        own: name of the home agent.
        by_capacity: see :func:`capacities`; without this agent in it, it takes everything.
    """
    everyone = sum(by_capacity.values())
    return -(-total * by_capacity[own] // everyone) if by_capacity.get(own) else total
