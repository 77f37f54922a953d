"""Home addresses for nodes that have none in a prefix yet (RFC 5026 section 5.3: the home agent assigns)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network

# Below this interface identifier routers and servers are commonly numbered by hand.
_FIRST_HOST = 0x1_0000
_SMALLEST_HOST_BITS = 20

# Anycast identifiers of a subnet (RFC 2526), the home agents' among them: the highest 128, which in a /64 have the
# universal/local bit cleared.
_ANYCAST_COUNT = 128
_ANYCAST_FIRST_IN_64 = 0xFDFF_FFFF_FFFF_FF80


class PoolExhausted(Exception):
    """Every address of the pool is in use."""

    def __init__(self, prefix: IPv6Network) -> None:
        super().__init__(f"no home address is left in {prefix}")


class HomeAddressPool:
    """Gives each identity an address of one prefix and takes it back.

    Addresses are given out in order and come back into use only after all others, so that a correspondent's late
    packets rarely meet a new owner. An identity that comes back gets the address it had, unless somebody else has it.
    """

    def __init__(
        self, prefix: IPv6Network, reserved: Iterable[IPv6Address] = (), part: IPv6Network | None = None
    ) -> None:
        """All free but the reserved ones.

        Args:
            prefix: where addresses come from; its low interface identifiers are left out where there is room, the
                anycast addresses of RFC 4291 section 2.6.1 and RFC 2526 always.
            reserved: addresses that are never to be given out; others than of the prefix are ignored.
            part: give out only addresses of this part of the prefix, all of them where it is less than the whole.
        """
        self._prefix = prefix
        self._base = int(prefix.network_address)
        host_bits = 128 - prefix.prefixlen
        self._anycast = _anycast_hosts(host_bits)
        self._first = _FIRST_HOST if host_bits >= _SMALLEST_HOST_BITS else 1
        self._end = 1 << host_bits if host_bits == 64 else self._anycast.start
        if part is not None and part != prefix:
            # Host 0 of the prefix is the subnet-router anycast address.
            self._first = max(1, int(part.network_address) - self._base)
            self._end = min(self._end, int(part.broadcast_address) - self._base + 1)
        self._next = self._first
        self._reserved = {address for address in reserved if address in prefix}
        self._owners: dict[IPv6Address, str] = {}
        self._by_identity: dict[str, IPv6Address] = {}
        self._previous: dict[str, IPv6Address] = {}

    def __len__(self) -> int:
        return len(self._by_identity)

    def allocate(self, identity: str) -> IPv6Address:
        """The address of an identity: the one it has, else the one it had, else a free one.

        Raises:
            PoolExhausted: none is free.
        """
        known = self._by_identity.get(identity)
        if known is not None:
            return known
        previous = self._previous.get(identity)
        if previous is not None and self.take(previous, identity):
            return previous
        # Among that many addresses one is neither taken nor anycast, if the pool has so many at all.
        candidates = len(self._owners) + len(self._reserved) + len(self._anycast) + 1
        for _ in range(min(candidates, self._end - self._first)):
            host = self._next
            self._next = host + 1 if host + 1 < self._end else self._first
            address = IPv6Address(self._base + host)
            if host not in self._anycast and address not in self._owners and address not in self._reserved:
                self._give(address, identity)
                return address
        raise PoolExhausted(self._prefix)

    def take(self, address: IPv6Address, identity: str, *, anywhere: bool = False) -> bool:
        """Give an identity without an address the one it wishes. Returns whether that was possible.

        Args:
            address: the wish.
            identity: whose it is.
            anywhere: also an address of the prefix that the pool would not give out by itself, as long as it is free
                and not an anycast address.
        """
        host = int(address) - self._base
        within = address in self._prefix and host > 0 if anywhere else self._first <= host < self._end
        taken = address in self._owners or address in self._reserved
        if not within or taken or host in self._anycast or identity in self._by_identity:
            return False
        self._give(address, identity)
        return True

    def is_anothers(self, address: IPv6Address, identity: str) -> bool:
        """Whether an address is reserved, or another identity has it."""
        return address in self._reserved or self._owners.get(address, identity) != identity

    def reserve(self, address: IPv6Address, identity: str | None = None) -> None:
        """Take an address out of the pool.

        Args:
            address: one of the prefix; others are ignored.
            identity: who has it already. It gives back another address it may have here, and :meth:`release` frees
                this one; without an identity the address is never given out.
        """
        if address not in self._prefix:
            return
        if identity is None:
            self._reserved.add(address)
            return
        self.release(identity)
        previous_owner = self._owners.get(address)
        if previous_owner is not None:
            del self._by_identity[previous_owner]
        self._give(address, identity)

    def reserve_only(self, addresses: Iterable[IPv6Address]) -> None:
        """From now on these are the addresses that are never to be given out; who has one keeps it."""
        self._reserved = {address for address in addresses if address in self._prefix}

    def release(self, identity: str) -> None:
        """Give the address of an identity back; without effect if it has none."""
        address = self._by_identity.pop(identity, None)
        if address is not None:
            del self._owners[address]
            self._previous[identity] = address

    def _give(self, address: IPv6Address, identity: str) -> None:
        self._owners[address] = identity
        self._by_identity[identity] = address
        self._previous.pop(identity, None)


def _anycast_hosts(host_bits: int) -> range:
    """Interface identifiers that RFC 2526 reserves; none where they would be more than half of the prefix."""
    if host_bits == 64:
        return range(_ANYCAST_FIRST_IN_64, _ANYCAST_FIRST_IN_64 + _ANYCAST_COUNT)
    end = 1 << host_bits
    return range(end - _ANYCAST_COUNT, end) if host_bits >= 8 else range(end, end)
