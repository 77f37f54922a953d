"""The state store: what a home agent must not forget, and what another one needs to take its place.

A home agent holds a *lease* while it lives. Each lease carries a token, a number that only grows and is never given
out twice. Whoever writes shows its token; once another agent has claimed its nodes the token is void and every later
write raises :class:`FencedOut`, however late it comes. That is what keeps two agents from both answering for a node.

All times are wall-clock seconds since the epoch, passed in by the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import Protocol

from control.records import Record


class StoreError(Exception):
    """The state store could not do what was asked; nothing of it was done.

    Attributes:
        reason: a short stable slug, fit for a metric label: ``locked``, ``disk-full``, ``read-only``, ``cannot-open``,
            ``not-a-database``, ``foreign-database``, ``newer-schema``, ``corrupt``, ``input-output``,
            ``database``, ``fenced-out``, ``lease-lost``, ``lease-held`` or ``name-taken``; of a server also
            ``unreachable``, ``timeout``, ``access``, ``loading`` or ``not-replicated``.
        remedy: one sentence that says what an operator can do.
    """

    def __init__(self, reason: str, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.reason = reason
        self.remedy = remedy


class FencedOut(StoreError):
    """The writer's lease is no longer valid: another agent claimed its nodes, or a newer process took its name."""

    def __init__(self, home_agent: str, token: int) -> None:
        super().__init__(
            "fenced-out",
            f"The lease {token} of home agent {home_agent} is void, so nothing was written.",
            "Acquire a new lease and read the nodes and bindings again: some may belong to another agent now.",
        )


class LeaseLost(StoreError):
    """The lease to renew, or to claim by, is gone."""

    def __init__(self, home_agent: str, token: int) -> None:
        super().__init__(
            "lease-lost",
            f"The lease {token} of home agent {home_agent} is gone.",
            "Acquire a new lease and read the nodes and bindings again: some may belong to another agent now.",
        )


class LeaseHeld(StoreError):
    """The home agent whose nodes were to be claimed is alive."""

    def __init__(self, home_agent: str, seconds_left: float) -> None:
        super().__init__(
            "lease-held",
            f"Home agent {home_agent} is alive: its lease runs for another {seconds_left:.1f} s.",
            "Stop it first, or force the takeover.",
        )


class Lease(Record, frozen=True):
    """The right to write in the name of a home agent.

    Attributes:
        home_agent: its name in the cluster.
        token: fencing token; larger than that of every lease before it.
        expires_at: when others may consider the agent dead.
    """

    home_agent: str
    token: int
    expires_at: float


class LeaseRecord(Record, frozen=True):
    """A lease as the others see it.

    Attributes:
        home_agent: name of the holder in the cluster.
        address: its home agent address.
        token: fencing token.
        expires_at: when the holder is considered dead unless it renewed.
        capacity: how many nodes it is made for, 0 if it did not say.
    """

    home_agent: str
    address: IPv6Address
    token: int
    expires_at: float
    capacity: int = 0


class NodeRecord(Record, frozen=True):
    """A mobile node the cluster serves.

    Attributes:
        identity: its IKE identity as text.
        home_address: the home address it has.
        care_of_address: where it was seen last, None if never.
        owner: name of the home agent responsible for it; set by the store from the writer's lease.
        fence: token of the lease under which it was written last; set by the store.
        last_seen: when it was heard last, 0.0 if unknown.
        last_traffic: when packets of it were tunnelled last, to within a minute or two, 0.0 if unknown; set by
            :meth:`StateStore.note_traffic`, and by nothing else.
    """

    identity: str
    home_address: IPv6Address
    care_of_address: IPv6Address | None = None
    owner: str = ""
    fence: int = 0
    last_seen: float = 0.0
    last_traffic: float = 0.0


class BindingRecord(Record, frozen=True):
    """A binding that was or is about to be acknowledged.

    Attributes:
        home_address: of the node.
        care_of_address: of the node.
        home_agent: name of the home agent that answers for it; set by the store from the writer's lease, so that
            after a claim it names the claimer.
        home_agent_address: the address of the agent the node registered with. After a claim it is still the failed
            agent's, until the node has registered with the claimer: a binding with a foreign address here is one
            whose node has yet to be brought back.
        identity: IKE identity of the node as text.
        lifetime_expires_at: end of its lifetime.
        sequence_number: of the last Binding Update.
        key_management: whether the node asked for key management mobility (K bit).
        mobile_networks: prefixes of the network behind it; none unless it is a mobile router.
    """

    home_address: IPv6Address
    care_of_address: IPv6Address
    home_agent: str
    home_agent_address: IPv6Address
    identity: str
    lifetime_expires_at: float
    sequence_number: int
    key_management: bool = False
    mobile_networks: tuple[IPv6Network, ...] = ()


