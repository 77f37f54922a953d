"""Runs one command under Debian's kernel in QEMU, which emulates the processor: no KVM is needed, and it is slow."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine.errors import MachineError
from bench.machine.image import HEADERS, PACKAGES, make_disk, make_first_root
from bench.machine.kernel import Kernel, debian_kernel

QEMU = "qemu-system-x86_64"
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PYTHONPATH": str(PACKAGES),
    "BCC_KERNEL_SOURCE": str(HEADERS),
}
# Instructions that QEMU emulates slowly and programs would choose for their speed: without them all is twice as fast.
_PROCESSOR = "max,-erms,-fsrm,-avx,-avx2"
_KERNEL_COMMAND_LINE = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        exit_status: of the command; None if it did not end in time or the machine stopped before.
        console: what kernel and command printed.
        reports: the lines of JSON the command wrote to :data:`bench.machine.guest.REPORTS`.
    """

    exit_status: int | None
    console: str
    reports: list[dict[str, Any]]


def run(
    command: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    time_limit_s: float = 240.0,
    kernel: Kernel | None = None,
) -> Outcome:
    """Starts a machine, runs a command in the source tree in it as root, and waits for the machine to power off.

    Args:
        command: program and arguments; programs are looked up in the machine.
        environment: added to the few variables that are always there.
        time_limit_s: of all of it, the start of the machine included.
        kernel: another than Debian's.

    Raises:
        MachineError: the machine cannot be made.
    """
    if shutil.which(QEMU) is None:
        raise MachineError(f"{QEMU} is missing: run `make setup`.")
    kernel = kernel or debian_kernel()
    with tempfile.TemporaryDirectory(prefix="homeagent-machine-") as name:
        directory = Path(name)
        make_disk(directory / "disk", kernel)
        make_first_root(directory / "first_root", kernel, command, _ENVIRONMENT | (environment or {}))
        with (directory / "console").open("wb") as console:
            machine = subprocess.Popen(
                _arguments(directory, kernel), stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
            try:
                machine.wait(time_limit_s)
            except subprocess.TimeoutExpired:
                pass
            finally:
                machine.kill()
                machine.wait()
        return _outcome(directory)


def _arguments(directory: Path, kernel: Kernel) -> list[str]:
    return [
        *(QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", _PROCESSOR, "-smp", "2", "-m", "1536M"),
        *("-kernel", str(kernel.image), "-initrd", str(directory / "first_root"), "-append", _KERNEL_COMMAND_LINE),
        *("-drive", f"file={directory / 'disk'},format=raw,if=virtio,cache=unsafe"),
        *("-serial", "stdio", "-serial", f"file:{directory / 'reports'}"),
    ]


def _outcome(directory: Path) -> Outcome:
    status: int | None = None
    reports: list[dict[str, Any]] = []
    for report in _json_lines(directory / "reports"):
        if "exit" in report:
            status = report["exit"]
        else:
            reports.append(report)
    return Outcome(status, (directory / "console").read_text(encoding="utf-8", errors="replace"), reports)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):  # cut short when the machine was stopped
                yield json.loads(line)
