"""What `homeagent doctor` says of tunnels over IPv4."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from control.cli.doctor.finding import Level
from control.cli.doctor.ipv4 import examine_ipv4

HERE = IPv4Address("127.0.0.1")
ELSEWHERE = IPv4Address("192.0.2.200")
GOOD = {"forwarding": 1, "accept_local": 0, "rp_filter": 0}


def write(settings: Path, interface: str, **values: int) -> None:
    (settings / interface).mkdir()
    for key, value in (GOOD | values).items():
        (settings / interface / key).write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("on_all", "on_one", "level", "says"),
    [
        ({"accept_local": 1}, {}, Level.OK, "forwards"),
        ({}, {"accept_local": 1, "rp_filter": 2}, Level.OK, "forwards"),
        ({"accept_local": 1}, {"forwarding": 0}, Level.PROBLEM, "forwarding is off"),
        ({}, {}, Level.WARNING, "a new next hop"),
        ({"accept_local": 1}, {"rp_filter": 1}, Level.WARNING, "another interface"),
        ({"accept_local": 1, "rp_filter": 2}, {"rp_filter": 1}, Level.OK, "forwards"),
    ],
)
def test_settings_of_the_kernel(tmp_path, on_all, on_one, level, says):
    write(tmp_path, "all", **on_all)
    write(tmp_path, "core0", **on_one)

    address, interface = examine_ipv4([HERE], ["core0"], tmp_path)

    assert address.level is Level.OK
    assert interface.level is level
    assert says in interface.says


def test_what_is_not_there(tmp_path):
    address, interface = examine_ipv4([ELSEWHERE], ["core0"], tmp_path)

    assert (address.level, interface.level) == (Level.PROBLEM, Level.PROBLEM)
    assert str(ELSEWHERE) in address.says


def test_nothing_is_asked_without_an_address(tmp_path):
    assert list(examine_ipv4([], ["core0"], tmp_path)) == []
