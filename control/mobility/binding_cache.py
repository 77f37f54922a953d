"""The home agent's binding cache: where its mobile nodes are (RFC 6275 sections 9.1, 10.1, RFC 3963 section 6.1.1)."""

from __future__ import annotations

import heapq
from ipaddress import IPv6Address, IPv6Network

from msgspec.structs import replace

from control.mobility.mobile_networks import PrefixTable
from control.mobility.numbers import MAX_DELETE_BINDING_TIMEOUT_S
from control.records import Record

_HEAP_SLACK = 64
"""Outdated heap entries always tolerated, so that a small cache is not rebuilt over and over."""


class Binding(Record, frozen=True):
    """A home registration.

    Attributes:
        home_address: the address the mobile node keeps.
        care_of_address: where it is now.
        home_agent: address of the home agent it registered with; differs from ours for a node that was taken over
            and has not registered with us yet.
        identity: whom IKEv2 authenticated as the owner of the home address.
        lifetime_expires_at: end of the binding, wall-clock seconds since the epoch: it survives restarts.
        sequence_number: of the last Binding Update accepted.
        key_management: the K bit that was acknowledged: the IKE SA follows the node.
        link_local: the L bit: the link-local address with the same interface identifier is defended too.
        mobile_networks: prefixes of the network behind it; none unless it registered as a mobile router.
    """

    home_address: IPv6Address
    care_of_address: IPv6Address
    home_agent: IPv6Address
    identity: str
    lifetime_expires_at: float
    sequence_number: int
    key_management: bool = False
    link_local: bool = False
    mobile_networks: tuple[IPv6Network, ...] = ()

    @property
    def mobile_router(self) -> bool:
        """Whether it was registered with the R bit."""
        return bool(self.mobile_networks)


class _Deregistered(Record, frozen=True):
    """What is remembered of a binding that its node deleted."""

    identity: str
    sequence_number: int
    forget_at: float


class BindingCache:
    """Bindings by home address, with their ends of life in order.

    Home registrations are never evicted (RFC 6275 section 10.3.1), so the capacity is for admission: ask ``full``
    before a new binding is promised. ``put`` itself never refuses, as the binding is stored by then.

    Attributes:
        prefixes: the networks behind the mobile routers among them.
    """

    def __init__(self, capacity: int) -> None:
        """An empty cache.

        Args:
            capacity: bindings to hold at most, as far as admission goes.

        Raises:
            ValueError: the capacity is not positive.
        """
        if capacity < 1:
            raise ValueError(f"capacity {capacity}")
        self.capacity = capacity
        self.prefixes = PrefixTable()
        self._bindings: dict[IPv6Address, Binding] = {}
        self._deregistered: dict[IPv6Address, _Deregistered] = {}
        # (end of life, home address); an entry counts only while the binding still ends then.
        self._ends: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._bindings)

    @property
    def full(self) -> bool:
        """Whether a new binding should be refused."""
        return len(self._bindings) >= self.capacity

    def bindings(self) -> list[Binding]:
        """All bindings, in no order: a snapshot."""
        return list(self._bindings.values())

    def get(self, home_address: IPv6Address) -> Binding | None:
        """The binding of a home address; it may have ended if :meth:`expire` was not called since."""
        return self._bindings.get(home_address)

    def live(self, home_address: IPv6Address, now: float) -> Binding | None:
        """The same, if it has not ended by ``now`` (wall-clock seconds since the epoch)."""
        binding = self._bindings.get(home_address)
        return binding if binding is not None and binding.lifetime_expires_at > now else None

    def put(self, binding: Binding) -> None:
        """Enter a binding in place of the one its home address may have."""
        home_address = binding.home_address
        if self._deregistered:
            self._deregistered.pop(home_address, None)
        if self._bindings.setdefault(home_address, binding) is not binding:
            self.remove(home_address)
            self._bindings[home_address] = binding
        if binding.mobile_networks:
            self.prefixes.add(home_address, binding.mobile_networks)
        heapq.heappush(self._ends, (binding.lifetime_expires_at, int(home_address)))
        if len(self._ends) > 2 * len(self._bindings) + _HEAP_SLACK:
            self._rebuild_ends()

    def remove(self, home_address: IPv6Address) -> Binding | None:
        """Take a binding out and return it; None if there was none."""
        binding = self._bindings.pop(home_address, None)
        if binding is not None and binding.mobile_networks:
            self.prefixes.remove(home_address, binding.mobile_networks)
        return binding

    def deregister(self, home_address: IPv6Address, identity: str, sequence_number: int, now: float) -> None:
        """Take a binding out that its node deleted.

        The sequence number is remembered for MAX_DELETE_BCE_TIMEOUT, so that an older Binding Update still under way
        does not bring the binding back (RFC 6275 section 10.3.2).
        """
        self.remove(home_address)
        self._deregistered.pop(home_address, None)  # so that the dictionary stays in order of time
        self._deregistered[home_address] = _Deregistered(identity, sequence_number, now + MAX_DELETE_BINDING_TIMEOUT_S)

    def deregistered_sequence_number(self, home_address: IPv6Address, identity: str, now: float) -> int | None:
        """The sequence number with which ``identity`` lately deleted its binding, None if it did not."""
        deregistered = self._deregistered.get(home_address) if self._deregistered else None
        if deregistered is None or deregistered.identity != identity or deregistered.forget_at <= now:
            return None
        return deregistered.sequence_number

    def shift(self, seconds: float, latest: float) -> None:
        """The clock was set: lifetimes end by so much later, or earlier, but by ``latest`` (wall-clock seconds)."""
        for home_address, binding in self._bindings.items():
            end = min(binding.lifetime_expires_at + seconds, latest)
            self._bindings[home_address] = replace(binding, lifetime_expires_at=end)
        self._rebuild_ends()

    def expire(self, now: float) -> list[Binding]:
        """Take out and return all bindings whose lifetime has passed.

        Args:
            now: wall-clock seconds since the epoch.
        """
        self._forget_deregistered(now)
        expired = []
        while self._ends and self._ends[0][0] <= now:
            binding = self._current(heapq.heappop(self._ends))
            if binding is not None:
                self.remove(binding.home_address)
                expired.append(binding)
        return expired

    def _current(self, end: tuple[float, int]) -> Binding | None:
        """The binding a heap entry speaks of, None if the entry is out of date."""
        binding = self._bindings.get(IPv6Address(end[1]))
        return binding if binding is not None and binding.lifetime_expires_at == end[0] else None

    def _rebuild_ends(self) -> None:
        self._ends = [(binding.lifetime_expires_at, int(address)) for address, binding in self._bindings.items()]
        heapq.heapify(self._ends)

    def _forget_deregistered(self, now: float) -> None:
        # In order of insertion, and all stay equally long: the first that must stay ends the search.
        while self._deregistered:
            address, deregistered = next(iter(self._deregistered.items()))
            if deregistered.forget_at > now:
                return
            del self._deregistered[address]
