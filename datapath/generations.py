"""Which of the pin directories is in force, and what becomes of those that an upgrade left half-way.

``v4`` has the maps and programs of schema version 4. An upgrade builds what is to follow beside it, in ``v4_next``,
puts those programs on the interfaces, and then gives the directory its name in one step: before that step the old
directory is in force and everything can go back, after it the new one is. Who finds a directory still called ``_next``
and its maker gone puts back what is in force; that needs no compiler.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datapath import attachments as attaching
from datapath import bpffs, netlink
from datapath.attachments import Attachment, OwnPrograms
from datapath.bpf_syscall import Map, opened, program_info
from datapath.errors import DatapathError, InterfaceMissing, NotLoaded, StalePin
from datapath.layout import (
    ATTACHMENT,
    HOME_LINK_PROGRAM_NAME,
    PROGRAM_NAME,
    SCHEMA_VERSION,
    pin_directory,
    slow_path_devices,
)
from datapath.netlink import InterfaceState, XdpMode
from datapath.program_pins import program_pins

_NEXT = "_next"
_AT_FDCWD = -100
_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


def in_force(pin_path: Path) -> Path | None:
    """The directory of the newest schema version that has a program, None if nothing is loaded."""
    found = [
        (version, path)
        for path in bpffs.version_directories(pin_path)
        if (version := version_of(path)) is not None and (path / PROGRAM_NAME).exists()
    ]
    return max(found)[1] if found else None


def version_of(directory: Path) -> int | None:
    """Its schema version; None if it is of an upgrade."""
    found = re.fullmatch(r"v(\d+)", directory.name)
    return int(found[1]) if found else None


def next_directory(pin_path: Path) -> Path:
    """Where an upgrade builds what is to follow."""
    return pin_path / f"{pin_directory(pin_path).name}{_NEXT}"


def put_in_force(following: Path) -> None:
    """Gives the directory its name in one step; one that has the name already gets the other."""
    final = following.with_name(following.name.removesuffix(_NEXT))
    flags = _EXCHANGE if final.exists() else 0
    if _libc.renameat2(_AT_FDCWD, os.fsencode(following), _AT_FDCWD, os.fsencode(final), flags) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise DatapathError(f"{following} cannot become {final.name} ({reason}): use Linux 6.1 or newer.")


def discard(directory: Path) -> None:
    """Unpins what is in a directory; what is attached stays attached."""
    with contextlib.suppress(FileNotFoundError):
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()


def require_current(pin_path: Path) -> None:
    """Raises StalePin if what is in force is of another schema version."""
    present = in_force(pin_path)
    refuse_later(present)
    if present is not None and present != pin_directory(pin_path):
        raise StalePin(
            f"{present} is of an earlier version of homeagent: run `homeagent datapath upgrade`, which takes its "
            "bindings along."
        )


def refuse_later(present: Path | None) -> None:
    """Raises StalePin if what is in force is of a later schema version."""
    if present is not None and (version_of(present) or 0) > SCHEMA_VERSION:
        raise StalePin(
            f"{present} is of a later version of homeagent: use that one, or run `homeagent datapath unload` first."
        )


def recover(pin_path: Path) -> bool:
    """Undoes an upgrade whose process is gone; whether there was one. Waits for one that is about to end.

    Puts what is attached right, and nothing more: an upgrade that is still compiling keeps its pins.
    """
    was_interrupted = False
    for directory in bpffs.version_directories(pin_path):
        if not directory.name.endswith(_NEXT):
            continue
        try:
            with bpffs.directory_opened(directory) as descriptor:
                bpffs.share_lock(descriptor)
                if not _is_still_there(directory, descriptor):
                    continue
                was_interrupted |= _put_back(pin_path, directory)
        except NotLoaded:
            continue
    return was_interrupted


def tidy(pin_path: Path) -> None:
    """The same, and removes what earlier upgrades have left. The caller holds the pin path."""
    recover(pin_path)
    present = in_force(pin_path)
    newest = -1 if present is None else version_of(present)
    for directory in bpffs.version_directories(pin_path):
        version = version_of(directory)
        if version is None or (newest == SCHEMA_VERSION and version < SCHEMA_VERSION):
            discard(directory)


def _is_still_there(directory: Path, descriptor: int) -> bool:
    try:
        return directory.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _put_back(pin_path: Path, unfinished: Path) -> bool:
    """Whether one of the programs in the directory was on an interface; none is any more."""
    before = in_force(pin_path)
    exit_name, _ = slow_path_devices(pin_path)
    with OwnPrograms(pin_path) as own:
        present = None if before is None else _identifier(before / PROGRAM_NAME)
        strange = {_identifier(unfinished / name) for name in attaching.PROGRAM_PINS} - {None, present}
        rows = {} if before is None else {row.index: row for row in recorded_in(before)}
        states = [state for state in _interfaces() if state.program in strange]
        for state in states:
            row = rows.get(state.index)
            if row is not None and row.name != state.name:
                row = None
            if state.name == exit_name:  # which has no row
                row = Attachment(state.name, state.index, XdpMode.GENERIC, XdpMode.GENERIC, "")
            program = None if present is None else own.descriptors[present]
            try:
                _restore(state, row, program, own)
            except netlink.NetlinkRefused:
                if netlink.interface_state(state.index).program in strange:
                    raise  # or else somebody else has done it in this moment
    if before is not None and any((unfinished / name).exists() for name in program_pins(HOME_LINK_PROGRAM_NAME)):
        _put_back_home_link(pin_path, before)
    return bool(states)


def _restore(state: InterfaceState, row: Attachment | None, program: int | None, own: OwnPrograms) -> None:
    """Has the interface carry the program as its row says; none without a row or a program."""
    if row is None or program is None:
        attaching.detach(state, own)
    elif state.mode is row.actual_mode:
        netlink.attach(state.index, program, row.actual_mode, own.descriptors[state.program])
    else:
        attaching.detach(state, own)  # the kernel allows one mode at a time
        netlink.attach(state.index, program, row.actual_mode)


def _put_back_home_link(pin_path: Path, before: Path) -> None:
    from datapath import home_link  # takes half a second to import

    link = home_link.find(pin_path)
    if link is None:
        return
    try:
        with opened(before / HOME_LINK_PROGRAM_NAME) as program:
            home_link.set_up(program, link.prefixes, pin_path, link.mtu + home_link.ROUTING_HEADER_SIZE)
    except NotLoaded:
        home_link.tear_down(pin_path)


def recorded_in(directory: Path) -> list[Attachment]:
    """Interfaces recorded by a loader; none if that version's record has another layout."""
    try:
        with Map.open(directory / "attachments") as rows:
            return attaching.read_rows(rows) if rows.info.value_size == ATTACHMENT.size else []
    except NotLoaded:
        return []


