"""When a recovered node's packets run through XDP again, read from the data path's own counters."""

from __future__ import annotations

from ipaddress import IPv6Address
from itertools import islice

from control.home_agent.events import Happening, TimelineEvent
from datapath.bindings import BindingMap

# A takeover of many thousands watches the first of them, and looks at some of these in turn.
_WATCHED_AT_MOST = 2_000
_POLLED_AT_ONCE = 32


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

    def poll(self) -> list[Happening]:
        """What was seen since some of the nodes were last looked at."""
        seen: list[Happening] = []
        for home_address in list(islice(self._waiting, _POLLED_AT_ONCE)):
            identity, missing = self._waiting.pop(home_address)
            usage = self._bindings.usage(home_address)
            for direction, packets in (
                ("encapsulated", usage.encapsulated_packets),
                ("decapsulated", usage.decapsulated_packets),
            ):
                if packets and direction in missing:
                    missing.discard(direction)
                    seen.append(Happening(TimelineEvent.FIRST_PACKET, identity, {"direction": direction}))
            if missing:
                self._waiting[home_address] = identity, missing  # behind the others
        return seen
