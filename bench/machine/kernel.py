"""Debian's kernel for virtual machines: fetched as a package, unpacked into a cache, never installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.machine.errors import MachineError

CACHE = Path("/var/cache/homeagent/kernel-image")
META_PACKAGE = "linux-image-cloud-amd64"
"""Depends on the newest kernel package of this Debian release."""

_PACKAGE = re.compile(r"^\s*Depends: (?P<name>linux-image-\d\S*-cloud-amd64)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package.

    Attributes:
        root: its files, ``boot`` and ``lib`` among them, with the modules' index made.
        release: as ``uname -r`` says it.
    """

    root: Path
    release: str

    @property
    def image(self) -> Path:
        """What a boot loader loads."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        """Directory of the modules."""
        return self.root / "lib" / "modules" / self.release

    def module_order(self, names: list[str]) -> list[Path]:
        """The files of modules and of those they need, in the order in which they can be loaded."""
        index: dict[str, tuple[Path, list[str]]] = {}
        for line in (self.modules / "modules.dep").read_text(encoding="utf-8").splitlines():
            file, _, needed = line.partition(":")
            index[Path(file).stem] = self.modules / file, [Path(name).stem for name in needed.split()]
        order: dict[Path, None] = {}

        def add(name: str) -> None:
            if name in index:  # otherwise built in
                file, needed = index[name]
                for other in reversed(needed):
                    add(other)
                order[file] = None

        for name in names:
            add(name)
        return list(order)


def debian_kernel(cache: Path = CACHE) -> Kernel:
    """The kernel in the cache, fetched first if there is none.

    Raises:
        MachineError: not in the cache and it cannot be fetched.
    """
    for root in sorted(cache.glob("linux-image-*"), reverse=True):
        return _kernel(root)
    return _fetch(cache)


def _fetch(cache: Path) -> Kernel:
    package = _newest_package()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".fetching-", dir=cache))
    except OSError as error:
        raise MachineError(f"{cache} cannot be written ({error.strerror}): run as root.") from error
    try:
        # apt-get drops its privileges to fetch, and says so when the directory is not open to everybody.
        _run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], building)
        (archive,) = building.glob("*.deb")
        _run(["dpkg-deb", "--extract", str(archive), "unpacked"], building)
        (modules,) = (building / "unpacked" / "lib" / "modules").iterdir()
        _run(["depmod", "--basedir", "unpacked", modules.name], building)
        target = cache / package
        (building / "unpacked").rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return _kernel(target)


def _newest_package() -> str:
    said = _run(["apt-cache", "depends", META_PACKAGE], Path("/"))
    match = _PACKAGE.search(said)
    if match is None:
        raise MachineError(f"apt knows no {META_PACKAGE}: run `apt-get update` first.")
    return match["name"]


def _kernel(root: Path) -> Kernel:
    releases = [path.name for path in (root / "lib" / "modules").glob("*")]
    if len(releases) != 1:
        raise MachineError(f"{root} holds no kernel: remove it, it is then fetched again.")
    return Kernel(root, releases[0])


def _run(command: list[str], directory: Path) -> str:
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=600)
    except FileNotFoundError as error:
        raise MachineError(f"{command[0]} is missing: run `make setup` on Debian.") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MachineError(f"`{' '.join(command)}` failed ({last}): check the network and run `apt-get update`.")
    return done.stdout


if __name__ == "__main__":
    debian_kernel()