def _identifier(path: Path) -> int | None:
    try:
        with opened(path) as descriptor:
            return program_info(descriptor).id
    except NotLoaded:
        return None


def _interfaces() -> Iterator[InterfaceState]:
    for index, _ in socket.if_nameindex():
        with contextlib.suppress(InterfaceMissing):
            yield netlink.interface_state(index)


# --- the process that writes bindings -------------------------------------------------------------------------------


@contextmanager
def no_writer(directory: Path) -> Iterator[bool]:
    """Whether no process writes these maps; then none begins to before the block ends."""
    with bpffs.directory_opened(directory) as descriptor:
        yield bpffs.try_lock(descriptor)


def is_written(pin_path: Path) -> bool:
    """Whether a process writes the maps that are in force."""
    directory = in_force(pin_path)
    if directory is None:
        return False
    with no_writer(directory) as is_free:
        return not is_free


class Writing:
    """Tells upgrades that this process writes the maps. Close it when it no longer does."""

    def __init__(self, pin_path: Path) -> None:
        """Waits for an upgrade that is about to end.

        Raises:
            NotLoaded: nothing is pinned there.
            StalePin: what is in force is of another schema version.
        """
        while True:
            recover(pin_path)
            require_current(pin_path)
            self._descriptor = bpffs.open_directory(pin_directory(pin_path))
            bpffs.share_lock(self._descriptor)
            if _is_still_there(pin_directory(pin_path), self._descriptor):
                return
            self.close()

    def close(self) -> None:
        """Lets upgrades have the maps."""
        os.close(self._descriptor)
