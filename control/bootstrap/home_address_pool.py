"""Home addresses for nodes that come from another home prefix (RFC 5026 section 5.3.2: the home agent assigns)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network

# Below this interface identifier routers and servers are commonly numbered by hand.
_FIRST_HOST = 0x1_0000
_SMALLEST_HOST_BITS = 20


class PoolExhausted(Exception):
    """Every address of the pool is in use."""

    def __init__(self, prefix: IPv6Network) -> None:
        super().__init__(f"no home address is left in {prefix}")


class HomeAddressPool:
    """Gives each identity an address of one prefix and takes it back.

    Addresses are given out in order and come back into use only after all others, so that a correspondent's late
    packets rarely meet a new owner.
    """

    def __init__(self, prefix: IPv6Network, reserved: Iterable[IPv6Address] = ()) -> None:
        """All free but the reserved ones.

        Args:
            prefix: where addresses come from; its low interface identifiers are left out where there is room.
            reserved: addresses that belong to somebody already; others than of the prefix are ignored.
        """
        self._prefix = prefix
        host_bits = 128 - prefix.prefixlen
        # The all-zero interface identifier is the subnet-router anycast address (RFC 4291 section 2.6.1).
        self._first = _FIRST_HOST if host_bits >= _SMALLEST_HOST_BITS else 1
        self._end = 1 << host_bits
        self._next = self._first
        self._taken: set[IPv6Address] = {address for address in reserved if address in prefix}
        self._by_identity: dict[str, IPv6Address] = {}

    def __len__(self) -> int:
        return len(self._by_identity)

    def allocate(self, identity: str) -> IPv6Address:
        """The address of an identity: the one it has, else a free one.

        Raises:
            PoolExhausted: none is free.
        """
        known = self._by_identity.get(identity)
        if known is not None:
            return known
        for _ in range(len(self._taken) + 1):
            if self._next >= self._end:
                self._next = self._first
            address = self._prefix[self._next]
            self._next += 1
            if address not in self._taken:
                self._taken.add(address)
                self._by_identity[identity] = address
                return address
        raise PoolExhausted(self._prefix)

    def reserve(self, address: IPv6Address, identity: str | None = None) -> None:
        """Take an address out of the pool, for an identity that has it already if one is named."""
        if address not in self._prefix:
            return
        self._taken.add(address)
        if identity is not None:
            self._by_identity[identity] = address

    def release(self, identity: str) -> None:
        """Give the address of an identity back; without effect if it has none."""
        address = self._by_identity.pop(identity, None)
        if address is not None:
            self._taken.discard(address)
