"""The commands as an operator calls them, without a daemon: their failures and what they read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.lab.pki import CertificateAuthority
from tests.waiting import PATIENCE_S

CONFIGURATION = """
[home_agent]
name = "ha1"
address = "2001:db8:a1::1"
identity = "ha1.example.org"
home_prefixes = ["2001:db8:100::/64"]
[datapath]
interfaces = ["nowhere0"]
pin_path = "{folder}/pins"
[cluster]
store = "{folder}/state.db"
[control]
socket = "{folder}/control.sock"
"""


NO_INTERFACE = "there is no interface nowhere0 on this machine now. Correct datapath.interfaces, or make it."


def homeagent(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "control", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "homeagent.toml"
    path.write_text(CONFIGURATION.format(folder=tmp_path))
    return path


def assert_one_line_failure(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("homeagent: ")
    for part in parts:
        assert part in lines[0]


def test_help_names_every_command():
    result = homeagent("--help")
    assert result.returncode == 0
    for command in [
        "bindings",
        "config",
        "datapath",
        "events",
        "mobile-node",
        "sas",
        "serve",
        "simulate",
        "status",
        "takeover",
    ]:
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("group", [[], ["datapath"], ["rebootstrap"], ["config"]])
def test_summaries_of_commands_are_not_cut_off(group):
    result = homeagent(*group, "--help")
    assert result.returncode == 0
    commands = result.stdout.partition("Commands:\n")[2].splitlines()
    assert commands
    assert [line for line in commands if line.endswith("...")] == []


def test_a_good_configuration_is_said_to_be_good(configuration):
    result = homeagent("config", "check", "--config", str(configuration), "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout) == {"ok": True, "home_agent": "ha1", "nodes": 0, "warnings": [NO_INTERFACE]}


def test_every_mistake_is_told_with_its_line(configuration):
    text = configuration.read_text().replace("interfaces", "interface").replace('"2001:db8:a1::1"', '"192.0.2.1"')
    configuration.write_text(text)
    result = homeagent("config", "check", "--config", str(configuration))
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert any(f"{configuration}:4: home_agent.address" in line for line in lines)
    assert any(f"{configuration}:8: datapath.interface" in line for line in lines)
    problems = json.loads(homeagent("config", "check", "--config", str(configuration), "--json").stdout)["problems"]
    assert {problem["line"] for problem in problems} >= {4, 8}


@pytest.mark.parametrize("command", ["status", "bindings", "sas", "events"])
def test_without_a_daemon_the_way_out_is_named(configuration, command):
    result = homeagent(command, "--config", str(configuration))
    assert_one_line_failure(result, "control.sock", "homeagent serve")


def test_serving_without_a_data_path_names_the_step_before(configuration):
    result = homeagent("serve", "--config", str(configuration), "--log-level", "error")
    assert_one_line_failure(result, "homeagent datapath load")


def test_a_missing_configuration_is_named(tmp_path):
    assert_one_line_failure(homeagent("status", "--config", str(tmp_path / "none.toml")), "none.toml", "no such file")


def test_serving_never_loads_the_compiler():
    code = "import sys, control.daemon.service; sys.exit(any(name.split('.')[0] == 'bcc' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_asking_loads_neither_engine_nor_compiler():
    code = (
        "import sys, control.cli; "
        "sys.exit(any(name in sys.modules for name in ('bcc', 'control.ikev2.endpoint', 'control.daemon.service')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_frames_are_summarised_to_the_innermost_layer():
    frame = "0200000000010200000000028 6dd6000000000083a4020010db8000000000000000000000001".replace(" ", "")
    frame += "20010db8000000000000000000000002" + "8000" + "0000" + "00010002"
    code = f"from control.cli.trace import _summary; print(_summary(bytes.fromhex('{frame}')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("Ether / IPv6 / ICMPv6 Echo Request")


def test_versions():
    result = homeagent("version", "--json")
    assert set(json.loads(result.stdout)) == {"homeagent", "python", "cryptography", "kernel"}


def test_a_revocation_list_that_is_none_is_told(configuration):
    (configuration.parent / "ca.crl").write_text("not a list")
    with configuration.open("a") as file:
        file.write('[ike]\ncrls = ["ca.crl"]\n')
    result = homeagent("config", "check", "--config", str(configuration))
    assert_one_line_failure(result, "ca.crl", "no certificate revocation list")


def test_what_works_but_should_not_stay_so_is_a_warning(configuration):
    nodes = configuration.parent / "nodes.toml"
    nodes.write_text(
        '[[node]]\nidentity = "mn1"\nhome_address = "2001:db8:100::1"\n'
        'authentication = "shared-key"\nshared_key = "hush"\n'
    )
    nodes.chmod(0o644)
    with configuration.open("a") as file:
        file.write('[nodes]\nfile = "nodes.toml"\n[key_export]\nike = "keys"\n')
    result = homeagent("config", "check", "--config", str(configuration))
    assert result.returncode == 0
    assert f"chmod 600 {nodes}" in result.stderr
    assert "no interface nowhere0" in result.stderr
    assert "session keys are exported" in result.stderr
    assert "hush" not in result.stderr + result.stdout
    assert (
        len(json.loads(homeagent("config", "check", "--config", str(configuration), "--json").stdout)["warnings"]) == 3
    )


def test_a_configuration_with_a_password_is_a_secret(configuration):
    configuration.write_text(
        configuration.read_text().replace(f'"{configuration.parent}/state.db"', '"redis://ha:sesame@store/0"')
    )
    configuration.chmod(0o644)
    result = homeagent("config", "check", "--config", str(configuration))
    assert f"{configuration} holds a secret and others can read it. Run: chmod 600 {configuration}" in result.stderr
    assert "sesame" not in result.stderr + result.stdout
    configuration.chmod(0o600)
    assert "chmod" not in homeagent("config", "check", "--config", str(configuration)).stderr


def test_a_certificate_that_is_none_is_found_by_the_check(configuration):
    (configuration.parent / "ha1.pem").write_text("hello")
    (configuration.parent / "ha1.key").write_text("hello")
    with configuration.open("a") as file:
        file.write('[ike]\ncertificate = "ha1.pem"\nprivate_key = "ha1.key"\n')
    result = homeagent("config", "check", "--config", str(configuration))
    assert_one_line_failure(result, "ha1.pem", "PEM")


def test_a_certificate_that_nodes_will_refuse_is_a_warning(configuration):
    CertificateAuthority().issue("ha9.example.org").write(configuration.parent, "ha1")
    with configuration.open("a") as file:
        file.write('[ike]\ncertificate = "ha1.pem"\nprivate_key = "ha1.key"\n')
    result = homeagent("config", "check", "--config", str(configuration))
    assert result.returncode == 0
    assert "ha1.pem: identity-not-in-certificate: ha1.example.org. Have one issued" in result.stderr


def test_a_fault_of_its_own_shows_no_traceback():
    code = "from control.cli.main import homeagent, main; homeagent.main = lambda **_: 1 / 0; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 70
    assert result.stderr.startswith("homeagent: a fault of its own (ZeroDivisionError: division by zero).")
    assert "Traceback" not in result.stderr
