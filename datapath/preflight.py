"""What about an interface keeps native XDP from working, or from working well, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from datapath import ethtool, netlink
from datapath.netlink import InterfaceKind, InterfaceState

NATIVE_DRIVERS = frozenset(
    {
        *("bnxt_en", "ena", "hv_netvsc", "i40e", "ice", "igb", "igc", "ixgbe", "ixgbevf", "mlx4_en", "mlx5_core"),
        *("mvneta", "mvpp2", "nfp", "qede", "sfc", "tun", "veth", "virtio_net", "vmxnet3"),
    }
)
"""Drivers with native XDP in Linux 6.1 or soon after, as ethtool names them."""
ONE_BUFFER_MTU = 3498
"""Above it, a frame does not fit the one page that most drivers give XDP."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be mended.

    Attributes:
        about: a stable slug.
        says: what was found, without a full stop.
        remedy: how to mend it, a sentence.
    """

    about: str
    says: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.says}. {self.remedy}"


def examine_interface(state: InterfaceState, *, vlans: bool = False) -> Iterator[Notice]:
    """Looks at an interface of this network namespace, with ``vlans`` at what becomes of tags; changes nothing."""
    driver = ethtool.driver(state.name)
    kind = netlink.interface_kind(state.index)
    yield from _what_it_is(state.name, kind)
    yield from _what_it_belongs_to(state.name, kind)
    yield from _size(state)
    yield from _offloads(state.name, ethtool.features(state.name))
    if vlans:
        yield from _tags(state.name, kind)
    if kind.kind == "veth":
        yield from _other_end(state, kind)
    elif not kind.kind and driver:
        yield from _card(state.name, driver)


def _what_it_is(name: str, kind: InterfaceKind) -> Iterator[Notice]:
    if kind.kind == "bond":
        yield Notice(
            "bond",
            f"{name} is a bond: native XDP needs the mode 802.3ad, balance-xor, balance-rr or active-backup, and all "
            "its members' drivers",
            f"Look at `ip -d link show {name}`; or serve it in generic mode.",
        )
    if kind.kind == "bridge":
        yield Notice(
            "bridge",
            f"{name} is a bridge, which has no native XDP, and frames that it forwards itself do not come by",
            "Serve the interface behind it that faces the network, taken out of the bridge.",
        )
    if kind.kind == "vlan":
        yield Notice(
            "vlan",
            f"{name} is a VLAN device, which has generic XDP only",
            "Accept generic mode, or serve the interface below it.",
        )


def _what_it_belongs_to(name: str, kind: InterfaceKind) -> Iterator[Notice]:
    if not kind.master:
        return
    master = netlink.interface_state(kind.master).name
    remedy = f"ip link set {name} nomaster, unless it is meant so."
    yield Notice(
        f"{kind.member_of or 'device'}-member",
        f"{name} belongs to {master}, which gets no frame that XDP takes",
        f"Serve {master} instead." if kind.member_of == "bond" else remedy,
    )


def _card(name: str, driver: str) -> Iterator[Notice]:
    if driver not in NATIVE_DRIVERS:
        yield Notice(
            "driver",
            f"the driver {driver} of {name} is not known to have native XDP",
            "Use a card whose driver has it; generic XDP costs most of the speed.",
        )
    yield from _queues(name, os.cpu_count() or 1)


def _size(state: InterfaceState) -> Iterator[Notice]:
    if state.mtu > ONE_BUFFER_MTU:
        yield Notice(
            "mtu",
            f"{state.name} has the MTU {state.mtu}: above {ONE_BUFFER_MTU} most drivers refuse native XDP",
            f"ip link set {state.name} mtu 1500",
        )


def _offloads(name: str, features: dict[str, bool]) -> Iterator[Notice]:
    if features.get("rx-lro"):
        yield Notice(
            "lro",
            f"large receive offload of {name} is on: drivers refuse XDP, or frames grow too big to forward",
            f"ethtool -K {name} lro off",
        )
    if features.get("rx-gro-hw"):
        yield Notice(
            "gro-hw",
            f"the card of {name} merges frames: drivers refuse native XDP, or frames grow too big to forward",
            f"ethtool -K {name} rx-gro-hw off",
        )


def _tags(name: str, kind: InterfaceKind) -> Iterator[Notice]:
    """Tags that are beside the frames rather than in them are not seen by XDP."""
    hidden = f"the program does not see the VLAN tags of frames that come in by {name}"
    if ethtool.features(name).get("rx-vlan-hw-parse"):
        yield Notice("vlan-tags", f"{hidden}: the card takes them out", f"ethtool -K {name} rxvlan off")
    peer = netlink.interface_state(kind.peer).name if kind.kind == "veth" and kind.peer else ""
    if peer and ethtool.features(peer).get("tx-vlan-hw-insert"):
        yield Notice("vlan-tags", f"{hidden}: {peer} sends them beside the frames", f"ethtool -K {peer} txvlan off")


def _queues(name: str, processors: int) -> Iterator[Notice]:
    found = ethtool.queues(name)
    if found is None or found[0] >= processors:
        return
    now, most = found
    remedy = (
        f"ethtool -L {name} combined {processors}"
        if most >= processors
        else "Keep its interrupts on as many processors as it has queues, or use a card with more."
    )
    yield Notice(
        "queues",
        f"{name} has {now} queues for {processors} processors: drivers that send by one for each refuse native XDP or "
        "share them under a lock",
        remedy,
    )


def _other_end(state: InterfaceState, kind: InterfaceKind) -> Iterator[Notice]:
    """Redirected frames vanish at a veth whose other end has neither a program nor GRO (its NAPI is off then)."""
    if not kind.peer:
        return  # in another network namespace: not to be seen from here
    peer = netlink.interface_state(kind.peer)
    if not peer.native_program and not ethtool.features(peer.name).get("rx-gro"):
        yield Notice(
            "veth-peer",
            f"{peer.name}, the other end of {state.name}, has neither XDP nor GRO: what is redirected to it vanishes",
            f"ethtool -K {peer.name} gro on",
        )
