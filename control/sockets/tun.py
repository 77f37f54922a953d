"""A TUN device: whole IPv6 packets between the kernel and this process."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_CLONE_DEVICE = Path("/dev/net/tun")
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFF_TUN_EXCL = 0x8000
_INTERFACE_REQUEST = struct.Struct("16sH22x")
_LONGEST_NAME = 15
_LARGEST_PACKET = 65_575  # 40 bytes of header and the largest payload without a jumbo option
_BATCH = 256

_REMEDIES = {
    errno.EPERM: "run as root, or with CAP_NET_ADMIN",
    errno.EBUSY: "choose another name for the device, or remove the one there is with `ip link delete`",
    errno.EINVAL: "choose another name for the device: an interface of that name exists and is none of TUN",
    errno.ENOENT: f"make {_CLONE_DEVICE} available: load the kernel module tun, or give the container the device",
    errno.ENODEV: "load the kernel module tun",
}


class TunError(Exception):
    """A TUN device cannot be had.

    Attributes:
        remedy: what the operator can do about it.
    """

    def __init__(self, name: str, error: OSError) -> None:
        reason = error.strerror or str(error)
        self.remedy = _REMEDIES.get(error.errno or 0, f"see that {_CLONE_DEVICE} can be opened")
        super().__init__(f"TUN device {name!r} cannot be made ({reason}): {self.remedy}")


class TunDevice:
    """One TUN interface; it disappears when it is closed, and with the process.

    Attributes:
        name: of the interface.
        dropped: packets the kernel did not take.
    """

    def __init__(self, name: str) -> None:
        """Make the interface, down and without addresses, in the current network namespace.

        Raises:
            TunError: no privilege, no TUN in the kernel, or the name is taken.
        """
        self.name = name
        self.dropped = 0
        self._buffer = bytearray(_LARGEST_PACKET)
        self._view = memoryview(self._buffer)
        self._fd = -1
        if not 0 < len(name.encode()) <= _LONGEST_NAME:
            raise TunError(name, OSError(errno.EINVAL, f"a name has 1 to {_LONGEST_NAME} bytes"))
        try:
            self._fd = os.open(_CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            request = _INTERFACE_REQUEST.pack(name.encode(), _IFF_TUN | _IFF_NO_PI | _IFF_TUN_EXCL)
            fcntl.ioctl(self._fd, _TUNSETIFF, request)
        except OSError as error:
            self.close()
            raise TunError(name, error) from error

    def fileno(self) -> int:
        """The descriptor, for the event loop."""
        return self._fd

    def receive(self, batch: int = _BATCH) -> Iterator[bytes]:
        """Packets the kernel routed to the device, at most ``batch`` of them, none if it has no more."""
        for _ in range(batch):
            try:
                size = os.readv(self._fd, (self._buffer,))
            except (BlockingIOError, InterruptedError):
                return
            yield bytes(self._view[:size])

    def send(self, packet: bytes) -> None:
        """Let a packet come out of the device; counted in ``dropped`` if the kernel refuses it."""
        try:
            os.write(self._fd, packet)
        except OSError:
            self.dropped += 1

    def close(self) -> None:
        """Remove the interface."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
