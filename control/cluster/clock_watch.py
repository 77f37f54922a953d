"""Whether the clocks of the home agents agree, told from the leases they renew.

A lease ends at a time by the clock of the home agent that renewed it. If that is ahead, the others wait for that much
longer when it fails; if it is behind, its lease looks lapsed although it is alive, which costs nothing but confuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from control.cluster.store import LeaseRecord

_RENEWALS = 3
"""Seen in a row before anything is said: the first after the store was away may be an old one."""


@dataclass(slots=True)
class _Peer:
    expires_at: float
    strikes: int = 0
    told: bool = False


class ClockWatch:
    """Looks at the leases of the others whenever they are read."""

    def __init__(self, home_agent: str, lease_s: float) -> None:
        """Nothing was seen.

        Args:
            home_agent: this one's name, whose own lease says nothing.
            lease_s: how long a lease lasts here, and presumably there.
        """
        self._home_agent = home_agent
        self._lease_s = lease_s
        self._peers: dict[str, _Peer] = {}

    def look(self, leases: Iterable[LeaseRecord], wall: float) -> Iterator[tuple[str, float]]:
        """Home agents whose clock has turned out not to agree with this one, with the seconds it seems to be ahead.

        Each is returned once, until it has agreed again.

        Args:
            leases: as the store has them.
            wall: seconds since the epoch.
        """
        peers: dict[str, _Peer] = {}
        for lease in leases:
            if lease.home_agent == self._home_agent:
                continue
            known = self._peers.get(lease.home_agent)
            peer = peers[lease.home_agent] = known or _Peer(lease.expires_at)
            if known is None or lease.expires_at == known.expires_at:
                continue  # not renewed since the last look
            peer.expires_at = lease.expires_at
            left_s = lease.expires_at - wall
            if 0 <= left_s <= 2 * self._lease_s:
                peer.strikes, peer.told = 0, False
                continue
            peer.strikes += 1
            if peer.strikes >= _RENEWALS and not peer.told:
                peer.told = True
                yield lease.home_agent, left_s - self._lease_s
        self._peers = peers
