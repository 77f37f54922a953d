"""Interfaces, routes and filters of the agent and the simulator, set with the tools of iproute2."""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from control.mobile_daemon.iproute import NetworkError, routes_with_hops, run, run_quietly
from control.mobile_node.care_of_selection import Candidate
from control.sockets.packet import TC_CONTINUE, TC_DROP, mobility_filter, tc_bytecode

TABLES = (9716, 9717)
"""Routing tables with the routes of the care-of interface, and preferences of the rule and the filter that we add: two,
so that a node that moves can prepare for the new link before it gives the old one up."""
_TUNNEL_HEADER = 40
_TUNNEL_METRIC = 5
_SMALLEST_MTU = 1280  # RFC 8200 section 5


class AgentNetwork:
    """The tunnel of an agent in its network namespace; the TUN device takes it along when it goes."""

    def __init__(self, tun: str, routes: tuple[IPv6Network, ...]) -> None:
        """Prepare; :meth:`open` does it."""
        self._tun = tun
        self._routes = routes

    def open(self, home_address: IPv6Address | None, link_mtu: int) -> None:
        """Bring the tunnel up with the home address.

        Args:
            home_address: None if the node has none yet.
            link_mtu: see :meth:`use_link`.

        Raises:
            NetworkError: a tool is missing, or the kernel refuses.
        """
        run("ip", "link", "set", "dev", self._tun, "addrgenmode", "none")
        run("ip", "link", "set", "dev", self._tun, "up")
        self.use_link(link_mtu)
        if home_address is not None:
            self.use_home_address(home_address)

    def use_link(self, mtu: int) -> None:
        """Fit the tunnel into the packets of the link it goes over.

        Args:
            mtu: of the care-of interface, in bytes.

        Raises:
            NetworkError: the kernel refuses.
        """
        run("ip", "link", "set", "dev", self._tun, "mtu", str(max(mtu - _TUNNEL_HEADER, _SMALLEST_MTU)))

    def use_home_address(self, home_address: IPv6Address, previous: IPv6Address | None = None) -> None:
        """Put a home address on the tunnel in place of the previous one, and the routes with it as their source.

        Raises:
            NetworkError: the kernel refuses.
        """
        run("ip", "-6", "address", "replace", f"{home_address}/128", "dev", self._tun, "nodad")
        for route in self._routes:
            run(
                *("ip", "-6", "route", "replace", str(route), "dev", self._tun),
                *("src", str(home_address), "metric", str(_TUNNEL_METRIC)),
            )
        if previous is not None and previous != home_address:
            run("ip", "-6", "address", "delete", f"{previous}/128", "dev", self._tun)


class CareOfNetwork:
    """What the agent changes for one care-of address; :meth:`close` undoes it."""

    def __init__(self, link: Candidate, number: int) -> None:
        """Prepare; :meth:`open` does it.

        Args:
            link: the care-of address and its interface.
            number: of the routing table, the rule and the filter.
        """
        self._link = link
        self._number = str(number)
        self._routes: list[tuple[str, ...]] = []
        self._undo = ExitStack()

    def open(self) -> None:
        """Silence the kernel and keep the care-of traffic on its link.

        Raises:
            NetworkError: a tool is missing, or the kernel refuses.
        """
        with self._undo:
            self._silence_kernel()
            self._pin_care_of_traffic()
            self._undo = self._undo.pop_all()

    def refresh_routes(self) -> None:
        """Take over the routes that the care-of interface has now.

        Raises:
            NetworkError: the kernel refuses.
        """
        table = ("dev", self._link.interface, "table", self._number)
        routes = self._routes_of_interface()
        for route in routes:
            if route not in self._routes:
                run("ip", "-6", "route", "replace", *route[:-2], *table, *route[-2:])
        for route in self._routes:
            if route not in routes:
                run_quietly("ip", "-6", "route", "delete", *route[:-2], *table, *route[-2:])
        self._routes = routes

    def close(self) -> None:
        """Take filter, rule and routes away."""
        self._undo.close()

    def _silence_kernel(self) -> None:
        """Have tunnelled packets and type 2 routing headers dropped, after our packet socket has seen them."""
        interface = self._link.interface
        # The qdisc may be there already, for somebody else: add it if missing and leave it when we go.
        run("tc", "qdisc", "replace", "dev", interface, "clsact")
        place = ("dev", interface, "ingress", "protocol", "ipv6", "pref", self._number)
        program = mobility_filter(self._link.address, TC_DROP, TC_CONTINUE)
        run_quietly("tc", "filter", "delete", *place)
        run("tc", "filter", "add", *place, "bpf", "direct-action", "bytecode", tc_bytecode(program))
        self._undo.callback(run_quietly, "tc", "filter", "delete", *place)

    def _pin_care_of_traffic(self) -> None:
        """Packets from the care-of address follow the routes of its interface, whatever goes into the tunnel."""
        # Whatever a run that crashed has left there goes first, the rule with whatever address it names.
        run_quietly("ip", "-6", "rule", "delete", "pref", self._number)
        flush = ("ip", "-6", "route", "flush", "table", self._number)
        run_quietly(*flush)
        self._undo.callback(run_quietly, *flush)
        self.refresh_routes()
        rule = ("from", str(self._link.address), "lookup", self._number, "pref", self._number)
        run("ip", "-6", "rule", "add", *rule)
        self._undo.callback(run_quietly, "ip", "-6", "rule", "delete", *rule)

    def _routes_of_interface(self) -> list[tuple[str, ...]]:
        return [
            (
                str(route["dst"]),
                *(("via", str(hop["gateway"])) if "gateway" in hop else ()),
                *("metric", str(route.get("metric", 1024))),
            )
            for route, hop in routes_with_hops()
            if hop.get("dev") == self._link.interface
        ]


def open_simulated_link(tun: str, prefix: IPv6Network, *, forwarding: bool) -> None:
    """Bring a TUN device up and route a prefix to it.

    Args:
        tun: the device.
        prefix: care-of addresses of simulated nodes.
        forwarding: also let this network namespace forward IPv6.

    Raises:
        NetworkError: a tool is missing, or the kernel refuses.
    """
    run("ip", "link", "set", "dev", tun, "addrgenmode", "none")
    run("ip", "link", "set", "dev", tun, "txqueuelen", "10000", "up")
    run("ip", "-6", "route", "replace", str(prefix), "dev", tun)
    if forwarding:
        switch = Path("/proc/sys/net/ipv6/conf/all/forwarding")
        try:
            switch.write_text("1\n")
        except OSError as error:
            raise NetworkError(
                f"{switch} cannot be set ({error.strerror}): set it yourself and write forwarding = false."
            ) from None
