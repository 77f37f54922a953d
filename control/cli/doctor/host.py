"""The machine: kernel, BPF, compiler, privileges, clock."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from control.cli.doctor.finding import Finding, ok, problem, told, warning
from datapath import bpffs
from datapath.errors import DatapathError
from datapath.kernel_headers import kernel_source

OLDEST_KERNEL = (5, 15)
TRIED_KERNEL = (6, 1)
_CAPABILITIES = {
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
_CAP_SYS_ADMIN = 21
_YEAR_OF_THIS = 2026
_TIMEX_SIZE = 208
_CLOCK_UNSYNCHRONISED = 5


def examine_host(pin_path: Path) -> Iterator[Finding]:
    """Everything that needs no more than the pin path of the configuration."""
    yield check_kernel(os.uname().release)
    yield _check_bpffs(pin_path)
    yield _check_compiler()
    yield check_privileges(Path("/proc/self/status").read_text(encoding="ascii"))
    yield _check_clock()


def check_kernel(release: str) -> Finding:
    """Whether the kernel is new enough, by its release ("6.1.0-13-amd64")."""
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < OLDEST_KERNEL:
        return problem("kernel", f"Linux {release}", "Use Debian 12's kernel (6.1) or a newer one.")
    if version < TRIED_KERNEL:
        return warning("kernel", f"Linux {release}, on which nobody has tried this", "Use 6.1 or newer.")
    return ok("kernel", f"Linux {release}")


def check_privileges(status: str) -> Finding:
    """Whether this process could be a home agent, by its /proc/self/status."""
    effective = int(status.partition("CapEff:")[2].split()[0], 16)
    missing = [name for name, bit in _CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        remedy = "Run it as root; the systemd units in deploy/ give the daemon what it needs and no more."
        return problem("privileges", f"{', '.join(missing)} missing here", remedy)
    if not effective >> _CAP_SYS_ADMIN & 1:
        says = "enough to serve; CAP_SYS_ADMIN, which loading the data path needs, is missing here"
        return warning("privileges", says, "Run `homeagent datapath load` as root, or by homeagent-datapath.service.")
    return ok("privileges", "all capabilities to load the data path and to serve")


def _check_bpffs(pin_path: Path) -> Finding:
    if bpffs.is_on_bpffs(pin_path):
        return ok("BPF file system", f"mounted, pins go to {pin_path}")
    if pin_path.is_relative_to(bpffs.MOUNT_POINT):
        remedy = f"`homeagent datapath load` mounts it; to have it always: mount -t bpf bpf {bpffs.MOUNT_POINT}"
        return warning("BPF file system", f"not mounted at {bpffs.MOUNT_POINT}", remedy)
    return problem(
        "BPF file system", f"{pin_path} is not on one", f"Set datapath.pin_path to a folder under {bpffs.MOUNT_POINT}."
    )


def _check_compiler() -> Finding:
    if importlib.util.find_spec("bcc") is None:
        remedy = "apt-get install python3-bpfcc, in a virtual environment made with --system-site-packages."
        return problem("compiler", "the Python module bcc is missing", remedy)
    try:
        headers = kernel_source()
    except DatapathError as error:
        return told("compiler", error)
    return ok("compiler", f"bcc, with the kernel headers of {headers or 'the running kernel'}")


def _check_clock() -> Finding:
    if time.gmtime().tm_year < _YEAR_OF_THIS:
        says = f"it says {time.strftime('%Y-%m-%d', time.gmtime())}, so certificates are not valid yet"
        return problem("clock", says, "Set it, and keep it by NTP: apt-get install chrony.")
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))  # all zero: only asks
    if state == _CLOCK_UNSYNCHRONISED:
        says = "not synchronised; lifetimes in the store are those of each home agent's own clock"
        return warning("clock", says, "Keep it by NTP: apt-get install chrony.")
    return ok("clock", "synchronised")
