"""The slow path's pair of devices, for packets that the programs cannot deal with as they come.

Whatever is sent into one end, the entrance, comes out at the other, the exit, where the program ``home_agent`` looks at
it as at any interface: so the daemon hands over tunnelled packets whose fragments the kernel has put together. What
must leave in fragments ``home_agent`` sends the other way: out of the entrance, where the program ``fragmentation``
makes two of one; the kernel forwards them. Nothing else passes there: neither end has an address or a neighbour.
"""

from __future__ import annotations

import array
import errno
import fcntl
import socket
import struct
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from datapath import own_devices
from datapath.errors import InterfaceBusy
from datapath.layout import FRAGMENTATION_PROGRAM_NAME, SLOW_PATH_EXIT_ADDRESS, SLOW_PATH_MTU, slow_path_devices
from datapath.own_devices import MULTICAST, NOARP, UP, WITHOUT_ADDRESS, Direction

PORT = 0
"""Key of the map ``ports`` that leads to the entrance: no interface has this index."""

_ENTRANCE_ADDRESS = bytes.fromhex("026d69700002")
_SIOCETHTOOL, _SET_GRO = 0x8946, 0x2C


@dataclass(frozen=True, slots=True)
class SlowPath:
    """Names of the two ends, and the exit's interface index."""

    exit: str
    entrance: str
    exit_index: int


def set_up(program: int, pin_path: Path) -> SlowPath:
    """Makes the devices, or finds them, and puts the program ``fragmentation`` (a descriptor) on the entrance.

    Raises:
        PrivilegeRequired: the caller may not.
        InterfaceBusy: a device of the name is someone else's.
        AttachFailed: the kernel lacks something.
    """
    with _errors(), IPRoute() as route:
        ends = _ensure_devices(route, pin_path)
        (entrance,) = route.link_lookup(ifname=ends.entrance)
        own_devices.put_program_on(route, entrance, program, FRAGMENTATION_PROGRAM_NAME, Direction.INGRESS)
        return ends


def find(pin_path: Path) -> SlowPath | None:
    """The devices of the home agent with this pin path, in this thread's network namespace."""
    with _errors(), IPRoute() as route:
        return _find(route, pin_path)


def tear_down(pin_path: Path) -> bool:
    """Removes the devices of the home agent with this pin path; whether there were any."""
    with _errors(), IPRoute() as route:
        ends = _find(route, pin_path)
        if ends is None:
            return False
        route.link("del", index=ends.exit_index)
    return True


def _alias(pin_path: Path) -> str:
    return f"homeagent {pin_path} slow path"


def _find(route: IPRoute, pin_path: Path) -> SlowPath | None:
    name, entrance = slow_path_devices(pin_path)
    for index in route.link_lookup(ifname=name):
        if own_devices.has_alias(route, index, _alias(pin_path)):
            return SlowPath(name, entrance, int(index))
    return None


def _ensure_devices(route: IPRoute, pin_path: Path) -> SlowPath:
    present = _find(route, pin_path)
    if present is not None:
        return present
    name, entrance = slow_path_devices(pin_path)
    try:
        route.link("add", ifname=name, kind="veth", peer=entrance)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        raise InterfaceBusy(
            f"{name} or {entrance} exists and is not of the home agent at {pin_path}: remove it with `ip link del`."
        ) from error
    try:
        for end, address in ((name, SLOW_PATH_EXIT_ADDRESS), (entrance, _ENTRANCE_ADDRESS)):
            (index,) = route.link_lookup(ifname=end)
            route.link("set", index=index, address=address.hex(":"), mtu=SLOW_PATH_MTU, IFLA_AF_SPEC=WITHOUT_ADDRESS)
            # A router without multicast is in no group it would report: leave them, in silence, then take it away.
            _set(end, "force_mld_version", 1)
            _set(end, "forwarding", 0)
            route.link("set", index=index, flags=NOARP, change=NOARP | MULTICAST)
            _set(end, "forwarding", 1)
        # Frames redirected to a veth device arrive only where NAPI runs, and that starts with GRO.
        _switch_gro_on(entrance)
        for end in (entrance, name):
            (index,) = route.link_lookup(ifname=end)
            route.link("set", index=index, flags=UP, change=UP)
        (index,) = route.link_lookup(ifname=name)
        route.link("set", index=index, ifalias=_alias(pin_path))
    except BaseException:
        for index in route.link_lookup(ifname=name):
            route.link("del", index=index)
        raise
    return SlowPath(name, entrance, int(index))


def _set(device: str, setting: str, value: int) -> None:
    Path(f"/proc/sys/net/ipv6/conf/{device}/{setting}").write_text(str(value))


def _switch_gro_on(device: str) -> None:
    value = array.array("I", [_SET_GRO, 1])
    address, _ = value.buffer_info()
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as channel:
        fcntl.ioctl(channel, _SIOCETHTOOL, struct.pack("@16sP16x", device.encode(), address))


def _errors() -> AbstractContextManager[None]:
    return own_devices.errors_told("the slow path's devices", "the kernel needs veth devices, clsact and IPv6.")
