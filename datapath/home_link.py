"""The device that stands for the home link: what this host sends to home addresses leaves through it.

Only packets of this host go there, by a rule of their own and a routing table of their own: what is forwarded keeps the
routes the operator made. The program ``home_link`` takes every packet off the device, so nothing ever arrives anywhere
by it. The device's alias names the pin path of the home agent it belongs to; a network namespace has room for one.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from datapath import own_devices
from datapath.errors import InterfaceBusy
from datapath.layout import HOME_LINK_PROGRAM_NAME
from datapath.own_devices import MULTICAST, NOARP, UP, WITHOUT_ADDRESS, Direction

DEVICE = "mip0"
TABLE = 109
"""Routing table of home prefixes."""
ROUTING_HEADER_SIZE = 24

_OTHER_END = f"{DEVICE}-end"
_LEAST_MTU = 1280
_RULE_PRIORITY = 109


@dataclass(frozen=True, slots=True)
class HomeLink:
    """What there is.

    Attributes:
        kind: ``dummy``, or ``veth`` where the kernel has no dummy devices.
        mtu: a routing header fits beside it into every interface served.
        prefixes: what leaves through it.
    """

    device: str
    kind: str
    mtu: int
    prefixes: list[IPv6Network]

    def to_dict(self) -> dict[str, Any]:
        """The same, of types JSON has."""
        return asdict(self) | {"prefixes": [str(prefix) for prefix in self.prefixes]}


def set_up(program: int, prefixes: Sequence[IPv6Network], pin_path: Path, narrowest: int = 1500) -> HomeLink:
    """Makes the device, or finds it, and puts a program on it in place of an earlier one.

    Args:
        program: its descriptor.
        prefixes: the home prefixes, exactly these afterwards.
        pin_path: whose device it is.
        narrowest: the smallest MTU of the interfaces served.

    Raises:
        PrivilegeRequired: the caller may not.
        InterfaceBusy: there is such a device of someone else.
        AttachFailed: the kernel lacks something.
    """
    mtu = max(narrowest - ROUTING_HEADER_SIZE, _LEAST_MTU)
    with _errors(), IPRoute() as route:
        index = _make_device(route, pin_path)
        route.link("set", index=index, mtu=mtu, flags=UP | NOARP, change=UP | NOARP | MULTICAST)
        own_devices.put_program_on(route, index, program, HOME_LINK_PROGRAM_NAME, Direction.EGRESS)
        _send_there(route, index, prefixes)
        return _read(route, index)


def find(pin_path: Path) -> HomeLink | None:
    """The home link of the home agent with this pin path, in this thread's network namespace."""
    with _errors(), IPRoute() as route:
        index = _index(route)
        return _read(route, index) if index is not None and _is_ours(route, index, pin_path) else None


def tear_down(pin_path: Path) -> bool:
    """Removes device, rules and routes of the home agent with this pin path; whether there were any."""
    with _errors(), IPRoute() as route:
        index = _index(route)
        if index is None or not _is_ours(route, index, pin_path):
            return False
        for prefix in _prefixes(route):
            _change_rule(route, "del", prefix)
        route.link("del", index=index)
    return True


def _index(route: IPRoute) -> int | None:
    return next(iter(route.link_lookup(ifname=DEVICE)), None)


def _is_ours(route: IPRoute, index: int, pin_path: Path) -> bool:
    return own_devices.has_alias(route, index, _alias(pin_path))


def _alias(pin_path: Path) -> str:
    return f"homeagent {pin_path}"


def _make_device(route: IPRoute, pin_path: Path) -> int:
    index = _index(route)
    if index is not None:
        if _is_ours(route, index, pin_path):
            return index
        raise InterfaceBusy(
            f"{DEVICE} exists and is not of the home agent at {pin_path}: a network namespace has room for one home "
            f'agent on the kernel\'s IPsec. Set ipsec.back_end = "userspace", or remove it with `ip link del {DEVICE}`.'
        )
    try:
        route.link("add", ifname=DEVICE, kind="dummy")
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
        route.link("add", ifname=DEVICE, kind="veth", peer=_OTHER_END)
        (other,) = route.link_lookup(ifname=_OTHER_END)
        route.link("set", index=other, IFLA_AF_SPEC=WITHOUT_ADDRESS)
        route.link("set", index=other, flags=UP | NOARP, change=UP | NOARP)
    (made,) = route.link_lookup(ifname=DEVICE)
    route.link("set", index=made, ifalias=_alias(pin_path), IFLA_AF_SPEC=WITHOUT_ADDRESS)
    return int(made)


def _read(route: IPRoute, index: int) -> HomeLink:
    (link,) = route.get_links(index)
    kind = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")
    return HomeLink(DEVICE, kind, link.get_attr("IFLA_MTU"), sorted(_prefixes(route)))


def _send_there(route: IPRoute, index: int, prefixes: Sequence[IPv6Network]) -> None:
    for prefix in prefixes:
        route.route("replace", family=socket.AF_INET6, dst=str(prefix), oif=index, table=TABLE)
    present = _prefixes(route)
    for prefix in present - set(prefixes):
        _change_rule(route, "del", prefix)
        route.route("del", family=socket.AF_INET6, dst=str(prefix), oif=index, table=TABLE)
    for prefix in set(prefixes) - present:
        _change_rule(route, "add", prefix)


def _prefixes(route: IPRoute) -> set[IPv6Network]:
    """The prefixes that have a rule."""
    rules = list(route.get_rules(family=socket.AF_INET6, table=TABLE))
    return {IPv6Network((rule.get_attr("FRA_DST"), rule["dst_len"])) for rule in rules}


def _change_rule(route: IPRoute, command: str, prefix: IPv6Network) -> None:
    """Adds or removes the rule for what this host itself sends to a prefix."""
    route.rule(
        command,
        family=socket.AF_INET6,
        priority=_RULE_PRIORITY,
        table=TABLE,
        dst=str(prefix.network_address),
        dst_len=prefix.prefixlen,
        iifname="lo",
    )


def _errors() -> AbstractContextManager[None]:
    return own_devices.errors_told(
        "the home link's device",
        'the kernel needs dummy or veth devices, clsact and IPv6 rules; or set ipsec.back_end = "userspace".',
    )
