"""Where BPF objects are pinned: the BPF file system, its directories, and a lock for who changes them."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datapath.errors import BpffsUnavailable, NotLoaded, PrivilegeRequired

MOUNT_POINT = Path("/sys/fs/bpf")


def is_on_bpffs(path: Path, mounts: str | None = None) -> bool:
    """Whether ``path`` is, or would be, on a BPF file system, going by the mount table ``mounts``."""
    table = Path("/proc/self/mounts").read_text(encoding="utf-8") if mounts is None else mounts
    best, kind = "", ""
    for line in table.splitlines():
        _, point, file_system, *_ = line.split(" ")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, file_system
    return kind == "bpf"


def ensure_directory(directory: Path) -> None:
    """Makes ``directory`` on a BPF file system, mounting that at /sys/fs/bpf if need be.

    Raises:
        BpffsUnavailable: there is none and it cannot be mounted, or the path lies elsewhere.
        PrivilegeRequired: the caller may not write there.
    """
    if not is_on_bpffs(directory):
        if not directory.is_relative_to(MOUNT_POINT):
            raise BpffsUnavailable(f"{directory} is not on a BPF file system: choose a pin_path under {MOUNT_POINT}.")
        _mount()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except PermissionError as error:
        if os.geteuid() == 0:
            raise BpffsUnavailable(
                f"{directory} is refused by the BPF file system: choose a pin_path without a dot in it."
            ) from error
        raise PrivilegeRequired(f"{directory} cannot be made: run as root.") from error


def _mount() -> None:
    if os.geteuid() != 0:
        raise PrivilegeRequired(
            f"No BPF file system is mounted at {MOUNT_POINT}: run `mount -t bpf bpf {MOUNT_POINT}` as root."
        )
    if os.stat("/proc/self/ns/mnt").st_ino != os.stat("/proc/1/ns/mnt").st_ino:
        # What would be mounted here is gone with this process, and the pins with it.
        raise BpffsUnavailable(
            f"{MOUNT_POINT} is hidden in this mount namespace, as `ip netns exec` does: "
            "use `nsenter --net=/run/netns/NAME` instead."
        )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", os.fsencode(MOUNT_POINT), b"bpf", ctypes.c_ulong(0), None) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise BpffsUnavailable(
            f"The BPF file system cannot be mounted at {MOUNT_POINT} ({reason}): use a kernel with CONFIG_BPF_SYSCALL."
        )


def open_directory(directory: Path) -> int:
    """A descriptor to lock the directory by; raises NotLoaded or PrivilegeRequired."""
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotLoaded(f"Nothing is pinned under {directory}: run `homeagent datapath load` first.") from error
    except PermissionError as error:
        raise PrivilegeRequired(f"{directory} cannot be read: run as root.") from error


@contextmanager
def directory_opened(directory: Path) -> Iterator[int]:
    """The same for the length of the block, at whose end a lock is let go."""
    descriptor = open_directory(directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Holds the directory against other loaders for the length of the block; gives its descriptor."""
    with directory_opened(directory) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor


def try_lock(descriptor: int) -> bool:
    """Locks a directory that is open, unless somebody else has it locked; whether it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def share_lock(descriptor: int) -> None:
    """Locks a directory that is open, together with others who share the lock; waits for one who does not."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def version_directories(pin_path: Path) -> list[Path]:
    """Directories of all schema versions pinned under ``pin_path``."""
    try:
        return sorted(path for path in pin_path.glob("v*") if path.is_dir())
    except PermissionError as error:
        raise PrivilegeRequired(f"{pin_path} cannot be read: run as root.") from error
