"""Attaching XDP programs over rtnetlink.

An attachment made this way belongs to the interface: it outlives the process, and one message replaces one program by
another without a moment between.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from datapath.errors import DatapathError, InterfaceMissing


class XdpMode(StrEnum):
    """How XDP is asked for, or how it runs (never ``auto``)."""

    AUTO = "auto"
    NATIVE = "native"
    GENERIC = "generic"


class NetlinkRefused(DatapathError):
    """The kernel refused; ``detail`` is its own explanation."""

    reason = "netlink-refused"

    def __init__(self, error: int, detail: str) -> None:
        super().__init__(detail or os.strerror(error))
        self.errno = error
        self.detail = detail or os.strerror(error)


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """An interface and the XDP programs on it (program identifiers; 0 is none).

    Attributes:
        link_address: its address on the link layer, empty if it has none.
        all_multicast: whether it receives all multicast frames.
    """

    name: str
    index: int
    mtu: int
    native_program: int
    generic_program: int
    link_address: bytes
    all_multicast: bool

    @property
    def program(self) -> int:
        """The attached program, 0 if none."""
        return self.native_program or self.generic_program

    @property
    def mode(self) -> XdpMode | None:
        """The mode of the attached program."""
        if self.native_program:
            return XdpMode.NATIVE
        return XdpMode.GENERIC if self.generic_program else None


@dataclass(frozen=True, slots=True)
class VlanDevice:
    """A VLAN device: 802.1Q frames with one tag.

    Attributes:
        port: index of the interface that carries them.
        identifier: of the VLAN, in the tag.
    """

    name: str
    index: int
    port: int
    identifier: int


@dataclass(frozen=True, slots=True)
class InterfaceKind:
    """What an interface is made of.

    Attributes:
        kind: its type as `ip -d link` shows it, empty for a card.
        member_of: the type of what it is a member of, empty if it is none.
        master: index of that; 0 if there is none.
        peer: index of the other end or of what is below it; 0 if that is in another network namespace, or is not.
    """

    kind: str
    member_of: str
    master: int
    peer: int


class _Message(IntEnum):
    ERROR = 2
    DONE = 3
    NEW_LINK = 16
    GET_LINK = 18
    SET_LINK = 19


_REQUEST, _ACKNOWLEDGE, _CAPPED, _WITH_ATTRIBUTES = 0x1, 0x4, 0x100, 0x200
_SOL_NETLINK, _CAP_ACK, _EXTENDED_ACK = 270, 10, 11
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MTU, _IFLA_XDP = 1, 3, 4, 43
_IFLA_LINK, _IFLA_LINKINFO, _LINKINFO_KIND, _LINKINFO_DATA = 5, 18, 1, 2
_VLAN_ID, _VLAN_PROTOCOL = 1, 5
_ETHERTYPE_8021Q = b"\x81\x00"
_DUMP = 0x300
_ALL_MULTICAST = 0x200
_IFLA_MASTER, _IFLA_LINK_NAMESPACE, _LINKINFO_MEMBER_KIND = 10, 37, 4
_XDP_FD, _XDP_FLAGS, _XDP_DRIVER_ID, _XDP_GENERIC_ID, _XDP_EXPECTED_FD = 1, 3, 5, 6, 8
_FLAG_IF_NONE, _FLAG_GENERIC, _FLAG_NATIVE, _FLAG_REPLACE = 1, 2, 4, 16
_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")


def interface_state(interface: str | int) -> InterfaceState:
    """State of an interface of this thread's network namespace, by name or index; raises InterfaceMissing."""
    index = interface if isinstance(interface, int) else 0
    attributes = b"" if isinstance(interface, int) else _attribute(_IFLA_NAME, interface.encode() + b"\0")
    try:
        reply = _exchange(_Message.GET_LINK, _LINK.pack(0, 0, index, 0, 0) + attributes)
    except NetlinkRefused as error:
        if error.errno in (errno.ENODEV, errno.EINVAL, errno.ERANGE):
            raise InterfaceMissing(
                f"There is no interface {interface} here: correct datapath.interfaces, or create it first."
            ) from error
        raise
    _, _, index, flags, _ = _LINK.unpack_from(reply)
    top = dict(_attributes(reply[_LINK.size :]))
    xdp = dict(_attributes(top.get(_IFLA_XDP, b"")))
    return InterfaceState(
        name=top.get(_IFLA_NAME, b"").rstrip(b"\0").decode(),
        index=index,
        mtu=int.from_bytes(top.get(_IFLA_MTU, b""), sys.byteorder),
        native_program=int.from_bytes(xdp.get(_XDP_DRIVER_ID, b""), sys.byteorder),
        generic_program=int.from_bytes(xdp.get(_XDP_GENERIC_ID, b""), sys.byteorder),
        link_address=top.get(_IFLA_ADDRESS, b""),
        all_multicast=bool(flags & _ALL_MULTICAST),
    )


