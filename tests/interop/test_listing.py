"""`homeagent sas` beside `swanctl --list-sas`: the same IKE SA, told in the same way from the other end."""

from __future__ import annotations

import re
import time
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from bench.lab.ike_peers import Peers
from control.cli.sa_lines import sa_lines
from control.daemon.security_association_rows import security_association_rows
from control.home_agent.directory import NodeDirectory
from tests.interop.credentials import SHARED, connections

pytestmark = pytest.mark.namespaces

_HEAD = re.compile(r"\S+: (?:#\d+, )?(?P<rest>ESTABLISHED, IKEv2, .+)")


def mirrored(lines: list[str]) -> list[str]:
    """The first three lines as the other side would have them."""
    head, local, remote = lines[:3]
    found = _HEAD.fullmatch(head)
    assert found is not None, head
    spis = re.sub(r"_(.)(\*?)", lambda spi: f"_{spi[1]}{'' if spi[2] else '*'}", found["rest"])
    return [spis, remote.replace("remote", "local "), local.replace("local ", "remote")]


@pytest.mark.parametrize("role", ["initiator", "responder"])
def test_an_ike_sa_is_told_as_swanctl_tells_it(tmp_path: Path, role: str) -> None:
    with Peers(tmp_path) as peers:
        peers.charon.load(connections(SHARED))
        if role == "initiator":
            peers.connect()
        else:
            peers.swanctl_and_pump("--initiate", "--ike", "ha")
        theirs = peers.charon.swanctl("--list-sas").splitlines()
        directory = NodeDirectory([], [IPv6Network("2001:db8:100::/64")])
        (row,) = security_association_rows(peers.ours.established(), [], directory, time.monotonic())
        ours = list(sa_lines(row))
        head = _HEAD.fullmatch(ours[0])
        assert head is not None
        assert [head["rest"], *ours[1:3]] == mirrored(theirs)
        shape = re.compile(r"  established \d+s ago, rekeying in \d+s")
        assert shape.match(ours[4])
        assert shape.match(theirs[4])
