"""`homeagent doctor`: single checks, and the command as a whole where a configuration is wrong."""

from __future__ import annotations

import json
from ipaddress import IPv6Network
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from control.cli.doctor.files import check_secret
from control.cli.doctor.finding import Level, told
from control.cli.doctor.host import check_kernel, check_privileges
from control.cli.doctor.ipsec import examine_ipsec
from control.cli.main import homeagent
from datapath.errors import KernelHeadersMissing
from datapath.home_link import HomeLink
from datapath.layout import PROGRAM_NAME, pin_directory

PREFIX = IPv6Network("2001:db8:100::/64")


@pytest.mark.parametrize(
    ("release", "level"),
    [
        ("6.1.0-13-amd64", Level.OK),
        ("6.18.44", Level.OK),
        ("5.15.0-91-generic", Level.WARNING),
        ("5.10.0-27-amd64", Level.PROBLEM),
        ("strange", Level.PROBLEM),
    ],
)
def test_kernels_by_age(release, level):
    assert check_kernel(release).level is level


@pytest.mark.parametrize(
    ("capabilities", "level", "says"),
    [
        ("000001ffffffffff", Level.OK, "all capabilities"),
        ("000000c000003400", Level.WARNING, "CAP_SYS_ADMIN"),
        ("000000c000001400", Level.PROBLEM, "CAP_NET_RAW missing"),
        ("0000000000000000", Level.PROBLEM, "CAP_BPF"),
    ],
)
def test_privileges_by_capability(capabilities, level, says):
    finding = check_privileges(f"Name:\tx\nCapEff:\t{capabilities}\nCapBnd:\t0\n")
    assert finding.level is level
    assert says in finding.says
    assert bool(finding.remedy) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("mode", "level"), [(0o600, Level.OK), (0o400, Level.OK), (0o640, Level.WARNING), (0o644, Level.PROBLEM)]
)
def test_secrets_by_mode(tmp_path, mode, level):
    path = tmp_path / "key.pem"
    path.touch()
    path.chmod(mode)
    finding = check_secret(path)
    assert finding.level is level
    assert (f"chmod 600 {path}" in finding.remedy) == (level is not Level.OK)


def test_the_remedy_of_an_error_is_told_apart():
    finding = told("compiler", KernelHeadersMissing("No kernel headers: run `apt-get install x`."))
    assert (finding.says, finding.remedy) == ("No kernel headers", "Run `apt-get install x`.")


def configuration(pin_path: Path, back_end: str = "auto"):
    return SimpleNamespace(
        ike=SimpleNamespace(workers=1),
        ipsec=SimpleNamespace(back_end=back_end),
        datapath=SimpleNamespace(pin_path=pin_path),
        home_agent=SimpleNamespace(home_prefixes=(PREFIX,)),
    )


def link(*prefixes: IPv6Network) -> HomeLink:
    return HomeLink("mip0", "dummy", 1476, list(prefixes))


@pytest.mark.parametrize(
    ("back_end", "unavailable", "found", "expected"),
    [
        ("auto", "no ESP", None, [("IPsec", Level.OK, "userspace back end: no ESP")]),
        ("kernel", "no ESP", None, [("IPsec", Level.PROBLEM, "no ESP")]),
        ("auto", None, link(PREFIX), [("IPsec", Level.OK, "kernel"), ("home link", Level.OK, "mip0 (dummy)")]),
        ("auto", None, None, [("IPsec", Level.OK, "kernel"), ("home link", Level.WARNING, "does IPsec itself")]),
        ("kernel", None, None, [("IPsec", Level.OK, "kernel"), ("home link", Level.PROBLEM, "will not start")]),
        ("auto", None, link(), [("IPsec", Level.OK, "kernel"), ("home link", Level.PROBLEM, "other home prefixes")]),
    ],
)
def test_ipsec_and_its_home_link(tmp_path, back_end, unavailable, found, expected):
    program = pin_directory(tmp_path) / PROGRAM_NAME
    program.parent.mkdir()
    program.touch()  # as if it were loaded
    findings = list(examine_ipsec(configuration(tmp_path, back_end), lambda: unavailable, lambda: found))
    assert [(each.check, each.level) for each in findings] == [(check, level) for check, level, _ in expected]
    for finding, (_, _, says) in zip(findings, expected, strict=True):
        assert says in finding.says


def test_before_it_is_loaded_nobody_misses_a_home_link(tmp_path):
    assert [each.check for each in examine_ipsec(configuration(tmp_path), lambda: None, lambda: None)] == ["IPsec"]


def test_mistakes_in_the_configuration_are_problems_and_the_host_is_looked_at_all_the_same(tmp_path):
    path = tmp_path / "homeagent.toml"
    path.write_text('[home_agent]\nname = "ha1"\naddress = "::1"\n')
    done = CliRunner().invoke(homeagent, ["doctor", "--json", "--config", str(path)])
    assert done.exit_code == 1
    answer = json.loads(done.output)
    assert not answer["ok"]
    levels = {finding["check"]: finding["level"] for finding in answer["findings"]}
    assert levels["configuration"] == "problem"
    assert "kernel" in levels
    shown = CliRunner().invoke(homeagent, ["doctor", "--config", str(path)])
    assert shown.exit_code == 1
    assert "home_agent.address" in shown.output
