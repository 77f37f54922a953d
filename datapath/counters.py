"""The counters by reason, summed over the processors."""

from __future__ import annotations

import struct
from pathlib import Path

from datapath.bpf_syscall import Map
from datapath.errors import StalePin
from datapath.layout import MAX_REASONS, pin_directory
from datapath.reasons import Reason


class Counters:
    """The open map ``stats``. Counts only ever grow while the data path stays loaded."""

    def __init__(self, stats: Map) -> None:
        self._map = stats
        if (stats.key_size, stats.info.value_size, stats.info.max_entries) != (4, 8, MAX_REASONS):
            raise StalePin("The pinned counters have another layout: run `homeagent datapath unload`, then load again.")

    @classmethod
    def open(cls, pin_path: Path) -> Counters:
        """Opens the pinned counters; raises NotLoaded."""
        return cls(Map.open(pin_directory(pin_path) / "stats"))

    def read(self) -> dict[Reason, int]:
        """Frames by reason since the data path was first loaded."""
        result = dict.fromkeys(Reason, 0)
        per_processor = struct.Struct(f"={self._map.value_size // 8}Q")
        for keys, values, count in self._map.lookup_batches():
            indices = struct.unpack(f"={count}I", keys)
            for index, value in zip(indices, per_processor.iter_unpack(values), strict=True):
                if index in result:
                    result[Reason(index)] = sum(value)
        return result

    def close(self) -> None:
        """Closes the map."""
        self._map.close()


def read_counters(pin_path: Path) -> dict[Reason, int]:
    """Frames by reason of the data path pinned under ``pin_path``; raises NotLoaded."""
    counters = Counters.open(pin_path)
    try:
        return counters.read()
    finally:
        counters.close()
