"""Where pins can be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapath import bpffs
from datapath.errors import BpffsUnavailable, NotLoaded, PrivilegeRequired

MOUNTS = """\
/dev/vda / ext4 rw 0 0
sysfs /sys sysfs rw 0 0
bpf /sys/fs/bpf bpf rw 0 0
tmpfs /sys/fs/bpf/over tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/sys/fs/bpf/homeagent", True),
        ("/sys/fs/bpf", True),
        ("/sys/fs/bpfx", False),
        ("/sys/fs/bpf/over/here", False),
        ("/var/run", False),
    ],
)
def test_the_innermost_mount_counts(path, expected):
    assert bpffs.is_on_bpffs(Path(path), MOUNTS) is expected


def test_a_path_elsewhere_is_refused(tmp_path):
    with pytest.raises(BpffsUnavailable, match="pin_path under /sys/fs/bpf"):
        bpffs.ensure_directory(tmp_path / "v1")


def test_hidden_by_another_mount_namespace(monkeypatch):
    monkeypatch.setattr(bpffs, "is_on_bpffs", lambda path: False)
    monkeypatch.setattr(bpffs.os, "geteuid", lambda: 0)
    numbers = iter((1, 2))
    monkeypatch.setattr(bpffs.os, "stat", lambda path: type("Stat", (), {"st_ino": next(numbers)}))

    with pytest.raises(BpffsUnavailable, match="nsenter --net"):
        bpffs.ensure_directory(Path("/sys/fs/bpf/homeagent/v1"))


def test_not_mounted_and_no_privilege(monkeypatch):
    monkeypatch.setattr(bpffs, "is_on_bpffs", lambda path: False)
    monkeypatch.setattr(bpffs.os, "geteuid", lambda: 1000)

    with pytest.raises(PrivilegeRequired, match="mount -t bpf"):
        bpffs.ensure_directory(Path("/sys/fs/bpf/homeagent/v1"))


def test_locking_what_is_not_there(tmp_path):
    with pytest.raises(NotLoaded, match="homeagent datapath load"), bpffs.locked(tmp_path / "nothing"):
        pass
