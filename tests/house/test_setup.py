"""The set-up: quick when nothing is missing, and one sentence that helps for what cannot be had."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the script and what it reads, and a folder of commands that stand in for Debian's."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "setup", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def stand_in(checkout: Path, name: str, script: str) -> None:
    file = checkout / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def set_up(checkout: Path, *arguments: str, path: str | None = None) -> tuple[int, list[str]]:
    environment = {**os.environ, "PATH": path or f"{checkout / 'bin'}:{os.environ['PATH']}"}
    command = ["/bin/bash", str(checkout / ".ci" / "setup"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


def test_what_is_missing_can_be_asked_for(checkout: Path) -> None:
    stand_in(checkout, "dpkg-query", "exit 1")
    status, lines = set_up(checkout, "--check")
    assert status == 1
    assert len(lines) == 1
    assert lines[0].startswith("setup: missing: ")
    assert {"python3-bpfcc", "tshark", ".venv."} <= set(lines[0].split())
    assert not (checkout / ".venv").exists()


def test_only_root_can_install(checkout: Path) -> None:
    stand_in(checkout, "dpkg-query", "exit 1")
    stand_in(checkout, "id", "echo 1000")
    status, lines = set_up(checkout)
    assert status == 1
    assert "only root can install them. Run: sudo make setup" in lines[-1]


def test_without_a_network_the_way_out_is_named(checkout: Path) -> None:
    stand_in(checkout, "dpkg-query", "exit 1")
    stand_in(checkout, "id", "echo 0")
    stand_in(checkout, "apt-get", "echo could not resolve; exit 100")
    status, lines = set_up(checkout)
    assert status == 1
    assert "apt-get update failed" in lines[-1]
    assert "Check the network and /etc/apt/sources.list" in lines[-1]


def test_a_system_that_is_not_debian(checkout: Path) -> None:
    for name in ("dirname", "cat", "readlink"):
        (checkout / "bin" / name).symlink_to(str(shutil.which(name)))
    status, lines = set_up(checkout, path=str(checkout / "bin"))
    assert status == 1
    assert lines[-1].startswith("setup: this is not Debian.")


def test_only_what_is_missing_is_installed_and_nothing_asks(checkout: Path) -> None:
    calls = checkout / "calls"
    # All there but ethtool, as far as dpkg-query goes.
    stand_in(checkout, "dpkg-query", 'for p; do case $p in -*|ethtool) ;; *) echo "$p installed";; esac; done')
    stand_in(checkout, "id", "echo 0")
    stand_in(checkout, "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {calls}; case "$*" in *install*) exit 1;; esac')
    status, lines = set_up(checkout)
    assert status == 1
    assert "apt-get could not install ethtool" in lines[-1]
    update, install = calls.read_text().splitlines()
    assert update.startswith("noninteractive")
    assert update.endswith(" update")
    assert install.startswith("noninteractive")
    assert install.split(" install ")[1].split()[0] == "ethtool"
