"""When each node had traffic last, from the counters of the data path, for those who may have to bring it back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address

# To look at one counter takes some microseconds, to write one time down some tens.
_LOOKED_AT_ONCE = 1_000
_WRITTEN_AT_ONCE = 500
_PASS_EVERY_S = 15.0
_WRITTEN_EVERY_S = 60.0


class TrafficWatch:
    """Goes round the bindings, some at each call, and says which times are worth writing down.

    A time is as exact as the rounds: a quarter of a minute, or more with very many bindings.
    """

    def __init__(self, packets: Callable[[IPv6Address], int]) -> None:
        """Know nothing yet.

        Args:
            packets: how many packets have been tunnelled for a home address since it was bound.
        """
        self._packets = packets
        self._counts: dict[IPv6Address, int] = {}
        self._round: list[tuple[IPv6Address, str]] = []
        self._next_round_at = 0.0
        self._written: dict[str, float] = {}
        self._unwritten: dict[str, float] = {}

    def look(self, bindings: Callable[[], Iterable[tuple[IPv6Address, str]]], now: float, wall: float) -> None:
        """Look at some more counters.

        Args:
            bindings: home addresses and identities as they are now, asked for at the beginning of a round.
            now: monotonic seconds.
            wall: seconds since the epoch.
        """
        if not self._round:
            if now < self._next_round_at:
                return
            self._next_round_at = now + _PASS_EVERY_S
            self._begin_round(bindings())
        for home_address, identity in self._round[-_LOOKED_AT_ONCE:]:
            count = self._packets(home_address)
            if self._counts.get(home_address, count) != count and self._is_news(identity, wall):
                self._unwritten[identity] = wall
            self._counts[home_address] = count
        del self._round[-_LOOKED_AT_ONCE:]

    def to_write(self) -> dict[str, float]:
        """Some of the times that are to be written down, by identity; those that waited longest first."""
        identities = list(self._unwritten)[:_WRITTEN_AT_ONCE]
        return {identity: self._unwritten[identity] for identity in identities}

    def written(self, last_traffic: dict[str, float]) -> None:
        """These have been written down."""
        for identity, at in last_traffic.items():
            self._written[identity] = at
            if self._unwritten.get(identity) == at:
                del self._unwritten[identity]

    def _begin_round(self, bindings: Iterable[tuple[IPv6Address, str]]) -> None:
        self._round = list(bindings)
        present = {identity for _, identity in self._round}
        self._counts = {home: self._counts[home] for home, _ in self._round if home in self._counts}
        self._written = {identity: at for identity, at in self._written.items() if identity in present}
        self._unwritten = {identity: at for identity, at in self._unwritten.items() if identity in present}

    def _is_news(self, identity: str, wall: float) -> bool:
        return abs(wall - self._written.get(identity, 0.0)) >= _WRITTEN_EVERY_S
