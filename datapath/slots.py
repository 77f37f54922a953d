"""Slots of the usage map: which indices are taken."""

from __future__ import annotations

from collections.abc import Iterable

from datapath.errors import MapFull


class SlotAllocator:
    """Hands out indices from 0 to ``capacity - 1``, those given back first."""

    def __init__(self, capacity: int, used: Iterable[int] = ()) -> None:
        taken = {slot for slot in used if 0 <= slot < capacity}
        self._capacity = capacity
        self._next = max(taken, default=-1) + 1
        self._free = [slot for slot in range(self._next) if slot not in taken]

    def allocate(self) -> int:
        """An index nobody has; raises MapFull when there is none."""
        if self._free:
            return self._free.pop()
        if self._next >= self._capacity:
            raise MapFull(
                f"All {self._capacity} bindings are in use: raise datapath.max_bindings and load the data path again."
            )
        self._next += 1
        return self._next - 1

    def release(self, slot: int) -> None:
        """Gives an allocated index back."""
        self._free.append(slot)
