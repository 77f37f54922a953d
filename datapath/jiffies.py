"""The kernel's tick count, by which programs tell when a permission has lapsed."""

from __future__ import annotations

import os
import struct
import time

from datapath.bpf_syscall import program_test_run
from datapath.program_loading import ProgramType, program_load

_INSTRUCTION = struct.Struct("=BBhi")
# Opcodes of eBPF: call a helper, shift register 0 right, return.
_CALL, _SHIFT_RIGHT, _EXIT = 0x85, 0x77, 0x95
_HELPER_JIFFIES = 118
_CLOCK_MONOTONIC_COARSE = 6
_SHORTEST_FRAME = bytes(14)


class JiffiesClock:
    """Monotonic seconds as ticks."""

    def __init__(self) -> None:
        """Asks the kernel, which tells only programs."""
        self._per_second = round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))
        halves = [_ticks_shifted_by(0), _ticks_shifted_by(32)]
        now = time.monotonic()
        self._at_zero = (halves[1] << 32 | halves[0]) - round(now * self._per_second)

    def at(self, when: float) -> int:
        """The tick count at monotonic seconds ``when``."""
        return self._at_zero + round(when * self._per_second)


def _ticks_shifted_by(bits: int) -> int:
    """32 bits of the count. Its upper half is the same for weeks."""
    program = b"".join(
        _INSTRUCTION.pack(*instruction)
        for instruction in ((_CALL, 0, 0, _HELPER_JIFFIES), (_SHIFT_RIGHT, 0, 0, bits), (_EXIT, 0, 0, 0))
    )
    descriptor = program_load(ProgramType.SOCKET_FILTER, program, "jiffies")
    try:
        return program_test_run(descriptor, _SHORTEST_FRAME).verdict
    finally:
        os.close(descriptor)
