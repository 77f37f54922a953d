"""The raw bpf(2) system call through ctypes."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from enum import IntEnum

from datapath.errors import BpfCallFailed, DatapathError, PrivilegeRequired


class Command(IntEnum):
    """Commands of the call used here (enum bpf_cmd)."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    OBJ_GET_INFO_BY_FD = 15
    BTF_LOAD = 18
    MAP_LOOKUP_BATCH = 24
    MAP_DELETE_BATCH = 27


_SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_ATTRIBUTE_SIZE = 120
_libc = ctypes.CDLL(None, use_errno=True)


def call(command: Command, attributes: bytes | bytearray) -> tuple[int, bytearray]:
    """Returns the call's result (a negative errno on failure) and the attributes as the kernel left them."""
    number = _SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        raise DatapathError(f"The data path does not know bpf(2) on {platform.machine()}: run it on x86_64 or aarch64.")
    buffer = bytearray(attributes.ljust(_ATTRIBUTE_SIZE, b"\0"))
    view = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    while True:
        result = _libc.syscall(number, int(command), ctypes.byref(view), len(buffer))
        if result >= 0:
            return result, buffer
        error = ctypes.get_errno()
        if error != errno.EINTR:
            return -error, buffer


def failure(error: int, what: str) -> DatapathError:
    """The error to raise for an errno; ``what`` begins a sentence."""
    if error in (errno.EPERM, errno.EACCES):
        return PrivilegeRequired(
            f"{what} is not permitted: run as root, or with CAP_BPF and CAP_NET_ADMIN (to load: CAP_SYS_ADMIN too)."
        )
    return BpfCallFailed(f"{what} failed: {os.strerror(error)}.", error)


def address(buffer: ctypes.Array[ctypes.c_char] | None) -> int:
    """Where a buffer is, for an attribute of the call; it must outlive the call."""
    return 0 if buffer is None else ctypes.addressof(buffer)


def input_buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    """A copy of the bytes that the kernel can read."""
    return (ctypes.c_char * max(len(data), 1)).from_buffer_copy(data or b"\0")


def output_buffer(size: int) -> ctypes.Array[ctypes.c_char]:
    """Room that the kernel can write to."""
    return (ctypes.c_char * max(size, 1))()
