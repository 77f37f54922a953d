"""Where signalling goes to a mobile node without a binding, or beside it: to where the questions came from."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

from datapath.bpf_syscall import Map
from datapath.layout import pin_directory

KEPT_S = 2.0
"""An entry outlasts its packet's way through the kernel's IPsec, and not much more."""


class ReplyAddresses:
    """Care-of addresses for what is sent now, by home address; the program ``home_link`` reads them. One writer."""

    def __init__(self, entries: Map) -> None:
        """Start with none: those of an earlier process are removed. Closing is the owner's duty."""
        self._map = entries
        self._until: dict[bytes, float] = {}
        self._map.delete_batch(b"".join(list(self._map.keys())))

    @classmethod
    def open(cls, pin_path: Path) -> ReplyAddresses:
        """Opens the pinned map.

        Raises:
            NotLoaded: nothing is pinned there.
        """
        return cls(Map.open(pin_directory(pin_path) / "reply_addresses"))

    def __len__(self) -> int:
        return len(self._until)

    def close(self) -> None:
        """Closes the map."""
        self._map.close()

    def follow(self, pin_path: Path) -> None:
        """Goes over to the map that an upgrade may have put in the place of this one; raises NotLoaded."""
        before, self._map = self._map, Map.open(pin_directory(pin_path) / "reply_addresses")
        before.close()

    def put(self, home_address: IPv6Address, care_of_address: IPv6Address, now: float) -> None:
        """Sends what follows to ``care_of_address``, for a moment from ``now`` (monotonic seconds) on.

        Raises:
            MapFull: there is no room at this moment.
        """
        key = home_address.packed
        self._map.update(key, care_of_address.packed)
        self._until.pop(key, None)  # the latest is the last
        self._until[key] = now + KEPT_S

    def expire(self, now: float) -> None:
        """Removes what is past its moment."""
        over = []
        for key, until in self._until.items():
            if until > now:
                break
            over.append(key)
        for key in over:
            del self._until[key]
        self._map.delete_batch(b"".join(over))
