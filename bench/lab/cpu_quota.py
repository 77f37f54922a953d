"""A bound on the CPU time of processes, to play a machine that is slower than this one: control groups, v1 or v2."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

from bench.lab.errors import LabError

_CONTROL_GROUPS = Path("/sys/fs/cgroup")
# Short, so that a process is slow all the time instead of stopped for long.
_PERIOD_US = 10_000
_PATIENCE_S = 5.0


class CpuQuota:
    """Some processes, with all their threads and what they start from now on, share a part of one core."""

    def __init__(self, run_name: str, percent: float) -> None:
        """Make it; see :func:`remove_cpu_quota`.

        Args:
            run_name: of the run of the laboratory.
            percent: of one core, from 10 on.

        Raises:
            LabError: there are no control groups for that here.
        """
        quota_us = round(_PERIOD_US * percent / 100)
        try:
            if (hierarchy := _CONTROL_GROUPS / "cpu").is_dir():
                limits = {"cpu.cfs_period_us": f"{_PERIOD_US}", "cpu.cfs_quota_us": f"{quota_us}"}
            else:
                hierarchy, limits = _CONTROL_GROUPS, {"cpu.max": f"{quota_us} {_PERIOD_US}"}
                (hierarchy / "cgroup.subtree_control").write_text("+cpu")
            self._group = hierarchy / run_name
            self._group.mkdir()
            for name, value in limits.items():
                (self._group / name).write_text(value)
        except OSError as error:
            raise LabError(f"CPU time cannot be bounded here: {error}") from error

    def add(self, processes: Iterable[int]) -> None:
        """Let it hold for these, by their pids.

        Raises:
            LabError: one of them is gone.
        """
        for pid in processes:
            try:
                (self._group / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                raise LabError(f"the CPU time of process {pid} cannot be bounded: {error}") from error


def remove_cpu_quota(run_name: str) -> None:
    """Remove what a run has made, if anything, once its processes have been told to end."""
    deadline = time.monotonic() + _PATIENCE_S
    for group in (_CONTROL_GROUPS / "cpu" / run_name, _CONTROL_GROUPS / run_name):
        while group.is_dir() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.02)
