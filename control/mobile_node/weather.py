"""What a simulated network does to packets: it loses some and delays the rest."""

from __future__ import annotations

import heapq
from random import Random


class Weather:
    """Loss, delay and jitter of one direction, repeatable by its seed.

    Attributes:
        lost: packets lost so far.
    """

    def __init__(self, loss_percent: float, delay_s: float, jitter_s: float, random: Random) -> None:
        """Begin with an empty network.

        Args:
            loss_percent: chance of a packet to be lost, 0 to 100, each for itself.
            delay_s: shortest time under way.
            jitter_s: largest further time under way, uniformly drawn; packets may overtake each other.
            random: decides.
        """
        self.lost = 0
        self._loss = loss_percent / 100
        self._delay = delay_s
        self._jitter = jitter_s
        self._random = random
        self._under_way: list[tuple[float, int, bytes]] = []
        self._count = 0

    @property
    def next_arrival(self) -> float | None:
        """When the next packet under way arrives (monotonic seconds), None if there is none."""
        return self._under_way[0][0] if self._under_way else None

    def send(self, packet: bytes, now: float) -> bytes | None:
        """Take a packet. Returns it if it arrives at once; None if it is lost or arrives later."""
        if self._loss and self._random.random() < self._loss:
            self.lost += 1
            return None
        if not self._delay and not self._jitter:
            return packet
        self._count += 1
        arrival = now + self._delay + self._random.random() * self._jitter
        heapq.heappush(self._under_way, (arrival, self._count, packet))
        return None

    def arrived(self, now: float) -> list[bytes]:
        """Packets that were under way and have arrived."""
        packets = []
        while self._under_way and self._under_way[0][0] <= now:
            packets.append(heapq.heappop(self._under_way)[2])
        return packets
