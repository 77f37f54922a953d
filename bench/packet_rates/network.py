"""A router of veth pairs in a namespace of its own, with routes and next hops for every measured packet."""

from __future__ import annotations

from bench.lab.laboratory import Laboratory
from bench.lab.namespaces import Namespace
from bench.packet_rates import frames
from datapath.netlink import XdpMode, attach, interface_state

INGRESS, EGRESS = "in0", "out0"
"""The interfaces of the data path; their far ends are GENERATOR and a sink."""
GENERATOR, KERNEL_GENERATOR, SHORT_GENERATOR = "gen0", "gen1", "gen2"
_SINK, _KERNEL_SINK = "sink0", "sink1"
_KERNEL_INGRESS, _KERNEL_EGRESS = "in1", "out1"
_SHORT_END = "end2"

_FORWARDING = {"net.ipv6.conf.all.forwarding": "1", "net.ipv6.conf.default.forwarding": "1"}


def build(laboratory: Laboratory) -> Namespace:
    """Makes the router.

    gen0 - in0 (data path) out0 - sink0: what is measured.
    gen1 - in1 (kernel forwarding) out1 - sink1: the comparison.
    gen2 - end2: frames dropped where they arrive, the cost of generating them.

    The far ends have no IPv6 of their own and send nothing by themselves. GRO, or XDP, makes a veth poll, without
    which frames redirected to it vanish.
    """
    namespace = laboratory.namespace("router")
    namespace.sysctl(_FORWARDING)
    router = frames.ROUTER_MAC.hex(":")
    for near, far in ((INGRESS, GENERATOR), (EGRESS, _SINK), (_KERNEL_INGRESS, KERNEL_GENERATOR)):
        _pair(namespace, near, far, router)
    _pair(namespace, _KERNEL_EGRESS, _KERNEL_SINK, router)
    _pair(namespace, _SHORT_END, SHORT_GENERATOR, router)
    next_hop = f"lladdr {frames.NEXT_HOP_MAC.hex(':')} nud permanent"
    namespace.ip(
        [
            f"address add {frames.HOME_AGENT}/64 dev {EGRESS} nodad",
            "address add 2001:db8:d::1/64 dev out1 nodad",
            f"neighbour add 2001:db8:a::2 dev {EGRESS} {next_hop}",
            f"neighbour add 2001:db8:d::2 dev {_KERNEL_EGRESS} {next_hop}",
            *(
                f"route add {prefix} via 2001:db8:a::2 dev {EGRESS}"
                for prefix in (
                    frames.CARE_OF_PREFIX,
                    frames.CARE_OF_AFTER_CHANGE,
                    frames.CORPUS_CARE_OF_PREFIX,
                    frames.CORRESPONDENT_PREFIX,
                )
            ),
            f"route add {frames.ROUTED_PREFIX} via 2001:db8:d::2 dev {_KERNEL_EGRESS}",
            f"route add unreachable {frames.HOME_PREFIX}",
        ]
    )
    return namespace


def attach_counter(program: int) -> None:
    """Attaches the counting program to the ends of the data path's way; called inside the namespace."""
    for name in (_SINK, _KERNEL_SINK, _SHORT_END):
        attach(interface_state(name).index, program, XdpMode.NATIVE)


def _pair(namespace: Namespace, near: str, far: str, mac: str) -> None:
    namespace.ip(
        [
            f"link add name {near} address {mac} type veth peer name {far}",
            f"link set dev {near} up",
        ]
    )
    namespace.sysctl({f"net.ipv6.conf.{far}.disable_ipv6": "1"})
    namespace.ip([f"link set dev {far} up"])
    for device in (near, far):
        namespace.offloads(device, tx=False, gro=True)
