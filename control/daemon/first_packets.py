"""When a recovered node's packets run through XDP again, read from the data path's own counters."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.home_agent.events import Happening, TimelineEvent
from datapath.bindings import BindingMap

# Reading one counter is a system call: a takeover of many thousands watches the first of them.
_WATCHED_AT_MOST = 2_000


class FirstPackets:
    """Watches recovered nodes until the data path has carried a packet in each direction for them."""

    def __init__(self, bindings: BindingMap) -> None:
        self._bindings = bindings
        self._waiting: dict[IPv6Address, tuple[str, set[str]]] = {}

    @property
    def waiting(self) -> bool:
        """Whether any node is still watched."""
        return bool(self._waiting)

    def watch(self, identity: str, home_address: IPv6Address) -> None:
        """Watch a node that was just recovered."""
        if len(self._waiting) < _WATCHED_AT_MOST:
            self._waiting[home_address] = (identity, {"encapsulated", "decapsulated"})

    def forget(self, home_address: IPv6Address) -> None:
        """Stop watching."""
        self._waiting.pop(home_address, None)

    def poll(self) -> list[Happening]:
        """What was seen since the last call."""
        seen: list[Happening] = []
        for home_address, (identity, missing) in list(self._waiting.items()):
            usage = self._bindings.usage(home_address)
            for direction, packets in (
                ("encapsulated", usage.encapsulated_packets),
                ("decapsulated", usage.decapsulated_packets),
            ):
                if packets and direction in missing:
                    missing.discard(direction)
                    seen.append(Happening(TimelineEvent.FIRST_PACKET, identity, {"direction": direction}))
            if not missing:
                del self._waiting[home_address]
        return seen
