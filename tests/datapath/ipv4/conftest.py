"""The testbed of tunnels over IPv4."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.datapath.conftest import Testbed, loaded_testbed, run
from tests.datapath.ipv4.frames import AGENT, IN_UDP, MACS, PLAIN


@pytest.fixture(scope="module")
def testbed() -> Iterator[Testbed]:
    """The data path with an IPv4 address, and nodes with IPv4 care-of addresses."""
    with loaded_testbed(ipv4_addresses=[AGENT]) as bed:
        run("ip addr add 192.0.2.1/24 dev core")
        run("ip addr add 198.51.100.1/24 dev plain")
        Path("/proc/sys/net/ipv4/conf/all/forwarding").write_text("1")
        # As an operator has to: what the program answers comes back to the kernel, from an address of its own.
        Path("/proc/sys/net/ipv4/conf/all/accept_local").write_text("1")
        for address, mac in {PLAIN.address: MACS[PLAIN], IN_UDP.address: MACS[IN_UDP]}.items():
            run(f"ip neigh add {address} dev core lladdr {mac} nud permanent")
        run("ip neigh add 198.51.100.2 dev plain lladdr 02:00:00:00:0a:04 nud permanent")
        run("ip route add 203.0.113.0/25 via 192.0.2.5 dev core mtu lock 1400")
        run("ip route add 203.0.113.128/25 via 192.0.2.5 dev core mtu lock 1290")
        yield bed
