"""A kind of interface that only Debian's kernel has: what is told of VLAN devices."""

from __future__ import annotations

import subprocess

import pytest

from datapath import netlink
from datapath.preflight import examine_interface
from tests.kernel.network import veth

pytestmark = pytest.mark.kernel


def test_vlan_devices_are_told() -> None:
    with veth("pre0"):
        subprocess.run(["ip", "link", "add", "link", "pre0", "name", "pre0.7", "type", "vlan", "id", "7"], check=True)
        state = netlink.interface_state("pre0.7")
        assert "vlan" in {notice.about for notice in examine_interface(state)}
