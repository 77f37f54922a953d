"""Removes the data path: takes the programs off their interfaces and the pins away."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datapath import attachments as attaching
from datapath import bpffs, home_link, netlink, slow_path
from datapath.attachments import OwnPrograms
from datapath.errors import DatapathError, InterfaceMissing, NotLoaded, PrivilegeRequired
from datapath.generations import recorded_in
from datapath.served_links import let_go_of_links


@dataclass(frozen=True, slots=True)
class UnloadReport:
    """What was removed.

    Attributes:
        detached: interfaces the program was taken off.
        untouched: interfaces recorded or named that carry none of our programs, or are not in this network namespace.
        pins_removed: number of maps and programs that were pinned.
        home_link_removed: whether there was a device for the home link, in this network namespace.
    """

    pin_path: Path
    detached: list[str] = field(default_factory=list)
    untouched: list[str] = field(default_factory=list)
    pins_removed: int = 0
    home_link_removed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The same, of types JSON has."""
        return asdict(self) | {"pin_path": str(self.pin_path)}


def unload(pin_path: Path, interfaces: Sequence[str] = ()) -> UnloadReport:
    """Unloads what is pinned under ``pin_path``, of any schema version and size, bindings and counters included.

    Args:
        pin_path: as given to the loader.
        interfaces: interfaces to look at beside those the loader recorded.

    Raises:
        NotLoaded: nothing is pinned there.
        PrivilegeRequired: the caller may not.
    """
    with bpffs.locked(pin_path), OwnPrograms(pin_path) as own:
        directories = bpffs.version_directories(pin_path)
        if not directories:
            raise NotLoaded(f"Nothing is pinned under {pin_path}: there is nothing to unload.")
        recorded = [row.name for directory in directories for row in recorded_in(directory)]
        detached: list[str] = []
        untouched: list[str] = []
        for name in dict.fromkeys([*recorded, *interfaces]):
            (detached if _detach(name, own) else untouched).append(name)
        for directory in directories:
            let_go_of_links(directory)
        home_link_removed = home_link.tear_down(pin_path)
        slow_path.tear_down(pin_path)
        removed = sum(_remove_pins(directory) for directory in directories)
    with contextlib.suppress(OSError):  # not empty, or the mount point itself
        pin_path.rmdir()
    return UnloadReport(pin_path, detached, untouched, removed, home_link_removed)


def _detach(name: str, own: OwnPrograms) -> bool:
    try:
        state = netlink.interface_state(name)
        if state.program not in own.descriptors:
            return False
        attaching.detach(state, own)
    except InterfaceMissing:
        return False
    except netlink.NetlinkRefused as error:
        raise PrivilegeRequired(
            f"The program cannot be taken off {name} ({error.detail}): run as root, or with CAP_NET_ADMIN and CAP_BPF."
        ) from error
    return True


def _remove_pins(directory: Path) -> int:
    count = 0
    try:
        for path in sorted(directory.iterdir()):
            path.unlink()
            count += 1
        directory.rmdir()
    except OSError as error:
        raise DatapathError(f"{directory} cannot be emptied ({error.strerror}): remove it by hand.") from error
    return count
