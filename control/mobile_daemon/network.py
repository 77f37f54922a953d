"""Interfaces, routes and filters of the agent and the simulator, set with the tools of iproute2."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from control.sockets.packet import TC_CONTINUE, TC_DROP, mobility_filter, tc_bytecode

TABLE = 9716
"""Routing table with the routes of the care-of interface, and preference of the rule and the filter that we add."""
_TUNNEL_HEADER = 40
_TUNNEL_METRIC = 5
_SMALLEST_MTU = 1280  # RFC 8200 section 5


class NetworkError(Exception):
    """The network cannot be set up; the message says what to do."""


@dataclass(frozen=True, slots=True)
class CareOfLink:
    """The interface to the visited network as it was found.

    Attributes:
        interface: its name.
        address: the care-of address.
        mtu: its MTU in bytes.
    """

    interface: str
    address: IPv6Address
    mtu: int


def find_care_of_link(interface: str, address: IPv6Address | None) -> CareOfLink:
    """Look up the care-of interface, and its first global address if none is given.

    Raises:
        NetworkError: no such interface, or it has no such address.
    """
    found = _query("ip", "-json", "-6", "address", "show", "dev", interface)
    entry = next((item for item in found if item.get("ifname") == interface), None)
    if entry is None:
        raise NetworkError(f"Interface {interface} has no IPv6 address: bring it up and give it its care-of address.")
    addresses = [
        IPv6Address(info["local"])
        for info in entry["addr_info"]
        if info.get("family") == "inet6" and info.get("scope") == "global"
    ]
    chosen = address if address is not None else next(iter(addresses), None)
    if chosen is None or chosen not in addresses:
        wanted = "global IPv6 address" if address is None else f"address {address}"
        raise NetworkError(f"Interface {interface} has no {wanted}: give it one, or correct care_of_address.")
    return CareOfLink(interface, chosen, int(entry["mtu"]))


class AgentNetwork:
    """Everything the agent changes in its network namespace; :meth:`close` undoes it."""

    def __init__(self, link: CareOfLink, tun: str, routes: tuple[IPv6Network, ...]) -> None:
        """Prepare; :meth:`open` does it."""
        self._link = link
        self._tun = tun
        self._routes = routes
        self._undo = ExitStack()

    def open(self, home_address: IPv6Address | None) -> None:
        """Silence the kernel, keep the care-of traffic on its link, and bring the tunnel up with the home address.

        Args:
            home_address: None if the node has none yet.

        Raises:
            NetworkError: a tool is missing, or the kernel refuses.
        """
        with self._undo:
            self._silence_kernel()
            self._pin_care_of_traffic()
            mtu = max(self._link.mtu - _TUNNEL_HEADER, _SMALLEST_MTU)
            _run("ip", "link", "set", "dev", self._tun, "addrgenmode", "none")
            _run("ip", "link", "set", "dev", self._tun, "mtu", str(mtu), "up")
            if home_address is not None:
                self.use_home_address(home_address)
            self._undo = self._undo.pop_all()

    def use_home_address(self, home_address: IPv6Address, previous: IPv6Address | None = None) -> None:
        """Put a home address on the tunnel in place of the previous one, and the routes with it as their source.

        Raises:
            NetworkError: the kernel refuses.
        """
        _run("ip", "-6", "address", "replace", f"{home_address}/128", "dev", self._tun, "nodad")
        for route in self._routes:
            _run(
                *("ip", "-6", "route", "replace", str(route), "dev", self._tun),
                *("src", str(home_address), "metric", str(_TUNNEL_METRIC)),
            )
        if previous is not None and previous != home_address:
            _run("ip", "-6", "address", "delete", f"{previous}/128", "dev", self._tun)

    def close(self) -> None:
        """Take the filter and the rule away; the TUN device takes its routes along."""
        self._undo.close()

    def _silence_kernel(self) -> None:
        """Have tunnelled packets and type 2 routing headers dropped, after our packet socket has seen them."""
        interface = self._link.interface
        # The qdisc may be there already, for somebody else: add it if missing and leave it when we go.
        _run("tc", "qdisc", "replace", "dev", interface, "clsact")
        place = ("dev", interface, "ingress", "protocol", "ipv6", "pref", str(TABLE))
        program = mobility_filter(self._link.address, TC_DROP, TC_CONTINUE)
        _quietly("tc", "filter", "delete", *place)
        _run("tc", "filter", "add", *place, "bpf", "direct-action", "bytecode", tc_bytecode(program))
        self._undo.callback(_quietly, "tc", "filter", "delete", *place)

    def _pin_care_of_traffic(self) -> None:
        """Packets from the care-of address follow the routes of its interface, whatever goes into the tunnel."""
        rule = ("from", str(self._link.address), "lookup", str(TABLE), "pref", str(TABLE))
        _quietly("ip", "-6", "rule", "delete", *rule)
        _quietly("ip", "-6", "route", "flush", "table", str(TABLE))
        for route in _query("ip", "-json", "-6", "route", "show", "dev", self._link.interface, "table", "main"):
            via = ("via", route["gateway"]) if "gateway" in route else ()
            destination = str(route["dst"])
            _run(
                *("ip", "-6", "route", "replace", destination, *via),
                *("dev", self._link.interface, "table", str(TABLE), "metric", str(route.get("metric", 1024))),
            )
        self._undo.callback(_quietly, "ip", "-6", "route", "flush", "table", str(TABLE))
        _run("ip", "-6", "rule", "add", *rule)
        self._undo.callback(_quietly, "ip", "-6", "rule", "delete", *rule)


def open_simulated_link(tun: str, prefix: IPv6Network, *, forwarding: bool) -> None:
    """Bring a TUN device up and route a prefix to it.

    Args:
        tun: the device.
        prefix: care-of addresses of simulated nodes.
        forwarding: also let this network namespace forward IPv6.

    Raises:
        NetworkError: a tool is missing, or the kernel refuses.
    """
    _run("ip", "link", "set", "dev", tun, "addrgenmode", "none")
    _run("ip", "link", "set", "dev", tun, "txqueuelen", "10000", "up")
    _run("ip", "-6", "route", "replace", str(prefix), "dev", tun)
    if forwarding:
        switch = Path("/proc/sys/net/ipv6/conf/all/forwarding")
        try:
            switch.write_text("1\n")
        except OSError as error:
            raise NetworkError(
                f"{switch} cannot be set ({error.strerror}): set it yourself and write forwarding = false."
            ) from None


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise NetworkError(f"`{command[0]}` is missing: install the package iproute2.") from None
    if done.returncode:
        reason = done.stderr.strip().replace("\n", "; ") or f"status {done.returncode}"
        raise NetworkError(f"`{' '.join(command)}` failed: {reason}. Run as root in the node's network namespace.")
    return done.stdout


def _quietly(*command: str) -> None:
    """Run what may fail because there is nothing to undo."""
    subprocess.run(command, check=False, capture_output=True)


def _query(*command: str) -> list[dict[str, Any]]:
    output = _run(*command)
    return list(json.loads(output)) if output.strip() else []
