"""What the kernel says about the links of a mobile node: that something has changed, and how it is now."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any

from control.mobile_daemon.iproute import query, routes_with_hops
from control.mobile_node.care_of_selection import Candidate
from control.sockets.kernel_socket import KernelSocket

# linux/rtnetlink.h: groups of notifications.
_LINK = 0x1
_IPV6_ADDRESS = 0x100
_IPV6_ROUTE = 0x400
_BUFFER = 65_536
_UNFIT = ("tentative", "dadfailed", "deprecated")


class LinkWatch(KernelSocket):
    """Becomes readable when a link, an IPv6 address or a route changes."""

    def __init__(self) -> None:
        """Subscribe.

        Raises:
            OSError: the kernel refuses.
        """
        super().__init__(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE))
        with self._closed_on_failure():
            self._socket.bind((0, _LINK | _IPV6_ADDRESS | _IPV6_ROUTE))

    def drain(self) -> None:
        """Take the notifications away. What they say is looked up afresh, so it does not matter if some were lost."""
        while True:
            try:
                self._socket.recv(_BUFFER)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # ENOBUFS: there were more than fit; what is left can be read.
                continue


def care_of_candidates(interfaces: Iterable[str], address: IPv6Address | None) -> list[Candidate]:
    """The addresses that may serve as care-of address.

    Args:
        interfaces: where to look.
        address: the only one that counts; None for all.

    Raises:
        NetworkError: a tool is missing.
    """
    links = {str(entry.get("ifname")): entry for entry in query("ip", "-json", "-6", "address", "show", "up")}
    routed = {
        str(hop.get("dev"))
        for route, hop in routes_with_hops()
        if route.get("dst") == "default" and "linkdown" not in hop.get("flags", ())
    }
    return [
        Candidate(interface, found, int(links[interface]["mtu"]), interface in routed)
        for interface in interfaces
        if interface in links and "LOWER_UP" in links[interface]["flags"]
        for found in _global_addresses(links[interface])
        if address is None or found == address
    ]


def _global_addresses(link: dict[str, Any]) -> list[IPv6Address]:
    return [
        IPv6Address(info["local"])
        for info in link["addr_info"]
        if info.get("family") == "inet6"
        and info.get("scope") == "global"
        and not any(info.get(flag) for flag in _UNFIT)
    ]
