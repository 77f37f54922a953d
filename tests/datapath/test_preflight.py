"""What is told of interfaces: real veth pairs and bridges here, the rest by what ethtool says."""

from __future__ import annotations

import os
import re

import pytest

from bench.lab import receiving_end
from datapath import ethtool, netlink, preflight
from datapath.preflight import ONE_BUFFER_MTU, examine_interface
from tests.datapath.conftest import run

pytestmark = pytest.mark.namespaces


def told(name: str) -> dict[str, str]:
    return {notice.about: notice.remedy for notice in examine_interface(netlink.interface_state(name))}


def test_features_are_those_that_ethtool_shows(network):
    run("ethtool -K core-peer gro on")
    shown = dict(re.findall(r"^\s*([\w-]+): (on|off)", run("ethtool -k core-peer"), re.MULTILINE))

    read = ethtool.features("core-peer")

    assert ethtool.driver("core-peer") == "veth"
    assert read["rx-gro"]
    assert shown["generic-receive-offload"] == "on"
    assert len(read) > 20
    alike = {name: state for name, state in read.items() if name in shown}
    assert len(alike) > 10
    assert {name: "on" if state else "off" for name, state in alike.items()} == {name: shown[name] for name in alike}
    assert ethtool.features("nowhere0") == {}
    assert ethtool.driver("nowhere0") == ""


def test_the_other_end_of_a_veth_needs_gro_or_a_program(network):
    run("ethtool -K core-peer gro off")
    assert told("core") == {"veth-peer": "ethtool -K core-peer gro on"}

    run("ethtool -K core-peer gro on")
    assert told("core") == {}

    run("ethtool -K core-peer gro off")
    receiving_end.main("core-peer")
    assert told("core") == {}


def test_the_other_end_of_a_veth_elsewhere_is_not_known(network):
    run("ip netns add preflight-elsewhere")
    try:
        run("ethtool -K core-peer gro off")
        run("ip link set core-peer netns preflight-elsewhere")
        assert told("core") == {}
    finally:
        run("ip netns del preflight-elsewhere")


def test_a_large_mtu_is_told(network):
    run("ethtool -K core-peer gro on")
    run(f"ip link set core mtu {ONE_BUFFER_MTU}")
    assert told("core") == {}
    run(f"ip link set core mtu {ONE_BUFFER_MTU + 1}")
    assert told("core") == {"mtu": "ip link set core mtu 1500"}


def test_tags_that_the_program_would_not_see_are_told_where_it_looks_for_them(network):
    run("ethtool -K core-peer gro on")
    looking = {"core": "ethtool -K core rxvlan off", "core-peer": "ethtool -K core-peer txvlan off"}
    told_of_tags = [
        each.remedy
        for each in examine_interface(netlink.interface_state("core"), vlans=True)
        if each.about == "vlan-tags"
    ]
    assert told_of_tags == list(looking.values())
    assert told("core") == {}

    for remedy in looking.values():
        run(remedy)

    assert list(examine_interface(netlink.interface_state("core"), vlans=True)) == []


def test_bridges_and_their_members_are_told(network):
    run("ethtool -K core-peer gro on")
    run("ip link add br0 type bridge")
    run("ip link set core master br0")

    assert told("core") == {"bridge-member": "ip link set core nomaster, unless it is meant so."}
    assert list(told("br0")) == ["bridge"]


@pytest.mark.parametrize(
    ("feature", "remedy"), [("rx-lro", "ethtool -K core lro off"), ("rx-gro-hw", "ethtool -K core rx-gro-hw off")]
)
def test_cards_that_merge_frames_are_told(network, monkeypatch, feature, remedy):
    monkeypatch.setattr(ethtool, "features", lambda _: {feature: True, "rx-gro": True})

    assert list(told("core").values()) == [remedy]


@pytest.mark.parametrize(
    ("queues", "remedy"),
    [
        ((4, 8), "ethtool -L core combined 8"),
        ((4, 4), "Keep its interrupts on as many processors as it has queues, or use a card with more."),
        ((8, 8), None),
        (None, None),
    ],
)
def test_too_few_queues_are_told(network, monkeypatch, queues, remedy):
    card = netlink.InterfaceKind("", "", 0, 0)
    monkeypatch.setattr(netlink, "interface_kind", lambda _: card)
    monkeypatch.setattr(ethtool, "driver", lambda _: "ixgbe")
    monkeypatch.setattr(ethtool, "queues", lambda _: queues)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    assert told("core").get("queues") == remedy


def test_a_driver_without_native_xdp_is_told(network, monkeypatch):
    card = netlink.InterfaceKind("", "", 0, 0)
    monkeypatch.setattr(netlink, "interface_kind", lambda _: card)
    monkeypatch.setattr(ethtool, "driver", lambda _: "r8169")

    assert "driver" in told("core")
    assert "r8169" not in preflight.NATIVE_DRIVERS


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        (netlink.InterfaceKind("bond", "", 0, 0), "bond"),
        (netlink.InterfaceKind("vlan", "", 0, 0), "vlan"),
        (netlink.InterfaceKind("", "bond", 1, 0), "bond-member"),
    ],
)
def test_what_this_kernel_lacks_is_told_by_its_kind(network, monkeypatch, kind, about):
    monkeypatch.setattr(netlink, "interface_kind", lambda _: kind)

    assert about in told("core")
