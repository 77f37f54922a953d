"""A routed core with stub hosts around it: correspondent, home agents, visited links."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network

from bench.lab.addresses import HOME_AGENT_HOST, router_address
from bench.lab.laboratory import Laboratory
from bench.lab.namespaces import Namespace
from bench.lab.product import bench_command

#: Preferred and floating metric of a home prefix's route in the core; less is better.
PRIMARY_METRIC = 100
STANDBY_METRIC = 200

_FORWARDING = {
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv6.conf.default.forwarding": "1",
    # A route over a link without carrier gives way to the floating one, as routers' do.
    "net.ipv6.conf.all.ignore_routes_with_linkdown": "1",
    "net.ipv6.conf.default.ignore_routes_with_linkdown": "1",
}


@dataclass(frozen=True, slots=True)
class Host:
    """A stub host: one device, one address, default route to the core."""

    namespace: Namespace
    device: str
    address: IPv6Address
    #: The core's end of the link; what the host's wire carries is seen there.
    core_device: str
    prefix_length: int
    router: IPv6Address
    #: Of the default route over it.
    metric: int = 1024


class RoutedCore:
    """The namespace `core`: forwards between all the links and holds the routes to the home prefixes."""

    def __init__(self, laboratory: Laboratory) -> None:
        self._laboratory = laboratory
        self.namespace = laboratory.namespace("core")
        self.namespace.sysctl(_FORWARDING)

    def attach(self, role: str, prefix: IPv6Network, device: str, *, host: int = 1, mtu: int = 1500) -> Host:
        """Make `role`'s namespace with `device` on a link of its own to the core; its address is prefix[host].

        The core's end is called like the role. Transmit checksum offload is off at both ends: native XDP would see
        frames whose checksum nobody has finished. GRO is on at the core's end: frames that XDP redirects out of a
        veth vanish unless the peer polls (GRO or XDP of its own).
        """
        attached = self._connect(self._laboratory.namespace(role), role, prefix, device, host, mtu)
        self.plug(attached)
        return attached

    def attach_further(self, host: Host, prefix: IPv6Network, device: str) -> Host:
        """Give a host another link to the core, for it to move to; it is down until `plug`."""
        further = self._connect(host.namespace, f"{host.core_device}-{device}", prefix, device, 1, 1500)
        return replace(further, metric=2 * host.metric)

    def plug(self, host: Host) -> None:
        """Bring a link up at the host's end, with its address and a default route behind the ones there are."""
        host.namespace.ip(
            [
                f"link set dev {host.device} up",
                f"address replace {host.address}/{host.prefix_length} dev {host.device} nodad",
                f"route replace default via {host.router} dev {host.device} metric {host.metric}",
            ]
        )

    def _connect(
        self, namespace: Namespace, role: str, prefix: IPv6Network, device: str, number: int, mtu: int
    ) -> Host:
        router, address = router_address(prefix), prefix[number]
        self.namespace.ip(
            [
                f"link add name {role} mtu {mtu} type veth peer name {device} mtu {mtu} netns {namespace.name}",
                f"address add {router}/{prefix.prefixlen} dev {role} nodad",
                f"link set dev {role} up",
            ]
        )
        namespace.offloads(device, tx=False)
        self.namespace.offloads(role, tx=False, gro=True)
        return Host(namespace, device, address, role, prefix.prefixlen, router)

    def attach_home_agent(self, role: str, prefix: IPv6Network, home_prefixes: list[IPv6Network]) -> Host:
        """A home agent on a one-armed uplink `core0`.

        It forwards (XDP's route look-ups are refused otherwise) and has an `unreachable` route for its home prefixes:
        a packet to an unbound home address ends here with an ICMPv6 error instead of circling between it and the core.
        """
        host = self.attach(role, prefix, "core0", host=HOME_AGENT_HOST)
        self.namespace.run(bench_command("receiving_end", host.core_device))
        host.namespace.sysctl(_FORWARDING)
        host.namespace.ip([f"route add unreachable {home_prefix}" for home_prefix in home_prefixes])
        return host

    def route(self, prefix: IPv6Network, to: Host, metric: int = PRIMARY_METRIC) -> None:
        """Have the core send `prefix` to a host."""
        self.namespace.ip([f"route add {prefix} via {to.address} dev {to.core_device} metric {metric}"])

    def prime_neighbours(self, *hosts: Host) -> None:
        """Resolve the router's link-layer address at each host and the host's at the router, by one echo each."""
        for host in hosts:
            router = host.namespace.run(["ip", "-6", "route", "show", "default"]).split()[2]
            host.namespace.run(["ping", "-6", "-c", "1", "-W", "2", "-q", router])

    def cut(self, host: Host) -> None:
        """Power failure at the host's end: its device goes down, the core loses the carrier and its routes float."""
        host.namespace.ip([f"link set dev {host.device} down"])
