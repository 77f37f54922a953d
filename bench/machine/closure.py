"""Which files of this machine a program needs to run elsewhere under the same names."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_LIBRARY = re.compile(r"^\s+(?:\S+ => )?(?P<path>/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_ELF = b"\x7fELF"


def tree(directory: Path, *, without: Iterable[str] = ()) -> list[Path]:
    """All files under ``directory``, passing over subdirectories of the names ``without``."""
    left_out = frozenset(without)
    found: list[Path] = []
    for parent, directories, files in os.walk(directory):
        directories[:] = [name for name in directories if name not in left_out]
        found += [Path(parent, name) for name in (*directories, *files)]
    return found


def project_dependencies(pyproject: Path) -> list[str]:
    """Names of the distributions a project says it depends on."""
    with pyproject.open("rb") as file:
        return [Requirement(text).name for text in tomllib.load(file)["project"]["dependencies"]]


def with_requirements(names: Iterable[str]) -> list[str]:
    """The distributions together with all that they need here, sorted."""
    wanted = list(names)
    found: set[str] = set()
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in found:
            continue
        found.add(name)
        for text in distribution(name).requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                wanted.append(requirement.name)
    return sorted(found)


def distribution_files(names: Iterable[str]) -> dict[Path, Path]:
    """The files of installed Python distributions by their names relative to ``site-packages``, without scripts."""
    found: dict[Path, Path] = {}
    for name in names:
        installed = distribution(name)
        top = Path(str(installed.locate_file("")))
        for part in sorted({Path(file).parts[0] for file in installed.files or () if not str(file).startswith("..")}):
            path = top / part
            found.update((file.relative_to(top), file) for file in (tree(path) if path.is_dir() else [path]))
    return found


def with_libraries(files: Iterable[Path]) -> list[Path]:
    """The files together with the shared libraries that the programs and libraries among them load, and all links."""
    wanted = list(files)
    binaries = [path for path in wanted if path.is_file() and _is_binary(path)]
    libraries: set[Path] = set()
    for start in range(0, len(binaries), 200):
        batch = [str(path) for path in binaries[start : start + 200]]
        # ldd exits with 1 when one of them is no dynamic executable, which is as good as an empty answer.
        said = subprocess.run(["ldd", *batch], capture_output=True, text=True, check=False).stdout
        libraries.update(Path(match["path"]) for match in _LIBRARY.finditer(said))
    return _with_link_targets([*wanted, *sorted(libraries)])


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _ELF


def _with_link_targets(paths: Iterable[Path]) -> list[Path]:
    """Every path once, every symbolic link on the way to it, and what the links point to."""
    result: dict[Path, None] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop()
        real_parent = path.parent.resolve()
        if real_parent != path.parent:
            waiting.extend(parent for parent in path.parents if parent.is_symlink())
            path = real_parent / path.name
        if path in result:
            continue
        result[path] = None
        if path.is_symlink():
            waiting.append(Path(os.path.normpath(path.parent / os.readlink(path))))
    return sorted(result)
