from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.machine.archive import Archive


def unpacked(data: bytes, directory: Path) -> Path:
    subprocess.run(
        [shutil.which("busybox") or "busybox", "cpio", "-idm"],
        input=data,
        cwd=directory,
        capture_output=True,
        check=True,
    )
    return directory


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs Debian's busybox-static: run `make setup`")
def test_another_program_unpacks_what_was_archived(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"#!/bin/sh\n")
    source.chmod(0o750)
    os.utime(source, (1_600_000_000, 1_600_000_000))
    output = io.BytesIO()
    archive = Archive(output)
    archive.copy(source, Path("/a/b/copied"))
    archive.add_file(Path("/a/odd"), b"12345")
    archive.add_file(Path("/a/empty"), b"")
    archive.add_link(Path("/a/link"), "odd")
    archive.close()
    target = tmp_path / "target"
    target.mkdir()
    unpacked(output.getvalue(), target)
    copied = target / "a/b/copied"
    assert (copied.read_bytes(), copied.stat().st_mode & 0o777) == (b"#!/bin/sh\n", 0o750)
    assert int(copied.stat().st_mtime) == 1_600_000_000
    assert (target / "a/odd").read_bytes() == b"12345"
    assert (target / "a/empty").read_bytes() == b""
    assert os.readlink(target / "a/link") == "odd"


def test_a_directory_is_written_once() -> None:
    output = io.BytesIO()
    archive = Archive(output)
    archive.add_file(Path("/one/two/a"), b"")
    archive.add_file(Path("/one/two/b"), b"")
    archive.close()
    assert output.getvalue().count(b"one/two\0") == 1
    assert len(output.getvalue()) % 4 == 0
