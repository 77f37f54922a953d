"""The systemd units run commands that exist, with the privileges that the product says it needs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from control.cli.failures import CAPABILITIES
from control.cli.main import homeagent
from tests.units import DAEMON, DATA_PATH, UNITS, setting, settings


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_run_commands_that_exist(unit: Path) -> None:
    commands = [shlex.split(value) for key, value in settings(unit) if key.startswith("Exec")]
    assert commands
    for program, *arguments in commands:
        assert program == "/opt/homeagent/bin/homeagent"
        command: click.Command = homeagent
        for argument in arguments:
            assert isinstance(command, click.Group)
            command = command.commands[argument]
        assert not isinstance(command, click.Group)


def test_the_daemon_has_the_capabilities_it_asks_for_and_no_others() -> None:
    told = set(re.findall(r"CAP_[A-Z_]+", CAPABILITIES))
    assert set(setting(DAEMON, "CapabilityBoundingSet").split()) == told


def test_the_daemon_does_not_load_the_data_path() -> None:
    """A restart that compiled would take longer than a lease, and peers would take the nodes over."""
    assert not any("datapath" in value for key, value in settings(DAEMON) if key.startswith("Exec"))
    assert DATA_PATH.name in setting(DAEMON, "Requires")
    assert DATA_PATH.name in setting(DAEMON, "After").split()


def test_a_restart_fits_into_the_default_lease() -> None:
    from control.config.schema import ClusterSettings

    milliseconds = int(re.fullmatch(r"(\d+)ms", setting(DAEMON, "RestartSec"))[1])  # type: ignore[index]
    assert milliseconds / 1000 < ClusterSettings().lease_s / 10


def test_the_daemon_is_started_for_ever_and_finds_what_its_predecessor_has_noted() -> None:
    assert setting(DAEMON, "Restart") == "on-failure"
    assert setting(DAEMON, "StartLimitIntervalSec") == "0"
    assert setting(DAEMON, "RuntimeDirectoryPreserve") == "restart"


def test_default_paths_are_where_the_unit_may_write() -> None:
    from control.config.schema import ClusterSettings, ControlSettings

    assert ClusterSettings().store.place.parent == Path("/var/lib") / setting(DAEMON, "StateDirectory")
    assert ControlSettings().socket.parent == Path("/run") / setting(DAEMON, "RuntimeDirectory")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_reads_the_units(unit: Path, tmp_path: Path) -> None:
    """Syntax, key names and references; systemd-analyze wants the programs to exist, so another stands in for ours."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return  # not among the packages that setup installs; the tests above do not need it
    for other in UNITS:
        text = other.read_text().replace("/opt/homeagent/bin/homeagent", "/bin/true")
        (tmp_path / other.name).write_text(text)
    result = subprocess.run([analyze, "verify", str(tmp_path / unit.name)], capture_output=True, text=True)
    complaints = [line for line in result.stderr.splitlines() if line.startswith((unit.name, str(tmp_path)))]
    assert complaints == []
    assert result.returncode == 0
