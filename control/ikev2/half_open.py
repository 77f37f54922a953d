"""The half-open IKE SAs of strangers: how many there may be, in all and from one network (RFC 7296 section 2.6).

Nobody is counted out by a fixed number, as thousands of honest nodes may share a network. What one network may hold
depends on what is free: a /64 (IPv4: /24) as much as is left, its /48 (/16) twice that. So a flood from one /64 gets to
half of the room at most, one from a whole /48 to two thirds, and there always is some for others. Long before that,
cookies are asked of a network with an unusual number of half-open SAs, and then of everybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from control.ikev2.address import IpAddress, SocketAddress

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

_COOKIE_HOLD_S = 10.0
"""Once cookies are asked for, they are for this long: were one copy of a request answered with a cookie and a later
copy with an SA, the initiator would sign the request with the cookie and the responder check the one without."""
_MOST_HOLDS = 64
_MAPPED_IPV4 = 0xFFFF
_IPV6_NETWORKS = ((64, 1), (48, 2))
_IPV4_NETWORKS = ((120, 1), (112, 2))

Network = tuple[int, int]
"""Length of the prefix in bits, and its bits."""


class HalfOpenSas:
    """The SAs of strangers by where they came from and their SPI, counted by network.

    Its memory is bounded by ``limit``: a network that has no half-open SA is not remembered.

    Args:
        limit: most SAs in all.
        cookie_threshold: from this many SAs on, every stranger has to return a cookie; from half of them in one /64 or
            /24, or all of them in one /48 or /16, those of that network have to.
    """

    def __init__(self, limit: int, cookie_threshold: int) -> None:
        self._limit = limit
        self._cookie_threshold = cookie_threshold
        self._network_threshold = max(1, cookie_threshold // 2)
        self._sas: dict[tuple[SocketAddress, bytes], IkeSa] = {}
        self._counts: dict[Network, int] = {}
        self._cookies_until = float("-inf")
        self._holds: dict[Network, float] = {}

    def __len__(self) -> int:
        return len(self._sas)

    def get(self, remote: SocketAddress, spi: bytes) -> IkeSa | None:
        """The half-open SA that came from an address under the initiator's SPI."""
        return self._sas.get((remote, spi))

    def add(self, remote: SocketAddress, spi: bytes, sa: IkeSa) -> None:
        """``sa`` is half-open."""
        self._sas[remote, spi] = sa
        for network, _ in networks_of(remote.address):
            self._counts[network] = self._counts.get(network, 0) + 1

    def remove(self, remote: SocketAddress, spi: bytes) -> None:
        """The SA is not half-open any more, if it was."""
        if self._sas.pop((remote, spi), None) is None:
            return
        for network, _ in networks_of(remote.address):
            left = self._counts[network] - 1
            if left:
                self._counts[network] = left
            else:
                del self._counts[network]

    def everybody_needs_a_cookie(self, now: float) -> bool:
        """Whether strangers have to return cookies, wherever they are."""
        if len(self._sas) >= self._cookie_threshold:
            self._cookies_until = now + _COOKIE_HOLD_S
            return True
        return now < self._cookies_until

    def needs_cookie(self, address: IpAddress, now: float) -> bool:
        """Whether a stranger at ``address`` has to return a cookie."""
        if self.everybody_needs_a_cookie(now):
            return True
        if len(self._sas) < self._network_threshold and not self._holds:
            return False
        needed = False
        for network, weight in networks_of(address):
            if self._counts.get(network, 0) >= weight * self._network_threshold:
                self._hold(network, now)
                needed = True
            elif now < self._holds.get(network, now):
                needed = True
        return needed

    def has_room(self, address: IpAddress) -> bool:
        """Whether one more SA from ``address`` may be made."""
        free = self._limit - len(self._sas)
        return free > 0 and all(
            self._counts.get(network, 0) < weight * free for network, weight in networks_of(address)
        )

    def _hold(self, network: Network, now: float) -> None:
        if network not in self._holds and len(self._holds) >= _MOST_HOLDS:
            self._holds = {other: until for other, until in self._holds.items() if now < until}
            if len(self._holds) >= _MOST_HOLDS:
                self._cookies_until = now + _COOKIE_HOLD_S
                return
        self._holds[network] = now + _COOKIE_HOLD_S


def networks_of(address: IpAddress) -> Iterator[tuple[Network, int]]:
    """The networks an address counts for, each with its weight; IPv4 addresses count as IPv4-mapped ones."""
    value = int(address) if address.version == 6 else _MAPPED_IPV4 << 32 | int(address)
    for length, weight in _IPV4_NETWORKS if value >> 32 == _MAPPED_IPV4 else _IPV6_NETWORKS:
        yield (length, value >> (128 - length)), weight
