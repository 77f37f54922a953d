"""What the devices that a home agent makes for itself have in common: whose they are, and a program on them.

A device's alias says which home agent it belongs to; whatever has another one is somebody else's and let be.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from datapath.errors import AttachFailed, PrivilegeRequired

UP, NOARP, MULTICAST = 0x1, 0x80, 0x1000
WITHOUT_ADDRESS: dict[str, Any] = {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}
"""For ``IFLA_AF_SPEC``: the kernel gives the device no link-local address."""

_PRIORITY_OF_FILTER = 1
_HANDLE = 1
_ETH_P_ALL = 0x0003


class Direction(IntEnum):
    """What of a device's traffic a program sees (``TC_H_MIN_INGRESS`` and ``TC_H_MIN_EGRESS`` of clsact)."""

    INGRESS = 0xFFFFFFF2
    EGRESS = 0xFFFFFFF3


def has_alias(route: IPRoute, index: int, alias: str) -> bool:
    """Whether the device was made by whoever gives it this alias."""
    (link,) = route.get_links(index)
    return bool(link.get_attr("IFLA_IFALIAS") == alias)


def put_program_on(route: IPRoute, index: int, program: int, name: str, direction: Direction) -> None:
    """Has tc run a program (a descriptor), in place of the one put there before."""
    try:
        route.tc("add", "clsact", index)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
    route.tc(
        "replace-filter",
        "bpf",
        index,
        handle=_HANDLE,
        fd=program,
        name=name,
        parent=direction,
        prio=_PRIORITY_OF_FILTER,
        protocol=_ETH_P_ALL,
        direct_action=True,
    )


@contextmanager
def errors_told(what: str, needs: str) -> Iterator[None]:
    """Raises the kernel's errors as those of this package.

    Args:
        what: what is being made, as it stands in a sentence.
        needs: what to see to if the kernel does not have it.

    Raises:
        PrivilegeRequired: the caller may not.
        AttachFailed: anything else.
    """
    try:
        yield
    except (NetlinkError, OSError) as error:
        code = error.code if isinstance(error, NetlinkError) else error.errno
        if code in (errno.EPERM, errno.EACCES):
            raise PrivilegeRequired(f"Making {what} is not permitted: run as root, or with CAP_NET_ADMIN.") from error
        raise AttachFailed(f"{what[:1].upper()}{what[1:]} cannot be made ({error}): {needs}") from error
