"""Kinds of interfaces that only Debian's kernel has: what is told of bonds and VLAN devices."""

from __future__ import annotations

import subprocess

import pytest

from datapath import netlink
from datapath.preflight import examine_interface
from tests.kernel.network import veth

pytestmark = pytest.mark.kernel


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


def told(name: str) -> set[str]:
    return {notice.about for notice in examine_interface(netlink.interface_state(name))}


def test_bonds_their_members_and_vlan_devices_are_told() -> None:
    with veth("pre0"):
        run("ip link add bond9 type bond mode active-backup")
        run("ip link add link pre0 name pre0.7 type vlan id 7")
        try:
            assert "vlan" in told("pre0.7")
            assert "bond" in told("bond9")
            run("ip link set pre0 down")
            run("ip link set pre0 master bond9")
            assert "bond-member" in told("pre0")
        finally:
            run("ip link del bond9")
