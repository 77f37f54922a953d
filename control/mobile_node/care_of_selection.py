"""Which of a mobile node's addresses is its care-of address (RFC 6275 section 11.5.3), on links that come and go.

A node stays where it is as long as it can: every movement costs a Binding Update. It goes at once when its link is
lost, and back to a link it prefers only when that has held for a while, the longer the more often it was lost of late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

_SETTLE_S = 0.5
"""A new address often has no default route for a moment; without one it is taken only after this long."""
_HOLD_S = 3.0
_LONGEST_HOLD_DOUBLINGS = 5
_FORGIVE_S = 300.0

_Key = tuple[str, IPv6Address]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address that may serve as care-of address.

    Attributes:
        interface: where it is.
        address: global, and past duplicate address detection.
        mtu: of the interface, in bytes.
        routed: whether a default route leads out of the interface.
    """

    interface: str
    address: IPv6Address
    mtu: int
    routed: bool

    @property
    def key(self) -> _Key:
        """What makes it the same one."""
        return self.interface, self.address


@dataclass(slots=True)
class _Losses:
    """How often an interface was lost of late."""

    count: int = 0
    latest: float = 0.0


class CareOfSelector:
    """Decides where the node is.

    Attributes:
        current: the candidate in use; None while there is none.
    """

    def __init__(self, interfaces: Sequence[str]) -> None:
        """Nothing has been seen yet.

        Args:
            interfaces: the ones that count, the preferred one first.
        """
        self.current: Candidate | None = None
        self._ranks = {interface: rank for rank, interface in enumerate(interfaces)}
        self._present: dict[_Key, Candidate] = {}
        self._since: dict[_Key, float] = {}
        self._losses = {interface: _Losses() for interface in interfaces}

    def observe(self, candidates: Iterable[Candidate], now: float) -> None:
        """What there is now, all of it, in the order in which a node would take addresses of the same interface."""
        present = {each.key: each for each in candidates if each.interface in self._ranks}
        for interface in {key[0] for key in self._present} - {key[0] for key in present}:
            losses = self._losses[interface]
            losses.count = 1 if now - losses.latest > _FORGIVE_S else losses.count + 1
            losses.latest = now
        self._since = {key: self._since.get(key, now) for key in present}
        self._present = present

    def choose(self, now: float) -> Candidate | None:
        """The candidate to use from now on, also in ``current``; None: there is none that is fit."""
        ranked = sorted(self._present.values(), key=self._rank)
        kept = self._present.get(self.current.key) if self.current is not None else None
        if kept is not None and not kept.routed and any(each.routed for each in ranked):
            kept = None
        if kept is None:
            ranked.sort(key=lambda each: not each.routed)
            self.current = next((each for each in ranked if now >= self._usable_at(each)), None)
        else:
            better = (each for each in ranked if self._rank(each) < self._rank(kept) and each.routed >= kept.routed)
            self.current = next((each for each in better if now >= self._held_at(each)), kept)
        return self.current

    def next_timer(self, now: float) -> float | None:
        """When :meth:`choose` may decide otherwise than now without anything new being observed; None for never."""
        current = self.current
        if current is None:
            times = [self._usable_at(each) for each in self._present.values()]
        else:
            better = [each for each in self._present.values() if self._rank(each) < self._rank(current)]
            times = [self._held_at(each) for each in better if each.routed >= current.routed]
        return min((at for at in times if at > now), default=None)

    def _rank(self, candidate: Candidate) -> int:
        return self._ranks[candidate.interface]

    def _usable_at(self, candidate: Candidate) -> float:
        return self._since[candidate.key] + (0.0 if candidate.routed else _SETTLE_S)

    def _held_at(self, candidate: Candidate) -> float:
        doublings = min(self._losses[candidate.interface].count, _LONGEST_HOLD_DOUBLINGS)
        return self._since[candidate.key] + _HOLD_S * float(2**doublings)
