"""What goes on while the daemon is stopped, killed and started again, though it is not in the store.

These are tunnels over IPv4, which another program has made, and routes that are announced.
"""

from __future__ import annotations

import signal
from contextlib import closing
from ipaddress import IPv4Address

import pytest

from bench.lab.addresses import CORRESPONDENT_PREFIX, HOME_PREFIX, home_address, home_agent_prefix
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentOptions, HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import NumberedPackets
from bench.lab.streams import ControlStream
from bench.lab.topology import Host, RoutedCore
from datapath.bindings import BindingMap, IPv4CareOfAddress, Tunnel
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces

AGENT, CARE_OF = IPv4Address("192.0.2.1"), IPv4Address("198.51.100.1")
ROUTES = 110
ROUTERS = {AGENT: AGENT + 1, CARE_OF: CARE_OF + 1}


def give_ipv4(core: RoutedCore, host: Host, address: IPv4Address) -> None:
    """An IPv4 link to the core, beside the IPv6 one."""
    core.namespace.run(["ip", "address", "add", f"{ROUTERS[address]}/24", "dev", host.core_device])
    host.namespace.run(["ip", "address", "add", f"{address}/24", "dev", host.device])
    host.namespace.run(["ip", "route", "add", "default", "via", str(ROUTERS[address])])
    host.namespace.run(["ping", "-c", "1", "-W", "5", "-q", str(ROUTERS[address])])


def restart(home_agent: HomeAgentUnderTest, number: signal.Signals) -> None:
    home_agent.daemon.signal(number)
    home_agent.daemon.wait(PATIENCE_S)
    home_agent.serve()
    home_agent.wait_ready(PATIENCE_S)


def test_no_packet_is_lost_when_the_daemon_is_stopped_and_killed(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscriber = credentials.subscriber(1, home_address(1))
    core = RoutedCore(laboratory)
    correspondent = core.attach("cn", CORRESPONDENT_PREFIX, "eth0")
    host = core.attach_home_agent("ha1", home_agent_prefix(1), [HOME_PREFIX])
    core.route(HOME_PREFIX, host)
    options = HomeAgentOptions(
        home_prefixes=[HOME_PREFIX],
        store=laboratory.subdirectory("store") / "state.db",
        ipv4_addresses=[AGENT],
        routes={"announce": True},
    )
    home_agent = HomeAgentUnderTest(laboratory, host, credentials, [subscriber], options)
    node = MobileNodeAgent(laboratory, core, credentials, subscriber, home_agent)
    core.prime_neighbours(correspondent, host, node.host)
    forwarding = {"net.ipv4.conf.all.forwarding": "1"}
    core.namespace.sysctl(forwarding)
    host.namespace.sysctl(forwarding | {"net.ipv4.conf.all.accept_local": "1"})
    give_ipv4(core, host, AGENT)
    give_ipv4(core, node.host, CARE_OF)
    home_agent.bring_up()
    node.start()
    node.events.wait_for("registered", PATIENCE_S)
    over_ipv4 = home_address(2)
    in_force = {
        over_ipv4: Tunnel(IPv4CareOfAddress(CARE_OF, AGENT), host.address),
        subscriber.home_address: Tunnel(node.host.address, host.address),
    }

    with closing(ControlStream(home_agent.socket, "hold-data-path")) as held:
        assert held.read(PATIENCE_S) == [{"held": True}]
        with BindingMap.open(home_agent.pin_path) as bindings:
            bindings.install(over_ipv4, in_force[over_ipv4].care_of_address, host.address)
    show = ["ip", "-6", "route", "show", "table", str(ROUTES)]
    wait_until(lambda: "expires" not in host.namespace.run(show), "the daemon does not notice that it is alone")
    monitor = laboratory.spawn(host.namespace, "monitor", ["ip", "-6", "monitor", "route"])
    packets = NumberedPackets(laboratory, correspondent, node.host, over_ipv4, AGENT, care_of=CARE_OF)
    for number in (signal.SIGTERM, signal.SIGKILL):
        restart(home_agent, number)
        with BindingMap.open(home_agent.pin_path) as bindings:
            assert bindings.entries() == in_force
    deliveries = packets.deliveries()
    host.namespace.run(["ip", "nexthop", "flush", "proto", "109"])  # as the manual has it
    wait_until(lambda: "Deleted blackhole" in monitor.output.read_text(), "the kernel tells nothing")
    told = [row for row in monitor.output.read_text().splitlines() if f"table {ROUTES}" in row]
    assert [row.split()[:3] for row in told] == [["Deleted", "blackhole", str(subscriber.home_address)]], told

    assert [(way.missing, way.repeated) for way in deliveries.values()] == [(0, 0), (0, 0)], deliveries
    assert min(way.sent for way in deliveries.values()) > 500
