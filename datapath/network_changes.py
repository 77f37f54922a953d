"""Telling the programs that a prefix has come to be one of mobile nodes: they keep which destinations cannot be."""

from __future__ import annotations

from pathlib import Path

from datapath.bpf_syscall import Map
from datapath.errors import StalePin
from datapath.layout import ROUTE_CONTROL

_NUMBER = 1
"""Word of the map ``route_control``."""
_NUMBERS = 1 << 32


class NetworkChanges:
    """Their number, in mapped memory that the programs look at for every packet."""

    def __init__(self, control: Map) -> None:
        if control.info.value_size != ROUTE_CONTROL.size:
            raise StalePin("The pinned routes have another layout: run `homeagent datapath unload`, then load again.")
        self._memory = control.memory()
        self._words = memoryview(self._memory).cast("I")

    @classmethod
    def open(cls, directory: Path) -> NetworkChanges:
        """Opens the map pinned in a directory; raises NotLoaded or StalePin."""
        with Map.open(directory / "route_control") as control:
            return cls(control)

    def close(self) -> None:
        """Unmaps it."""
        self._words.release()
        self._memory.close()

    def tell(self) -> None:
        """To be called once the prefix is known, and before there is a binding in it."""
        self._words[_NUMBER] = (self._words[_NUMBER] + 1) % _NUMBERS
