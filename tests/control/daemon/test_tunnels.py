"""Bindings and the networks behind them in the data path: all of a binding, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv6Address, IPv6Network

import pytest
from msgspec.structs import replace

from control.daemon.tunnels import Tunnels
from control.mobility.binding_cache import Binding
from datapath.bindings import Tunnel
from datapath.bpf_syscall import Map
from datapath.errors import DatapathError, MapFull, NotLoaded
from datapath.layout import MOBILE_ROUTER, pin_directory
from datapath.mobile_networks import MobileNetworkMap
from tests.datapath.conftest import Testbed, loaded_testbed

pytestmark = pytest.mark.namespaces

AGENT = Testbed.home_agent
NETWORK, SECOND_NETWORK = IPv6Network("2001:db8:700::/56"), IPv6Network("2001:db8:701::/64")


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with loaded_testbed(mobile_networks=True) as bed:
        yield bed


@pytest.fixture
def tunnels(bed: Testbed) -> Iterator[Tunnels]:
    with closing(Tunnels.open(bed.pin_path, mobile_routers=True)) as tunnels:
        tunnels.reconcile(())
        yield tunnels


def binding(number: int, *networks: IPv6Network) -> Binding:
    home_address, care_of_address = IPv6Address("2001:db8:100::") + number, IPv6Address("2001:db8:f:1::") + number
    return Binding(home_address, care_of_address, AGENT, f"mn{number}", 1e9, 1, mobile_networks=networks)


def networks(bed: Testbed) -> dict[IPv6Network, IPv6Address]:
    with closing(MobileNetworkMap.open(bed.pin_path)) as opened:
        return opened.entries()


def test_a_binding_comes_changes_and_goes_with_its_networks(bed: Testbed, tunnels: Tunnels) -> None:
    one = binding(1, NETWORK, SECOND_NETWORK)
    tunnels.install(one)
    tunnels.install(binding(2))
    assert networks(bed) == {NETWORK: one.home_address, SECOND_NETWORK: one.home_address}
    assert tunnels.fill()["mobile_networks"][0] == 2
    tunnels.install(replace(one, mobile_networks=(SECOND_NETWORK,)))
    assert networks(bed) == {SECOND_NETWORK: one.home_address}
    tunnels.remove(one.home_address)
    assert networks(bed) == {}
    assert list(tunnels.bindings.entries()) == [binding(2).home_address]


def test_the_networks_follow_their_bindings_to_other_slots(bed: Testbed, tunnels: Tunnels) -> None:
    routers = [binding(number, IPv6Network(f"2001:db8:7{number:02}::/48")) for number in range(20)]
    for router in routers:
        tunnels.install(router)
    for router in routers:
        tunnels.remove(router.home_address)
    for router in reversed(routers):
        tunnels.install(router)
    with Map.open(pin_directory(bed.pin_path) / "mobile_networks") as entries:
        values = [MOBILE_ROUTER.unpack(entries.lookup(key) or b"") for key in list(entries.keys())]
    assert dict(values) == {
        router.home_address.packed: tunnels.bindings.slot(router.home_address) for router in routers
    }


def test_the_maps_are_made_to_agree(bed: Testbed, tunnels: Tunnels) -> None:
    tunnels.install(binding(1, NETWORK))
    tunnels.install(binding(2, SECOND_NETWORK))
    two = binding(2, NETWORK)
    changes = tunnels.reconcile([two, binding(3)])
    assert (changes.removed, changes.added) == ([binding(1).home_address], [binding(3).home_address])
    assert networks(bed) == {NETWORK: two.home_address}


def test_where_the_binding_does_not_fit_the_networks_stay_as_they_were(bed: Testbed, tunnels: Tunnels) -> None:
    tunnels.bindings.install_many(
        {IPv6Address("2001:db8:100:1::") + n: Tunnel(AGENT, AGENT) for n in range(tunnels.bindings.capacity)}
    )
    with pytest.raises(MapFull):
        tunnels.install(binding(1, NETWORK))
    assert networks(bed) == {}


def test_where_the_networks_do_not_fit_the_binding_stays_as_it_was(
    bed: Testbed, tunnels: Tunnels, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnels.install(binding(1))

    def full(*_: object) -> None:
        raise MapFull("no room")

    monkeypatch.setattr(MobileNetworkMap, "replace", full)
    with pytest.raises(DatapathError):
        tunnels.install(replace(binding(1, NETWORK), care_of_address=IPv6Address("2001:db8:f:2::1")))
    assert tunnels.bindings.entries() == {binding(1).home_address: Tunnel(binding(1).care_of_address, AGENT)}
    assert networks(bed) == {}


def test_without_mobile_routers_only_bindings_count(bed: Testbed, tunnels: Tunnels) -> None:
    with closing(Tunnels.open(bed.pin_path, mobile_routers=False)) as plain:
        plain.install(binding(1, NETWORK))
        assert list(plain.fill()) == ["bindings"]
    assert networks(bed) == {}


def test_a_data_path_that_was_loaded_without_them_is_refused() -> None:
    with loaded_testbed() as plain, pytest.raises(NotLoaded, match="load` again"):
        Tunnels.open(plain.pin_path, mobile_routers=True)
