"""One run of the laboratory: makes namespaces, processes, pins and files, and removes all of them."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import itertools
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.lab.cpu_quota import remove_cpu_quota
from bench.lab.errors import LabError
from bench.lab.interrupts import hold_interrupts, raise_interrupts, restore
from bench.lab.namespaces import Namespace, existing_namespaces
from bench.lab.processes import LabProcess, stop_all

RUN_ROOT = Path("/run/homeagent-lab")
BPFFS = Path("/sys/fs/bpf")

_RUN_NUMBERS = itertools.count()
_KIND = re.compile(r"[a-z]+")


class Laboratory:
    """A context manager around one run.

    `kind` names the sort of run ("demo", "failover", "test"). All names begin with `ha-KIND-PID-N-`. A run holds a
    lock on `/run/homeagent-lab/RUN/lock` for as long as it lives, so that the next run of the same kind can tell
    what a crashed one left behind from what another living one still uses.
    """

    def __init__(self, kind: str) -> None:
        if not _KIND.fullmatch(kind):
            raise LabError(f"the kind of a run is made of lower-case letters, not {kind!r}")
        self.kind = kind
        self.run_name = f"ha-{kind}-{os.getpid()}-{next(_RUN_NUMBERS)}"
        self.directory = RUN_ROOT / self.run_name
        self.namespaces: dict[str, Namespace] = {}
        self.processes: list[LabProcess] = []
        self._pins: list[Path] = []
        self._on_close: list[Callable[[], None]] = []
        self._lock: int | None = None
        self._previous_handlers: Mapping[int, Any] = {}

    def __enter__(self) -> Laboratory:
        """Remove leftovers of crashed runs, then begin."""
        if os.geteuid() != 0:
            raise LabError("network namespaces and XDP need root: run this with sudo")
        RUN_ROOT.mkdir(mode=0o755, exist_ok=True)
        remove_leftovers(self.kind)
        with _nobody_removing():
            self.directory.mkdir(mode=0o700)
            self._lock = _lock_run(self.directory)
        atexit.register(self.close)
        self._previous_handlers = raise_interrupts()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove everything, whatever happened."""
        self.close()

    def namespace(self, role: str) -> Namespace:
        """Make the namespace of `role` ("cn", "ha1", "mn3"); its name is RUN-ROLE."""
        namespace = Namespace(f"{self.run_name}-{role}", role)
        self.namespaces[role] = namespace
        namespace.create()
        return namespace

    def pin_path(self, role: str) -> Path:
        """Where `role`'s data path pins its maps; removed at the end."""
        path = BPFFS / pin_name(self.run_name, role)
        if path not in self._pins:
            self._pins.append(path)
        return path

    def subdirectory(self, name: str) -> Path:
        """A directory for one part's configuration, keys and sockets; private and removed at the end."""
        path = self.directory / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def spawn(self, namespace: Namespace, name: str, command: Sequence[str], *, stdin: bool = False) -> LabProcess:
        """Start a process inside `namespace`; it is stopped at the end of the run at the latest."""
        process = LabProcess.start(name, namespace.enter_command(command), self.directory, stdin=stdin)
        self.processes.append(process)
        return process

    def on_close(self, action: Callable[[], None]) -> None:
        """Have `action` called at the end, before anything is removed (latest first)."""
        self._on_close.append(action)

    def close(self) -> None:
        """Stop every process and remove every name; safe to call again. Interrupts are held off meanwhile."""
        if self._lock is None:
            return
        hold_interrupts()
        try:
            while self._on_close:
                self._on_close.pop()()
        finally:
            stop_all(self.processes)
            _remove_run(self.run_name, self._pins)
            os.close(self._lock)
            self._lock = None
            atexit.unregister(self.close)
            restore(self._previous_handlers)


def pin_name(run_name: str, role: str) -> str:
    """Name of the bpffs directory of one role of a run (bpffs allows no dots in names)."""
    return f"homeagent-{run_name}-{role}"


def remove_leftovers(kind: str) -> list[str]:
    """Remove what crashed runs of `kind` left; the names of those runs."""
    removed = []
    with _nobody_removing():
        for directory in sorted(RUN_ROOT.glob(f"ha-{kind}-*")):
            try:
                lock = _lock_run(directory)
            except (BlockingIOError, FileNotFoundError):
                continue  # alive, or just removed by its own run
            _remove_run(directory.name, ())
            os.close(lock)
            removed.append(directory.name)
    return removed


@contextlib.contextmanager
def _nobody_removing() -> Iterator[None]:
    """Wait for whoever removes leftovers, and let nobody begin: a run that has just begun has no lock yet."""
    descriptor = os.open(RUN_ROOT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock_run(directory: Path) -> int:
    """Take the run's lock without waiting; the kernel releases it when its holder dies, however it dies."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_run(run_name: str, pins: Sequence[Path]) -> None:
    """Remove what a run has made, found by its name: namespaces, first the processes in them, pins, control groups."""
    for name in existing_namespaces(f"{run_name}-"):
        namespace = Namespace(name, name.removeprefix(f"{run_name}-"))
        for pid in namespace.process_ids():
            if pid != os.getpid():
                _kill_process(pid)
        namespace.delete()
    remove_cpu_quota(run_name)
    for path in {*pins, *BPFFS.glob(pin_name(run_name, "*"))}:
        shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(RUN_ROOT / run_name, ignore_errors=True)


def _kill_process(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
