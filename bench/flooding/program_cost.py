"""What the XDP program costs while it runs, by the kernel's own account."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datapath.bpf_syscall import opened, program_info
from datapath.layout import PROGRAM_NAME, pin_directory

_SWITCH = Path("/proc/sys/kernel/bpf_stats_enabled")


@dataclass(frozen=True, slots=True)
class ProgramCost:
    """How often the program has run, and how long in all."""

    runs: int = 0
    run_time_ns: int = 0

    def since(self, before: ProgramCost) -> ProgramCost:
        """What has been added."""
        return ProgramCost(self.runs - before.runs, self.run_time_ns - before.run_time_ns)


@contextmanager
def counted() -> Iterator[None]:
    """Has the kernel time programs for the length of the block, which costs each run some nanoseconds."""
    before = _SWITCH.read_text()
    _SWITCH.write_text("1")
    try:
        yield
    finally:
        _SWITCH.write_text(before)


def program_cost(pin_path: Path) -> ProgramCost:
    """Of the program pinned there, while programs were timed."""
    with opened(pin_directory(pin_path) / PROGRAM_NAME) as descriptor:
        info = program_info(descriptor)
    return ProgramCost(info.runs, info.run_time_ns)
