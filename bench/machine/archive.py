"""cpio archives of the ``newc`` format, which the kernel unpacks as its first root file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"


class Archive:
    """Writes one archive. Several of them one after the other in a file are unpacked over each other."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._inode = 0
        self._directories: set[Path] = set()

    def add_directory(self, path: Path) -> None:
        """Adds a directory and those above it, each once."""
        if path == Path("/") or path in self._directories:
            return
        self.add_directory(path.parent)
        self._directories.add(path)
        self._entry(path, stat.S_IFDIR | 0o755, b"")

    def add_file(self, path: Path, data: bytes, mode: int = 0o644, modified_at: int = 0) -> None:
        """Adds a regular file; ``modified_at`` is in seconds since the epoch."""
        self.add_directory(path.parent)
        self._entry(path, stat.S_IFREG | mode, data, modified_at)

    def add_link(self, path: Path, target: str) -> None:
        """Adds a symbolic link."""
        self.add_directory(path.parent)
        self._entry(path, stat.S_IFLNK | 0o777, os.fsencode(target))

    def copy(self, source: Path, path: Path | None = None) -> None:
        """Adds what ``source`` is on this machine, under ``path`` or the same name; a link stays a link."""
        path = path or source
        if source.is_symlink():
            self.add_link(path, os.readlink(source))
        elif source.is_dir():
            self.add_directory(path)
        else:
            status = source.stat()
            # Python takes a compiled module only if it knows the time of its source.
            self.add_file(path, source.read_bytes(), stat.S_IMODE(status.st_mode), int(status.st_mtime))

    def close(self) -> None:
        """Ends the archive; the output stays open."""
        self._entry(Path("/", _TRAILER), 0, b"")

    def _entry(self, path: Path, mode: int, data: bytes, modified_at: int = 0) -> None:
        self._inode += 1
        name = os.fsencode(path.relative_to("/")) + b"\0"
        links, owner, group, device = 1, 0, 0, 0
        fields = (
            *(self._inode, mode, owner, group, links, modified_at, len(data)),
            *(device, device, device, device, len(name), 0),
        )
        header = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
        self._output.write(header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4))
