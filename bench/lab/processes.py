"""Supervision of the real processes a run starts: by pid, never by name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.lab.errors import LabError

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """CPU seconds since the process began, in its own code and in the kernel, and its largest resident set in bytes.

    Attributes:
        children_s: what of the CPU seconds its children used.
    """

    user_s: float
    system_s: float
    peak_rss_bytes: int
    children_s: float = 0.0

    @property
    def cpu_s(self) -> float:
        """Both together."""
        return self.user_s + self.system_s


def read_usage_of_family(pid: int) -> ProcessUsage:
    """The same of a process and its children together.

    Raises:
        LabError: one of them is gone.
    """
    children = [read_usage(child) for child in children_of(pid)]
    family = [read_usage(pid), *children]
    return ProcessUsage(
        sum(usage.user_s for usage in family),
        sum(usage.system_s for usage in family),
        sum(usage.peak_rss_bytes for usage in family),
        sum(usage.cpu_s for usage in children),
    )


def children_of(pid: int) -> list[int]:
    """Processes that a process has started and that are there still, by pid."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def read_usage(pid: int) -> ProcessUsage:
    """What `/proc` says about a running process.

    Raises:
        LabError: there is no such process any more.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        raise LabError(f"process {pid} is gone") from None
    # The command name stands in parentheses and may hold blanks; utime and stime are fields 14 and 15.
    fields = stat[stat.rindex(")") + 2 :].split()
    user_s, system_s = (int(field) / _TICKS_PER_SECOND for field in fields[11:13])
    peak_kib = 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            peak_kib = int(line.split()[1])
    return ProcessUsage(user_s, system_s, peak_rss_bytes=peak_kib * 1024)


class LabProcess:
    """One process of the run, in its own session, dying with the run at the latest."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self.name = name
        self.output = output
        self.errors = errors
        self._popen = popen

    @classmethod
    def start(cls, name: str, command: Sequence[str], directory: Path, *, stdin: bool = False) -> LabProcess:
        """Start `command` with its output in `directory`/NAME.out and NAME.err.

        `setpriv --pdeathsig` has the kernel kill it should this process die without a chance to clean up;
        that follows the starting *thread*, so call this from the main thread.
        """
        output, errors = directory / f"{name}.out", directory / f"{name}.err"
        with output.open("ab") as out, errors.open("ab") as err:
            try:
                popen = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", "--", *command],
                    stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise LabError("setpriv (util-linux) is not installed") from None
        return cls(name, popen, output, errors)

    @property
    def pid(self) -> int:
        """Process id; setpriv and nsenter replace themselves by the command, so it is the command's own."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._popen.poll() is None

    @property
    def return_code(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe into the process.

        Raises:
            LabError: it was started without one.
        """
        if self._popen.stdin is None:
            raise LabError(f"{self.name} was started without an input pipe")
        return self._popen.stdin

    def usage(self) -> ProcessUsage:
        """CPU time and memory so far, with those of its children."""
        return read_usage_of_family(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.running:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has taken it away."""
        self.signal(signal.SIGKILL)
        self._popen.wait()
        self._close_input()

    def stop(self, grace_s: float = 3.0) -> int:
        """SIGTERM, then SIGKILL after `grace_s` seconds; the exit status."""
        self.signal(signal.SIGTERM)
        try:
            self._popen.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._close_input()
        return self._popen.returncode

    def wait(self, timeout_s: float) -> int:
        """Wait for its own end.

        Raises:
            LabError: it did not end in time.
        """
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} did not end within {timeout_s:g} s") from None

    def complaint(self, lines: int = 12) -> str:
        """The last lines of its standard error, for the report when it failed."""
        try:
            return "\n".join(self.errors.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def require_running(self) -> None:
        """Raise if it ended.

        Raises:
            LabError: with the exit status and the last lines of its standard error.
        """
        if not self.running:
            raise LabError(f"{self.name} ended with status {self.return_code}:\n{self.complaint()}")

    def _close_input(self) -> None:
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()


def stop_all(processes: Sequence[LabProcess], grace_s: float = 3.0) -> None:
    """Ask all to end at once, then insist: the grace is shared, not added up."""
    for process in processes:
        process.signal(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for process in processes:
        process.stop(max(0.0, deadline - time.monotonic()))
