from __future__ import annotations

from pathlib import Path

import pytest

from bench.machine.errors import MachineError
from bench.machine.kernel import Kernel, debian_kernel


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    root = tmp_path / "linux-image-6.1.0-1-cloud-amd64"
    modules = root / "lib/modules/6.1.0-1-cloud-amd64"
    modules.mkdir(parents=True)
    lines = ["kernel/c.ko: kernel/b.ko kernel/a.ko", "kernel/b.ko: kernel/a.ko", "kernel/a.ko:"]
    (modules / "modules.dep").write_text("\n".join(lines) + "\n")
    return debian_kernel(tmp_path)


def test_modules_come_after_those_they_need(kernel: Kernel) -> None:
    assert [file.stem for file in kernel.module_order(["c"])] == ["a", "b", "c"]


def test_a_module_that_is_built_in_is_no_module(kernel: Kernel) -> None:
    assert kernel.module_order(["ext4"]) == []


def test_the_image_has_the_name_of_the_release(kernel: Kernel) -> None:
    assert kernel.image.name == "vmlinuz-6.1.0-1-cloud-amd64"


def test_a_cache_without_a_kernel_in_it_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "linux-image-6.1.0-1-cloud-amd64").mkdir()
    with pytest.raises(MachineError, match="remove it"):
        debian_kernel(tmp_path)
