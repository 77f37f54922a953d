"""Bindings with IPv4 care-of addresses: read back, reconciled, shown; and when routes of IPv4 are asked for anew."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address

import pytest

from control.daemon.route_watch import RouteWatch
from datapath.address_words import words_of
from datapath.bindings import IPv4CareOfAddress, Tunnel
from datapath.errors import AddressNotServed
from datapath.route_changes import BOTH_FAMILIES
from datapath.route_control import RouteControl
from datapath.show import show
from tests.datapath.conftest import run
from tests.datapath.ipv4.frames import (
    AGENT,
    IN_UDP,
    MACS,
    PLAIN,
    bind,
)

pytestmark = pytest.mark.namespaces


def test_changes_of_ipv4_routes_and_neighbours_begin_a_new_generation(testbed):
    async def watched() -> None:
        loop = asyncio.get_running_loop()
        watch = RouteWatch(RouteControl.open(testbed.pin_path), loop, BOTH_FAMILIES)
        control = RouteControl.open(testbed.pin_path)
        try:
            for change in (
                "ip neigh replace 192.0.2.5 dev core lladdr 02:00:00:00:04:99 nud permanent",
                "ip route add 10.1.0.0/16 via 192.0.2.5 dev core",
                "ip route del 10.1.0.0/16 via 192.0.2.5 dev core",
                f"ip neigh replace 192.0.2.5 dev core lladdr {MACS[PLAIN]} nud permanent",
            ):
                before = control.generation
                run(change)
                async with asyncio.timeout(30):
                    while control.generation == before:
                        await asyncio.sleep(0.01)
        finally:
            control.close()
            watch.close()

    asyncio.run(watched())


def test_bindings_are_read_back_and_reconciled(testbed):
    expected = {
        testbed.home: Tunnel(PLAIN, testbed.home_agent),
        testbed.other_home: Tunnel(IN_UDP, testbed.other_home_agent),
        IPv6Address("2001:db8:100::7"): Tunnel(testbed.care_of, testbed.home_agent),
    }

    testbed.bindings.reconcile(expected)

    assert testbed.bindings.entries() == expected
    again = testbed.bindings.reconcile(expected)
    assert (again.added, again.changed, again.removed) == ([], [], [])
    moved = expected | {testbed.other_home: Tunnel(IPv4CareOfAddress(IN_UDP.address, AGENT, 9), testbed.home_agent)}
    assert testbed.bindings.reconcile(moved).changed == [testbed.other_home]


def test_whoever_reconciles_may_leave_tunnels_over_ipv4_to_others(testbed):
    gone = Tunnel(IPv4CareOfAddress(PLAIN.address, IPv4Address("192.0.2.200")), testbed.home_agent)
    known = {
        testbed.other_home: Tunnel(IN_UDP, testbed.other_home_agent),
        IPv6Address("2001:db8:100::7"): Tunnel(PLAIN, testbed.home_agent),
    }
    own = {IPv6Address("2001:db8:100::8"): Tunnel(testbed.care_of, testbed.home_agent)}
    testbed.bindings.install_many(known)
    # As an upgrade leaves what was made for an address that is not served any more.
    agents = [testbed.home_agent]
    testbed.bindings.carry(*(words_of(each) for each in ([testbed.home], [gone.care_of_address], agents)))
    assert testbed.bindings.entries() == known | {testbed.home: gone}

    outcome = testbed.bindings.reconcile(own, leave_ipv4=True)

    assert testbed.bindings.entries() == known | own
    assert (outcome.removed, set(outcome.left)) == ([testbed.home], set(known))
    testbed.bindings.reconcile({testbed.other_home: Tunnel(testbed.care_of, testbed.home_agent)}, leave_ipv4=True)
    assert testbed.bindings.entries()[testbed.other_home].care_of_address == testbed.care_of


def test_an_address_the_data_path_does_not_serve_is_refused(testbed):
    other = IPv4CareOfAddress(PLAIN.address, IPv4Address("192.0.2.200"))
    before = testbed.bindings.entries()

    with pytest.raises(AddressNotServed, match=r"192\.0\.2\.200"):
        bind(testbed, other)
    with pytest.raises(AddressNotServed, match="load again"):
        testbed.bindings.install_many({testbed.home: Tunnel(other, testbed.home_agent)})
    with pytest.raises(ValueError, match="nothing is routed"):
        bind(testbed, IPv6Address(int(PLAIN)))
    assert testbed.bindings.entries() == before


def test_shows_both_kinds_of_addresses(testbed):
    shown = show(testbed.pin_path)["home_agent_addresses"]

    assert shown == [str(testbed.home_agent), str(testbed.other_home_agent), str(AGENT)]
