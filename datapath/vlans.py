"""VLAN devices on the interfaces that are served: which tag leads to which device, and back (``bpf/vlan.h``)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from datapath import netlink
from datapath.bpf_syscall import Map
from datapath.layout import INDEX, VLAN, pin_directory
from datapath.netlink import VlanDevice

_TAG_PRESENT = 0x10000


class VlanMaps:
    """What the programs know of VLAN devices. One writer at a time."""

    def __init__(self, vlans: Map, interface_tags: Map, ports: Map, attachments: Map) -> None:
        """Closing is the owner's duty."""
        self._vlans = vlans
        self._interface_tags = interface_tags
        self._ports = ports
        self._attachments = attachments
        self._all = ExitStack()
        for each in (vlans, interface_tags, ports, attachments):
            self._all.callback(each.close)

    @classmethod
    def open(cls, pin_path: Path) -> VlanMaps:
        """Opens the pinned maps; raises NotLoaded."""
        return cls.open_in(pin_directory(pin_path))

    @classmethod
    def open_in(cls, directory: Path) -> VlanMaps:
        """The same, of a data path that is not in force yet."""
        with ExitStack() as stack:
            names = ("vlans", "interface_tags", "ports", "attachments")
            maps = cls(*(stack.enter_context(Map.open(directory / name)) for name in names))
            stack.pop_all()
            return maps

    def __enter__(self) -> VlanMaps:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the maps; what is in them stays in force."""
        self._all.close()

    def refresh(self) -> None:
        """Takes over what VLAN devices there are now in this thread's network namespace."""
        self.replace(netlink.vlan_devices())

    def replace(self, devices: Iterable[VlanDevice]) -> None:
        """Makes these, as far as their ports are served, and no others the VLANs that frames may have tags of."""
        ports = {index for (index,) in map(INDEX.unpack, self._attachments.keys())}
        wanted = {
            VLAN.pack(device.port, device.identifier): device
            for device in devices
            if device.port in ports and device.index < self._ports.info.max_entries
        }
        present = {key: self._vlans.lookup(key) for key in self._vlans.keys()}  # noqa: SIM118 (a map is no dict)
        kept = {INDEX.pack(device.index) for device in wanted.values()}
        for key, index in present.items():
            device = wanted.get(key)
            if device is None or index != INDEX.pack(device.index):
                self._vlans.delete(key)
            if index is not None and index not in kept:
                self._interface_tags.update(index, INDEX.pack(0))
                self._ports.delete(index)
        for key, device in wanted.items():
            index, port = INDEX.pack(device.index), INDEX.pack(device.port)
            # What leaves by a port that frames cannot be redirected to leaves through the kernel.
            if self._ports.lookup(port) is None:
                self._ports.delete(index)
            else:
                self._interface_tags.update(index, INDEX.pack(_TAG_PRESENT | device.identifier))
                self._ports.update(index, port)
            if present.get(key) != index:
                self._vlans.update(key, index)
