"""Which interfaces the data path serves: a row each in the map ``attachments``, and the steps that change them."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from datapath import netlink
from datapath.bpf_syscall import Map, object_get, program_info
from datapath.bpffs import version_directories
from datapath.errors import AttachFailed, DatapathError, InterfaceBusy, InterfaceMissing, NotLoaded, PrivilegeRequired
from datapath.layout import ATTACHMENT, INDEX, PROGRAM_NAME, pin_directory
from datapath.netlink import InterfaceState, NetlinkRefused, XdpMode
from datapath.program_pins import program_pins

PROGRAM_PINS = program_pins(PROGRAM_NAME)

_MODES = (XdpMode.AUTO, XdpMode.NATIVE, XdpMode.GENERIC)


@dataclass(frozen=True, slots=True)
class Attachment:
    """One interface the data path serves.

    Attributes:
        requested_mode: what the configuration asks for.
        actual_mode: native or generic.
        note: why it is not native, empty if it is.
    """

    name: str
    index: int
    requested_mode: XdpMode
    actual_mode: XdpMode
    note: str

    def to_value(self) -> bytes:
        """The row in the map."""
        note = self.note.encode()[:104]
        modes = _MODES.index(self.requested_mode), _MODES.index(self.actual_mode)
        return ATTACHMENT.pack(self.name.encode(), *modes, note)

    @classmethod
    def from_row(cls, key: bytes, value: bytes) -> Attachment:
        """Reads a row of the map."""
        (index,) = INDEX.unpack(key)
        name, requested, actual, note = ATTACHMENT.unpack(value)
        return cls(
            name.rstrip(b"\0").decode(),
            index,
            _MODES[requested],
            _MODES[actual],
            note.rstrip(b"\0").decode(errors="ignore"),
        )


class OwnPrograms:
    """The programs pinned under one pin path, of all schema versions, by identifier. Close it after use."""

    def __init__(self, pin_path: Path) -> None:
        self.descriptors: dict[int, int] = {}
        try:
            for directory in version_directories(pin_path):
                for name in PROGRAM_PINS:
                    self._open(directory / name)
        except BaseException:
            self.close()
            raise

    def _open(self, path: Path) -> None:
        try:
            descriptor = object_get(path)
        except NotLoaded:
            return
        identifier = program_info(descriptor).id
        if identifier in self.descriptors:
            os.close(descriptor)
        else:
            self.descriptors[identifier] = descriptor

    def close(self) -> None:
        """Closes the descriptors."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)
        self.descriptors.clear()

    def __enter__(self) -> OwnPrograms:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def attach(
    state: InterfaceState, program: int, requested: XdpMode, own: OwnPrograms, previous_note: str = ""
) -> Attachment:
    """Puts the program on an interface, atomically in place of one of our own.

    Raises:
        InterfaceBusy: another's program is there.
        AttachFailed: refused; the message has the kernel's words.
        PrivilegeRequired: the caller may not.
    """
    if state.program:
        present = _own_descriptor(state, own)
        if requested in (XdpMode.AUTO, state.mode):
            mode = state.mode or XdpMode.GENERIC
            _set(state, program, mode, present)
            return Attachment(state.name, state.index, requested, mode, _kept_note(mode, requested, previous_note))
        detach(state, own)  # the kernel allows one mode at a time
        try:
            return _attach_new(state, program, requested)
        except DatapathError:
            netlink.attach(state.index, present, state.mode or XdpMode.GENERIC)
            raise
    return _attach_new(state, program, requested)


def detach(state: InterfaceState, own: OwnPrograms) -> None:
    """Takes our program off an interface; raises InterfaceBusy if it is another's."""
    if state.mode is not None:
        netlink.detach(state.index, _own_descriptor(state, own), state.mode)


def restore(before: InterfaceState, program: int, own: OwnPrograms) -> None:
    """Undoes :func:`attach`: the interface is as ``before``, whatever else went wrong meanwhile."""
    try:
        now = netlink.interface_state(before.index)
        if now.mode is None or now.program == before.program:
            return
        if before.mode == now.mode:
            netlink.attach(before.index, own.descriptors[before.program], now.mode, program)
            return
        netlink.detach(before.index, program, now.mode)
        if before.mode is not None:
            netlink.attach(before.index, own.descriptors[before.program], before.mode)
    except (InterfaceMissing, NetlinkRefused):
        return


