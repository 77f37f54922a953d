"""Finds the kernel headers bcc compiles against, or makes a tree of them out of Debian's packages."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from pathlib import Path

from datapath.errors import KernelHeadersMissing

CACHE = Path("/var/cache/homeagent/kernel-headers")
_ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64", "riscv64": "riscv"}
_FLAVOURED = re.compile(r"linux-headers-(?P<version>\d+\.\d+\.\d+-\d+)-(?!common)(?P<flavour>.+)")


def kernel_source(
    *, modules: Path = Path("/lib/modules"), sources: Path = Path("/usr/src"), cache: Path = CACHE
) -> Path | None:
    """The directory to point BCC_KERNEL_SOURCE at, or None when bcc finds the running kernel's headers itself.

    A BCC_KERNEL_SOURCE already in the environment wins. The running kernel's own headers come next. The program reads
    only the stable interface headers, so those of another kernel do as well: Debian's packages under /usr/src, whose
    two halves are merged by symbolic links into a directory of ``cache`` (made once).

    Raises:
        KernelHeadersMissing: nothing to compile against; the message names the package.
    """
    override = os.environ.get("BCC_KERNEL_SOURCE")
    if override:
        if not (Path(override) / "include").is_dir():
            raise KernelHeadersMissing(
                f"BCC_KERNEL_SOURCE={override} holds no kernel headers: point it at a header tree or unset it."
            )
        return Path(override)
    if (modules / os.uname().release / "build" / "include").is_dir():
        return None
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    halves = _debian_halves(sources)
    if halves is None:
        raise KernelHeadersMissing(
            f"No kernel headers to compile the XDP program against: run `apt-get install {_package()}`."
        )
    common, flavoured = halves
    merged = cache / flavoured.name
    if not merged.is_dir():
        _merge(common, flavoured, merged, architecture)
    return merged


def _package() -> str:
    machine = {"x86_64": "linux-headers-cloud-amd64", "aarch64": "linux-headers-cloud-arm64"}
    return machine.get(platform.machine(), "linux-headers-generic")


def _debian_halves(sources: Path) -> tuple[Path, Path] | None:
    """The newest pair of ``linux-headers-VERSION-common`` and ``linux-headers-VERSION-FLAVOUR``."""
    found: list[tuple[list[int], Path, Path]] = []
    for flavoured in sources.glob("linux-headers-*"):
        match = _FLAVOURED.fullmatch(flavoured.name)
        common = sources / f"linux-headers-{match['version']}-common" if match else None
        if match and common is not None and (common / "include").is_dir() and (flavoured / "include").is_dir():
            found.append(([int(part) for part in re.split(r"[.-]", match["version"])], common, flavoured))
    if not found:
        return None
    _, common, flavoured = max(found, key=lambda entry: (entry[0], entry[2].name))
    return common, flavoured


def _merge(common: Path, flavoured: Path, merged: Path, architecture: str) -> None:
    """Links both halves into ``merged``, which appears complete or not at all."""
    try:
        merged.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=merged.parent))
    except OSError as error:
        raise KernelHeadersMissing(
            f"The header tree cannot be written to {merged.parent} ({error.strerror}): "
            "run as root, or set BCC_KERNEL_SOURCE to a merged header tree."
        ) from error
    try:
        for half in (common, flavoured):
            for part in ("include", f"arch/{architecture}/include"):
                _link_tree(half / part, building / part)
        building.chmod(0o755)
        building.rename(merged)
    except OSError:
        if not merged.is_dir():  # otherwise another loader was first, and its tree is as good
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _link_tree(source: Path, target: Path) -> None:
    for directory, _, files in os.walk(source):
        there = target / Path(directory).relative_to(source)
        there.mkdir(parents=True, exist_ok=True)
        for name in files:
            link = there / name
            link.unlink(missing_ok=True)
            link.symlink_to(Path(directory) / name)
