"""Data paths whose program runs frames of the corpus, each with the oracle's knowledge of what is around it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv6Network
from pathlib import Path

from bench.packet_rates.corpus import addresses
from datapath.bindings import IPv4CareOfAddress
from datapath.bpf_syscall import Map, possible_processors, program_test_run
from datapath.layout import pin_directory
from datapath.mobile_networks import MobileNetworkMap
from datapath.netlink import VlanDevice, interface_state
from datapath.reasons import Reason
from datapath.served_links import read_link, serve_links
from datapath.stranger_limits import StrangerLimits
from datapath.vlans import VlanMaps
from tests.datapath.conftest import Testbed, loaded_testbed, make_interface, run
from tests.datapath.expected.judge import check
from tests.datapath.expected.site import Bound, Defender, Ipv4End, Site

NETWORK = IPv6Network("2001:db8:700::/56")
_VERDICTS = ("aborted", "drop", "pass", "tx", "redirect")
_PLENTY = 1 << 40
_IPV4_MACS = {addresses.IPV4_CARE_OF: "02:00:00:00:04:05", addresses.NAT: "02:00:00:00:04:06"}
_VLAN_MACS = {addresses.VLAN_CORRESPONDENT: "02:00:00:00:aa:02", addresses.VLAN_CARE_OF: "02:00:00:00:bb:05"}
_FEW = StrangerLimits(1.0, 2.0, 1.0, 2.0)


class Judged:
    """Runs frames and has the oracle judge what becomes of them; messages of the home agent's own are not limited."""

    def __init__(self, name: str, bed: Testbed, site: Site, stats: Map, path_mtus: Map) -> None:
        self.name = name
        self.site = site
        self._bed = bed
        self._stats = stats
        self._path_mtus = path_mtus
        self._element_bits = 8 * stats.value_size
        self._counters = self._read()

    def __call__(self, sent: bytes) -> Reason:
        """The reason, which was right."""
        result = program_test_run(self._bed.program, sent, interface=self._bed.index["core"])
        before, self._counters = self._counters, self._read()
        reason = self._counted(before, self._counters, sent)
        check(self.site, sent, _VERDICTS[result.verdict], reason, result.frame)
        if reason in (Reason.PASS_TUNNEL_ERROR_RELAYED, Reason.DROP_TUNNEL_ERROR):
            for address in list(self._path_mtus.keys()):
                self._path_mtus.delete(address)
        return reason

    def _read(self) -> int:
        """All counters, as one number: of many thousand frames each needs them."""
        values = b"".join(values for _, values, _ in self._stats.lookup_batches())
        return int.from_bytes(values, "little")

    def _counted(self, before: int, after: int, sent: bytes) -> Reason:
        """The reason whose counter, of one processor, is one more than it was; the only one that is not the same."""
        difference = after - before
        at = difference.bit_length() - 1
        assert difference > 0, sent.hex()
        assert difference == 1 << at, f"{difference:x}: {sent.hex()}"
        assert at % 64 == 0, sent.hex()
        return Reason(at // self._element_bits)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _tag(identifier: int) -> bytes:
    return b"\x81\0" + identifier.to_bytes(2, "big")


def _plain_site(bed: Testbed) -> Site:
    return Site(
        home_agents=frozenset((bed.home_agent.packed, bed.other_home_agent.packed)),
        bindings={
            home.packed: Bound(home.packed, care_of.packed, agent.packed, mac(next_hop) + mac(bed.core_mac))
            for home, care_of, agent, next_hop in (
                (bed.home, bed.care_of, bed.home_agent, bed.care_of_mac),
                (bed.other_home, bed.other_care_of, bed.other_home_agent, bed.other_care_of_mac),
            )
        },
        neighbours={bed.correspondent.packed: mac(bed.correspondent_mac) + mac(bed.correspondent_side_mac)},
    )


def _add_mobile_network(bed: Testbed) -> dict[IPv6Network, bytes]:
    with closing(MobileNetworkMap.open(bed.pin_path)) as networks:
        networks.reconcile({bed.home: ([NETWORK], bed.bindings.slot(bed.home))})
    return {NETWORK: bed.home.packed}


@contextmanager
def _plain() -> Iterator[tuple[Testbed, Site]]:
    with loaded_testbed() as bed:
        yield bed, _plain_site(bed)


@contextmanager
def _networks() -> Iterator[tuple[Testbed, Site]]:
    """Mobile networks, networks of IPv4, and strangers who may send little."""
    with loaded_testbed(mobile_networks=True, stranger_limits=_FEW, ipv4_addresses=[addresses.IPV4_HOME_AGENT]) as bed:
        run(f"ip addr add {addresses.IPV4_HOME_AGENT}/24 dev core")
        Path("/proc/sys/net/ipv4/conf/all/forwarding").write_text("1")
        for address, link_address in _IPV4_MACS.items():
            run(f"ip neigh add {address} dev core lladdr {link_address} nud permanent")
        plain = _plain_site(bed)
        bindings = dict(plain.bindings)
        for home, node, port in (
            (addresses.IPV4_HOME, addresses.IPV4_CARE_OF, None),
            (addresses.NAT_HOME, addresses.NAT, addresses.NAT_PORT),
        ):
            bed.bindings.install(home, IPv4CareOfAddress(node, addresses.IPV4_HOME_AGENT, port), bed.home_agent)
            end = Ipv4End(node.packed, addresses.IPV4_HOME_AGENT.packed, port)
            link = mac(_IPV4_MACS[node]) + mac(bed.core_mac)
            bindings[home.packed] = Bound(home.packed, end, bed.home_agent.packed, link)
        yield (
            bed,
            Site(
                home_agents=plain.home_agents,
                bindings=bindings,
                neighbours=plain.neighbours,
                networks=_add_mobile_network(bed),
                ipv4_addresses=frozenset((addresses.IPV4_HOME_AGENT.packed,)),
                limited=True,
            ),
        )


@contextmanager
def _links() -> Iterator[tuple[Testbed, Site]]:
    """Hosts on the link and in a VLAN on it, a node in another VLAN, and a mobile network."""
    with loaded_testbed(mobile_networks=True, home_links=["core"], vlans=True) as bed:
        devices = {"vlan10": addresses.VLAN_OF_HOSTS, "vlan20": addresses.VLAN_OF_NODES}
        for device, address in (("vlan10", "2001:db8:aa::1/64"), ("vlan20", "2001:db8:bb::1/64")):
            make_interface(device, address)
        for address, device in ((addresses.VLAN_CORRESPONDENT, "vlan10"), (addresses.VLAN_CARE_OF, "vlan20")):
            run(f"ip -6 neigh add {address} dev {device} lladdr {_VLAN_MACS[address]} nud permanent")
        serve_links(pin_directory(bed.pin_path), ["core", "vlan10"], bed.home_agent)
        with VlanMaps.open(bed.pin_path) as maps:
            maps.replace(
                VlanDevice(name, interface_state(name).index, bed.index["core"], identifier)
                for name, identifier in devices.items()
            )
        bed.bindings.install(addresses.VLAN_HOME, addresses.VLAN_CARE_OF, bed.home_agent)
        plain = _plain_site(bed)
        ours = {name: read_link(name).link_address for name in devices}
        link = mac(_VLAN_MACS[addresses.VLAN_CARE_OF]) + ours["vlan20"] + _tag(addresses.VLAN_OF_NODES)
        home, care_of = addresses.VLAN_HOME.packed, addresses.VLAN_CARE_OF.packed
        host = mac(_VLAN_MACS[addresses.VLAN_CORRESPONDENT]) + ours["vlan10"] + _tag(addresses.VLAN_OF_HOSTS)
        yield (
            bed,
            Site(
                home_agents=plain.home_agents,
                bindings={**plain.bindings, home: Bound(home, care_of, bed.home_agent.packed, link)},
                neighbours={**plain.neighbours, addresses.VLAN_CORRESPONDENT.packed: host},
                networks=_add_mobile_network(bed),
                home_links={0: _defender("core"), addresses.VLAN_OF_HOSTS: _defender("vlan10")},
                vlans=frozenset(devices.values()),
            ),
        )


def _defender(name: str) -> Defender:
    link = read_link(name)
    assert link.address is not None
    return Defender(link.address.packed, link.link_address)


SITES = {"plain": _plain, "networks": _networks, "links": _links}


@contextmanager
def judged_at(name: str) -> Iterator[Judged]:
    """A data path with the features that the name stands for, in a namespace of its own."""
    with ExitStack() as stack:
        bed, site = stack.enter_context(SITES[name]())
        maps = {
            each: stack.enter_context(Map.open(pin_directory(bed.pin_path) / each))
            for each in ("stats", "path_mtus", "error_budget", "advertisement_budget")
        }
        a_day_from_now = time.monotonic_ns() + 86_400_000_000_000
        share = a_day_from_now.to_bytes(8, "little") + _PLENTY.to_bytes(8, "little")
        for each in ("error_budget", "advertisement_budget"):
            maps[each].update(bytes(4), share * possible_processors())
        yield Judged(name, bed, site, maps["stats"], maps["path_mtus"])