def _own_descriptor(state: InterfaceState, own: OwnPrograms) -> int:
    descriptor = own.descriptors.get(state.program)
    if descriptor is None:
        raise InterfaceBusy(
            f"{state.name} carries an XDP program of someone else (id {state.program}): "
            f"remove it with `ip link set dev {state.name} xdp off`, or leave this interface out."
        )
    return descriptor


def _kept_note(mode: XdpMode, requested: XdpMode, previous_note: str) -> str:
    if mode is XdpMode.NATIVE:
        return ""
    return previous_note or ("asked for" if requested is XdpMode.GENERIC else "kept from before; unload to try native")


def _attach_new(state: InterfaceState, program: int, requested: XdpMode) -> Attachment:
    if requested is XdpMode.GENERIC:
        _set(state, program, XdpMode.GENERIC)
        return Attachment(state.name, state.index, requested, XdpMode.GENERIC, "asked for")
    try:
        _set(state, program, XdpMode.NATIVE)
    except AttachFailed as refused:
        if requested is XdpMode.NATIVE:
            raise
        _set(state, program, XdpMode.GENERIC)
        cause = refused.__cause__
        note = cause.detail if isinstance(cause, NetlinkRefused) else str(refused)
        return Attachment(state.name, state.index, requested, XdpMode.GENERIC, note)
    return Attachment(state.name, state.index, requested, XdpMode.NATIVE, "")


def _set(state: InterfaceState, program: int, mode: XdpMode, replacing: int | None = None) -> None:
    try:
        netlink.attach(state.index, program, mode, replacing)
    except NetlinkRefused as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise PrivilegeRequired(
                f"Attaching XDP to {state.name} is not permitted: run as root, or with CAP_NET_ADMIN and CAP_BPF."
            ) from error
        if error.errno in (errno.EBUSY, errno.EEXIST):
            raise InterfaceBusy(
                f"{state.name} got another XDP program meanwhile ({error.detail}): remove it, then load again."
            ) from error
        raise AttachFailed(_advice(state, mode, error)) from error


def _advice(state: InterfaceState, mode: XdpMode, error: NetlinkRefused) -> str:
    what = f"{state.name} refuses {mode} XDP ({error.detail.rstrip('.')})"
    if mode is XdpMode.GENERIC:
        return f"{what}: the kernel needs CONFIG_BPF_SYSCALL and CONFIG_NET."
    if error.errno in (errno.ERANGE, errno.EINVAL) or "mtu" in error.detail.lower():
        return (
            f"{what}: lower the MTU (now {state.mtu}, on a veth that of its peer), or set xdp_mode to auto or generic."
        )
    return f"{what}: set xdp_mode to auto or generic, or use an interface whose driver has XDP."


def recorded(pin_path: Path) -> list[Attachment]:
    """What the loader recorded of each interface it attached to; raises NotLoaded."""
    with Map.open(pin_directory(pin_path) / "attachments") as rows:
        return read_rows(rows)


def read_rows(attachments: Map) -> list[Attachment]:
    """All rows of the map, by interface name."""
    rows = []
    for key in list(attachments.keys()):
        value = attachments.lookup(key)
        if value is not None:
            rows.append(Attachment.from_row(key, value))
    return sorted(rows, key=lambda row: row.name)


def write_row(attachments: Map, ports: Map, attachment: Attachment, *, is_port: bool) -> None:
    """Records an attachment, and lets frames be redirected to it if ``is_port``."""
    key = INDEX.pack(attachment.index)
    attachments.update(key, attachment.to_value())
    if attachment.index < ports.info.max_entries:
        if is_port:
            ports.update(key, key)
        else:
            ports.delete(key)


def remove_row(attachments: Map, ports: Map, index: int) -> None:
    """Forgets an attachment."""
    key = INDEX.pack(index)
    attachments.delete(key)
    if index < ports.info.max_entries:
        ports.delete(key)
