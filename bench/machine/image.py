"""What a machine starts from: a disk with programs copied from this machine, and a small first root file system.

The disk has the same files under the same names, so programs run as they do here. Its first root file system loads
the drivers of the disk, puts the source tree of this moment over the disk's and hands over to ``guest.py``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.machine.archive import Archive
from bench.machine.closure import distribution_files, project_dependencies, tree, with_libraries, with_requirements
from bench.machine.errors import MachineError
from bench.machine.kernel import Kernel
from datapath.kernel_headers import kernel_source
from datapath.program_cache import CACHE

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("bench", "bpf", "control", "datapath", "tests", "pyproject.toml")

PROGRAMS = (
    *("python3", "sh", "ip", "tc", "modprobe", "mount", "nsenter", "ping", "sysctl"),
    *("ethtool", "setpriv", "tcpdump"),
    *("charon-systemd", "swanctl"),
)
TEST_DISTRIBUTIONS = ("pytest", "pytest-timeout")
PACKAGES = Path("/packages")
"""Where Python packages are in the machine."""
HEADERS = Path("/kernel-headers")
"""Where kernel headers are in the machine."""

_COMPILER = ("/usr/lib/x86_64-linux-gnu/libbcc.so.0", "/usr/lib/x86_64-linux-gnu/librt.so.1")
_COMPILER_PACKAGE = Path("/usr/lib/python3/dist-packages/bcc")
_STRONGSWAN_PLUGINS = Path("/usr/lib/ipsec/plugins")
_TOP_LEVEL_LINKS = ("/bin", "/lib", "/lib64", "/sbin")
_STANDARD_LIBRARY = Path("/usr/lib/python3.11")
_LEFT_OUT = ("distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tkinter", "turtledemo")
_MODULE_DIRECTORIES = ("kernel/arch/x86/crypto", "kernel/crypto", "kernel/lib", "kernel/net")
_MODULES = ("kernel/drivers/net/dummy.ko", "kernel/drivers/net/tun.ko", "kernel/drivers/net/veth.ko")
_DISK_DRIVERS = ["virtio_pci", "virtio_blk"]
_BUSYBOX = Path("/bin/busybox")
_SPARE_MEGABYTES = 64

_INIT = """#!/busybox sh
/busybox mount -t proc proc /proc
/busybox mount -t devtmpfs devtmpfs /dev
for module in {drivers}; do /busybox insmod /drivers/$module; done
/busybox mount -t ext4 /dev/vda /disk
# Before the sources, which may lie under one of them.
for point in /run /tmp; do /busybox mount -t tmpfs tmpfs /disk$point; done
/busybox mkdir -p /disk{root}
/busybox mount -t tmpfs tmpfs /disk{root}
/busybox cp -a /sources/. /disk{root}/
/busybox cp /command.json /disk/command.json
/busybox mkdir -p /disk{programs}
/busybox cp -a /programs/. /disk{programs}/
/busybox umount /proc /dev
exec /busybox switch_root /disk /usr/bin/python3 {root}/bench/machine/guest.py
"""


def make_disk(path: Path, kernel: Kernel) -> None:
    """Makes an ext4 image of everything but the source tree.

    Raises:
        MachineError: a program is missing here.
    """
    staging = path.with_suffix(".staging")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        wanted = [*project_dependencies(ROOT / "pyproject.toml"), *TEST_DISTRIBUTIONS]
        packages = distribution_files(with_requirements(wanted))
        for file in with_libraries([*_wanted_files(), *packages.values()]):
            _copy(file, staging / file.relative_to("/"))
        for name, file in packages.items():
            _copy(file, staging / (PACKAGES / name).relative_to("/"))
        for file in _wanted_modules(kernel):
            _copy(file, staging / "usr/lib/modules" / kernel.release / file.relative_to(kernel.modules))
        _copy_headers(staging)
        for mount_point in ("dev", "proc", "root", "run", "sys", "tmp"):
            (staging / mount_point).mkdir(parents=True, exist_ok=True)
        size = sum(file.lstat().st_size for file in tree(staging)) // 2**20 * 5 // 4 + _SPARE_MEGABYTES
        path.unlink(missing_ok=True)
        command = ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(staging), str(path), f"{size}M"]
        environment = os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise MachineError(f"The disk cannot be made: {done.stderr.strip()}")
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def make_first_root(path: Path, kernel: Kernel, command: Sequence[str], environment: dict[str, str]) -> None:
    """Makes the archive the kernel starts from: drivers, today's sources, programs compiled here, and what to run."""
    drivers = kernel.module_order(_DISK_DRIVERS)
    with path.open("wb") as output:
        archive = Archive(output)
        for name in ("dev", "disk", "proc", "programs"):
            archive.add_directory(Path("/", name))
        archive.copy(_BUSYBOX, Path("/busybox"))
        for driver in drivers:
            archive.copy(driver, Path("/drivers", driver.name))
        init = _INIT.format(drivers=" ".join(driver.name for driver in drivers), root=ROOT, programs=CACHE)
        archive.add_file(Path("/init"), init.encode(), 0o755)
        task = {"command": list(command), "environment": environment, "directory": str(ROOT)}
        archive.add_file(Path("/command.json"), json.dumps(task).encode())
        for name in SOURCES:
            source = ROOT / name
            for file in tree(source) if source.is_dir() else [source]:
                archive.copy(file, Path("/sources") / file.relative_to(ROOT))
        for program in CACHE.iterdir() if CACHE.is_dir() else ():
            archive.copy(program, Path("/programs", program.name))
        archive.close()


def _wanted_files() -> list[Path]:
    files = [Path(name) for name in (*_TOP_LEVEL_LINKS, *_COMPILER)]
    for name in PROGRAMS:
        found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if found is None:
            raise MachineError(f"{name} is missing: run `make setup`.")
        files.append(Path(found))
    files += tree(_STANDARD_LIBRARY, without=_LEFT_OUT)
    # Which of them are there is of no account: a charon is told what to load.
    return files + tree(_COMPILER_PACKAGE) + tree(_STRONGSWAN_PLUGINS)


def _copy_headers(staging: Path) -> None:
    """Copies what the data path is compiled against, links resolved, to where its loader looks first."""
    headers = kernel_source() or Path("/lib/modules", os.uname().release, "build")
    for name in ("include", "arch/x86/include"):
        shutil.copytree(headers / name, staging / HEADERS.relative_to("/") / name)


def _wanted_modules(kernel: Kernel) -> list[Path]:
    files = [kernel.modules / name for name in _MODULES] + list(kernel.modules.glob("modules.*"))
    for name in _MODULE_DIRECTORIES:
        files += [file for file in tree(kernel.modules / name) if file.is_file()]
    return files


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