class ClaimedNode(Record, frozen=True):
    """What a claimer needs to bring a node back.

    Attributes:
        node: the node, already owned by the claimer.
        binding: its binding with the failed agent, perhaps past its lifetime; None if it had none.
    """

    node: NodeRecord
    binding: BindingRecord | None


class StateStore(Protocol):
    """Nodes, bindings and leases, durable once a method has returned. Every method may raise StoreError.

    Attributes:
        refused_records: records that were left out because they could not be understood, by kind.
    """

    refused_records: Counter[str]

    def acquire_lease(
        self, name: str, address: IPv6Address, now: float, duration: float, *, capacity: int = 0
    ) -> Lease:
        """A new lease in the name of a home agent; a lease it still had, say from before a crash, becomes void.

        Args:
            name: name of the home agent in the cluster.
            address: its home agent address.
            now: the time.
            duration: seconds until it lapses.
            capacity: how many nodes the agent is made for, 0 for no statement.
        """

    def renew_lease(self, lease: Lease, now: float, duration: float) -> Lease:
        """The same lease, good for another ``duration`` seconds; also after it lapsed, if nobody claimed it yet.

        Raises:
            LeaseLost: another agent claimed it, or a newer process took the name.
        """

    def leases(self) -> list[LeaseRecord]:
        """All leases that were not claimed, by name."""

    def claim(
        self, failed: str, by: Lease, now: float, *, force: bool = False, limit: int | None = None
    ) -> list[ClaimedNode]:
        """Make the nodes and bindings of a failed home agent those of another; from now on it is fenced out.

        Large numbers are better claimed in parts, with renewals of the own lease in between: repeat until the list is
        empty. While nodes are left the agent stays among the lapsed ones, so that others can carry on, or join in.
        Of several claimers each node goes to one. An agent without a lease, which left in an orderly way, can be
        claimed too.

        Args:
            failed: name of the failed home agent.
            by: the claimer's own lease.
            now: the time.
            force: claim even from an agent whose lease still runs, because an operator says so.
            limit: claim at most that many nodes now.

        Raises:
            LeaseLost: the claimer's own lease is void or has lapsed.
            LeaseHeld: the agent is alive, perhaps again, and ``force`` was not given.
        """

    def write_bindings(self, lease: Lease, bindings: Iterable[BindingRecord], now: float | None = None) -> None:
        """Add or replace bindings and their nodes, all or none; they become the lease holder's.

        A binding that another agent held moves here: its node has registered with this one. Bindings of the same
        node that this agent claimed, and that still name the failed agent's address, are done with and removed.

        Args:
            lease: the writer's.
            bindings: at most one for a home address.
            now: the time, if their nodes were heard just now.

        Raises:
            FencedOut: the lease is void.
        """

    def write_missing(
        self, lease: Lease, bindings: Iterable[BindingRecord], now: float | None = None
    ) -> list[IPv6Address]:
        """Write bindings again that the store may have lost, but for those that are another agent's by now.

        Args:
            lease: the writer's.
            bindings: as for :meth:`write_bindings`.
            now: the same.

        Returns:
            The home addresses that are, or whose nodes are, another agent's; nothing of them was written.

        Raises:
            FencedOut: the lease is void.
        """

    def remove_bindings(self, lease: Lease, home_addresses: Iterable[IPv6Address]) -> None:
        """Remove bindings, all or none; those that meanwhile belong to another agent are left alone.

        Raises:
            FencedOut: the lease is void.
        """

    def bindings(self, owner: str) -> list[BindingRecord]:
        """The bindings of one home agent, by home address; see :attr:`BindingRecord.home_agent_address`."""

    def note_traffic(self, lease: Lease, last_traffic: Mapping[str, float]) -> None:
        """Note of nodes, by identity, when they had traffic last; those that are not the lease holder's are left alone.

        Raises:
            FencedOut: the lease is void.
        """

    def write_certificates(self, lease: Lease, chains: Mapping[str, Sequence[bytes]]) -> None:
        """Keep the certificates that nodes, by identity, have proved themselves with: DER, their own first.

        Whoever reads them has to check them, as it would those that come from the nodes.

        Raises:
            FencedOut: the lease is void.
        """

    def certificates(self, owner: str, after: str, limit: int) -> list[tuple[str, tuple[bytes, ...]]]:
        """Some of the nodes of one home agent, by identity, with the certificates they have, if these are known.

        Args:
            owner: the home agent.
            after: the identity that the one before was the last of; begin with "".
            limit: most nodes at once; if there are fewer, these are the last.
        """

    def nodes(self, owner: str) -> list[NodeRecord]:
        """The nodes of one home agent, by identity."""

    def home_addresses(self) -> list[tuple[str, IPv6Address]]:
        """The identities of all nodes of the cluster with the home address each has or had last, those
        first that were heard last.
        """

    def incarnation(self) -> str:
        """A name that changes when the store may have lost what it had: it was emptied, restarted or failed over.

        After a change the home agents write again what they know; leases may be gone.
        """

    def close(self) -> None:
        """Let go of the store."""
