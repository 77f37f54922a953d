"""Whether the programs may use next hops they found out before, and from when on those are void: bpf/next_hops.h."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from datapath.bpf_syscall import Map, program_load, program_test_run
from datapath.errors import StalePin
from datapath.layout import ROUTE_CONTROL, pin_directory

_GENERATIONS = 1 << 32
_SOCKET_FILTER = 1
_INSTRUCTION = struct.Struct("=BBhi")
# Opcodes of eBPF: call a helper, shift register 0 right, return.
_CALL, _SHIFT_RIGHT, _EXIT = 0x85, 0x77, 0x95
_HELPER_JIFFIES = 118
_CLOCK_MONOTONIC_COARSE = 6
_SHORTEST_FRAME = bytes(14)


class RouteControl:
    """The mapped word pair that the programs look at for every packet."""

    def __init__(self, control: Map) -> None:
        if control.info.value_size != ROUTE_CONTROL.size:
            raise StalePin("The pinned routes have another layout: run `homeagent datapath unload`, then load again.")
        self._jiffies_at_zero, self._jiffies_per_second = _jiffies_clock()
        self._memory = control.memory()
        self._generation = memoryview(self._memory).cast("I")
        self._valid_until = memoryview(self._memory).cast("q")

    @classmethod
    def open(cls, pin_path: Path) -> RouteControl:
        """Opens the pinned map; raises NotLoaded or StalePin."""
        with Map.open(pin_directory(pin_path) / "route_control") as control:
            return cls(control)

    def close(self) -> None:
        """Unmaps it; a permission that was given lasts until its end."""
        self._generation.release()
        self._valid_until.release()
        self._memory.close()

    @property
    def generation(self) -> int:
        """Of routes and neighbours."""
        return self._generation[0]

    def begin_generation(self) -> None:
        """Makes void what was found out until now."""
        self._generation[0] = (self._generation[0] + 1) % _GENERATIONS or 1

    def permit(self, now: float, seconds: float) -> None:
        """Lets the programs use what they find out, for so long.

        Args:
            now: monotonic seconds.
            seconds: from now on; a control plane that can no longer tell of changes is obeyed no longer than that.
        """
        self._valid_until[1] = self._jiffies_at_zero + round((now + seconds) * self._jiffies_per_second)

    def forbid(self) -> None:
        """Has the programs ask the kernel for every packet."""
        self._valid_until[1] = 0


def _jiffies_clock() -> tuple[int, int]:
    """The kernel's tick count at monotonic second 0, and its ticks per second."""
    per_second = round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))
    halves = [_ticks_shifted_by(0), _ticks_shifted_by(32)]
    now = time.monotonic()
    return (halves[1] << 32 | halves[0]) - round(now * per_second), per_second


def _ticks_shifted_by(bits: int) -> int:
    """32 bits of the count, which only programs are told. Its upper half is the same for weeks."""
    program = b"".join(
        _INSTRUCTION.pack(*instruction)
        for instruction in ((_CALL, 0, 0, _HELPER_JIFFIES), (_SHIFT_RIGHT, 0, 0, bits), (_EXIT, 0, 0, 0))
    )
    descriptor = program_load(_SOCKET_FILTER, program, "jiffies")
    try:
        return program_test_run(descriptor, _SHORTEST_FRAME).verdict
    finally:
        os.close(descriptor)