def vlan_devices() -> list[VlanDevice]:
    """All VLAN devices of this thread's network namespace."""
    found: list[VlanDevice] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as channel:
        body = _LINK.pack(0, 0, 0, 0, 0)
        header = _HEADER.pack(_HEADER.size + len(body), _Message.GET_LINK, _REQUEST | _DUMP, 1, 0)
        channel.sendto(header + body, (0, 0))
        while True:
            data = channel.recv(1 << 20)
            while data:
                length, kind, _, _, _ = _HEADER.unpack_from(data)
                if kind in (_Message.DONE, _Message.ERROR):
                    return found
                device = _vlan_device(data[_HEADER.size : length])
                if device is not None:
                    found.append(device)
                data = data[(length + 3) // 4 * 4 :]


def _vlan_device(body: bytes) -> VlanDevice | None:
    _, _, index, _, _ = _LINK.unpack_from(body)
    top = dict(_attributes(body[_LINK.size :]))
    details = dict(_attributes(top.get(_IFLA_LINKINFO, b"")))
    if details.get(_LINKINFO_KIND, b"").rstrip(b"\0") != b"vlan":
        return None
    vlan = dict(_attributes(details.get(_LINKINFO_DATA, b"")))
    if vlan.get(_VLAN_PROTOCOL) != _ETHERTYPE_8021Q:
        return None
    return VlanDevice(
        top.get(_IFLA_NAME, b"").rstrip(b"\0").decode(),
        index,
        int.from_bytes(top.get(_IFLA_LINK, b""), sys.byteorder),
        int.from_bytes(vlan.get(_VLAN_ID, b""), sys.byteorder),
    )


def interface_kind(index: int) -> InterfaceKind:
    """Kind of an interface of this thread's network namespace; raises NetlinkRefused."""
    reply = _exchange(_Message.GET_LINK, _LINK.pack(0, 0, index, 0, 0))
    top = dict(_attributes(reply[_LINK.size :]))
    information = dict(_attributes(top.get(_IFLA_LINKINFO, b"")))
    is_elsewhere = _IFLA_LINK_NAMESPACE in top
    return InterfaceKind(
        kind=information.get(_LINKINFO_KIND, b"").rstrip(b"\0").decode(),
        member_of=information.get(_LINKINFO_MEMBER_KIND, b"").rstrip(b"\0").decode(),
        master=int.from_bytes(top.get(_IFLA_MASTER, b""), sys.byteorder),
        peer=0 if is_elsewhere else int.from_bytes(top.get(_IFLA_LINK, b""), sys.byteorder),
    )


def attach(index: int, program: int, mode: XdpMode, replacing: int | None = None) -> None:
    """Attaches the program (a descriptor), in place of ``replacing`` (another) or where there is none.

    Raises:
        NetlinkRefused: with the kernel's own words.
    """
    _set_program(index, program, mode, replacing)


def detach(index: int, attached: int, mode: XdpMode) -> None:
    """Takes the program ``attached`` (a descriptor) off, if it is the one that is on."""
    _set_program(index, -1, mode, attached)


def set_all_multicast(index: int, *, on: bool) -> None:
    """Has an interface receive all multicast frames, or again only those of its groups; raises NetlinkRefused."""
    _exchange(_Message.SET_LINK, _LINK.pack(0, 0, index, _ALL_MULTICAST if on else 0, _ALL_MULTICAST))


def _set_program(index: int, program: int, mode: XdpMode, replacing: int | None) -> None:
    flags = _FLAG_NATIVE if mode is XdpMode.NATIVE else _FLAG_GENERIC
    nested = _attribute(_XDP_FD, struct.pack("=i", program))
    if replacing is None:
        flags |= _FLAG_IF_NONE
    else:
        flags |= _FLAG_REPLACE
        nested += _attribute(_XDP_EXPECTED_FD, struct.pack("=i", replacing))
    nested += _attribute(_XDP_FLAGS, struct.pack("=I", flags))
    _exchange(_Message.SET_LINK, _LINK.pack(0, 0, index, 0, 0) + _attribute(_IFLA_XDP | _NESTED, nested))


def _exchange(message: _Message, body: bytes) -> bytes:
    """Sends one request; returns the body of the link message that answers, or nothing for an acknowledgement."""
    flags = _REQUEST | (_ACKNOWLEDGE if message is _Message.SET_LINK else 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as channel:
        channel.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        channel.setsockopt(_SOL_NETLINK, _EXTENDED_ACK, 1)
        channel.sendto(_HEADER.pack(_HEADER.size + len(body), message, flags, 1, 0) + body, (0, 0))
        reply = channel.recv(65536)
    length, kind, reply_flags, _, _ = _HEADER.unpack_from(reply)
    payload = reply[_HEADER.size : length]
    if kind != _Message.ERROR:
        return payload
    (code,) = struct.unpack_from("=i", payload)
    if code == 0:
        return b""
    detail = b""
    if reply_flags & _WITH_ATTRIBUTES and reply_flags & _CAPPED:
        detail = dict(_attributes(payload[4 + _HEADER.size :])).get(1, b"")
    raise NetlinkRefused(-code, detail.rstrip(b"\0").decode(errors="replace"))


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) // 4 * 4
