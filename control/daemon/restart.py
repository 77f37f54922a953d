"""What a home agent finds when it starts: its own bindings, and nodes it had claimed but not yet brought back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from msgspec.structs import replace

from control.bootstrap.takeover import NodeToRecover
from control.cluster.store import BindingRecord, ClaimedNode, NodeRecord, StateStore
from control.daemon.binding_writer import binding_of
from control.daemon.membership import Membership
from control.daemon.store_thread import StoreThread
from control.daemon.tunnels import Tunnels
from control.home_agent.engine import HomeAgent
from control.mobility.binding_cache import Binding

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stored:
    nodes: list[NodeRecord]
    bindings: list[BindingRecord]
    home_addresses: list[tuple[str, IPv6Address]]


async def restore(
    name: str, agent: HomeAgent, store: StoreThread, tunnels: Tunnels, membership: Membership, wall: float
) -> list[NodeToRecover]:
    """Fill the binding cache from the store and make the data path agree with it.

    Packets flow by what is pinned all the while; only differences are written. IKE SAs did not survive: the nodes
    returned here are to be given new ones.

    Args:
        name: this agent's name in the cluster.
        agent: its engine, still without bindings.
        store: the state store.
        tunnels: the data path.
        membership: knows which nodes may be brought back.
        wall: seconds since the epoch.

    Raises:
        StoreError: the store cannot be read.
        DatapathError: the data path does not take the bindings.
    """
    stored = await store.run(lambda store: _read(store, name))
    nodes = {node.identity: node for node in stored.nodes}
    stale: list[IPv6Address] = []
    unfinished: list[ClaimedNode] = []
    renew: list[NodeToRecover] = []
    expected: list[Binding] = []
    for record in stored.bindings:
        node = nodes.get(record.identity)
        if record.lifetime_expires_at <= wall or node is None or node.home_address != record.home_address:
            stale.append(record.home_address)  # past its lifetime, or the node has another home address by now
            continue
        if record.home_agent_address != agent.address:
            unfinished.append(ClaimedNode(node, record))
            continue
        if agent.directory.find(record.identity) is None:
            _LOG.warning("%s is not authorised any more: its binding ends", record.identity)
            stale.append(record.home_address)
            continue
        agent.directory.restore(record.identity, record.home_address)
        binding = _with_authorised_networks(binding_of(record), agent)
        agent.registrations.rules.restore(binding)
        expected.append(binding)
        renew += _renewal(agent, record, wall)
    for identity, home_address in stored.home_addresses:
        agent.directory.restore_assigned(identity, home_address)
    lease = membership.lease
    if stale and lease is not None:
        await store.run(lambda store: store.remove_bindings(lease, stale))
    changes = tunnels.reconcile(expected)
    if expected or changes.removed:
        _LOG.info(
            "%d bindings restored; data path: %d added, %d changed, %d removed",
            len(expected),
            len(changes.added),
            len(changes.changed),
            len(changes.removed),
        )
    if changes.left:
        _LOG.info("%d tunnels over IPv4 stay, which other programs have made", len(changes.left))
    return [*membership.nodes_to_recover(unfinished), *renew]


def _with_authorised_networks(binding: Binding, agent: HomeAgent) -> Binding:
    """The binding without networks that an operator has taken from the node meanwhile."""
    authorised = agent.directory.mobile_networks(binding.identity)
    kept = tuple(
        network for network in binding.mobile_networks if any(network.subnet_of(allowed) for allowed in authorised)
    )
    if kept != binding.mobile_networks:
        _LOG.warning("%s keeps only the networks it is still authorised for", binding.identity)
    return replace(binding, mobile_networks=kept)


def renewals(agent: HomeAgent, identities: Iterable[str], wall: float) -> Iterator[NodeToRecover]:
    """Those of these nodes that have a binding, to be given new IKE SAs.

    Args:
        agent: the engine that has the bindings.
        identities: nodes whose IKE SAs are gone.
        wall: seconds since the epoch.
    """
    for identity in identities:
        home_address = agent.directory.home_address(identity)
        binding = None if home_address is None else agent.registrations.rules.cache.get(home_address)
        if binding is not None:
            yield from _renewal(agent, binding, wall)


def _renewal(agent: HomeAgent, registered: BindingRecord | Binding, wall: float) -> Iterator[NodeToRecover]:
    """The node of a binding, unless no home agent can begin IKE with it."""
    authorised = agent.directory.find(registered.identity)
    if authorised is not None and not authorised.can_be_called:
        return
    yield NodeToRecover(
        identity=registered.identity,
        home_address=registered.home_address,
        care_of_address=registered.care_of_address,
        switch=False,
        # Later than nodes that nobody serves; first those whose next Binding Update is due first.
        priority=registered.lifetime_expires_at - wall,
    )


def _read(store: StateStore, name: str) -> _Stored:
    return _Stored(store.nodes(name), store.bindings(name), store.home_addresses())
