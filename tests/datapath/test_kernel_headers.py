"""Finding kernel headers, and making one tree of Debian's two packages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datapath.errors import KernelHeadersMissing
from datapath.kernel_headers import kernel_source


@pytest.fixture(autouse=True)
def _no_override(monkeypatch):
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
    monkeypatch.setattr("datapath.kernel_headers.platform.machine", lambda: "x86_64")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def package(sources: Path, version: str, flavour: str = "cloud-amd64") -> None:
    common, flavoured = (sources / f"linux-headers-{version}-{part}" for part in ("common", flavour))
    write(common / "include/uapi/linux/bpf.h", f"common {version}")
    write(common / "arch/x86/include/asm/page.h", "page")
    write(common / "arch/arm64/include/asm/page.h", "other")
    write(flavoured / "include/generated/autoconf.h", f"flavoured {version}")
    write(flavoured / "include/uapi/linux/version.h", version)


def find(root: Path) -> Path | None:
    return kernel_source(modules=root / "modules", sources=root / "src", cache=root / "cache")


def test_merges_the_two_packages_once(tmp_path):
    package(tmp_path / "src", "6.1.0-9")

    merged = find(tmp_path)

    assert merged == tmp_path / "cache/linux-headers-6.1.0-9-cloud-amd64"
    assert (merged / "include/uapi/linux/bpf.h").read_text() == "common 6.1.0-9"
    assert (merged / "include/generated/autoconf.h").read_text() == "flavoured 6.1.0-9"
    assert (merged / "arch/x86/include/asm/page.h").is_symlink()
    assert not (merged / "arch/arm64").exists()
    before = merged.stat().st_ino
    assert find(tmp_path) == merged
    assert merged.stat().st_ino == before
    assert list((tmp_path / "cache").iterdir()) == [merged]


def test_takes_the_newest(tmp_path):
    for version in ("6.1.0-9", "6.1.0-56", "5.10.0-99"):
        package(tmp_path / "src", version)

    assert find(tmp_path).name == "linux-headers-6.1.0-56-cloud-amd64"


def test_ignores_half_a_pair(tmp_path):
    package(tmp_path / "src", "6.1.0-9")
    write(tmp_path / "src/linux-headers-6.1.0-77-cloud-amd64/include/x.h", "")

    assert find(tmp_path).name == "linux-headers-6.1.0-9-cloud-amd64"


def test_the_running_kernels_own_headers_come_first(tmp_path):
    package(tmp_path / "src", "6.1.0-9")
    (tmp_path / "modules" / os.uname().release / "build" / "include").mkdir(parents=True)

    assert find(tmp_path) is None


def test_the_environment_wins(tmp_path, monkeypatch):
    (tmp_path / "mine/include").mkdir(parents=True)
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path / "mine"))

    assert find(tmp_path) == tmp_path / "mine"


def test_a_wrong_environment_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BCC_KERNEL_SOURCE", str(tmp_path / "nothing"))

    with pytest.raises(KernelHeadersMissing, match="BCC_KERNEL_SOURCE"):
        find(tmp_path)


def test_without_headers_the_package_is_named(tmp_path):
    with pytest.raises(KernelHeadersMissing, match="apt-get install linux-headers-cloud-amd64"):
        find(tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    package(tmp_path / "src", "6.1.0-9")
    (tmp_path / "cache").write_text("a file")

    with pytest.raises(KernelHeadersMissing, match="BCC_KERNEL_SOURCE"):
        find(tmp_path)
