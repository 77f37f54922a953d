"""What a network driver says of itself, by the ioctls of ethtool; None or nothing where it does not answer."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GET_DRIVER, _GET_STRINGS, _GET_SET_SIZE, _GET_FEATURES, _GET_CHANNELS = 0x03, 0x1B, 0x37, 0x3A, 0x3C
_FEATURE_NAMES = 4
_NAME_SIZE = 32
_DRIVER_SIZE = 196


def driver(name: str) -> str:
    """Name of the driver of an interface, empty if it is unknown."""
    reply = _ask(name, struct.pack("=I", _GET_DRIVER).ljust(_DRIVER_SIZE, b"\0"))
    return "" if reply is None else reply[4:36].rstrip(b"\0").decode("ascii", "replace")


def features(name: str) -> dict[str, bool]:
    """Offloads by ethtool's own names (``rx-lro``), and whether each is on."""
    reply = _ask(name, struct.pack("=IIQI", _GET_SET_SIZE, 0, 1 << _FEATURE_NAMES, 0))
    count = 0 if reply is None else struct.unpack_from("=I", reply, 16)[0]
    strings = _ask(name, struct.pack("=III", _GET_STRINGS, _FEATURE_NAMES, count) + bytes(count * _NAME_SIZE))
    blocks = -(-count // 32)
    states = _ask(name, struct.pack("=II", _GET_FEATURES, blocks) + bytes(16 * blocks))
    if not count or strings is None or states is None:
        return {}
    active = [struct.unpack_from("=I", states, 8 + 16 * block + 8)[0] for block in range(blocks)]
    names = [strings[12 + index * _NAME_SIZE : 12 + (index + 1) * _NAME_SIZE] for index in range(count)]
    return {
        text.rstrip(b"\0").decode("ascii", "replace"): bool(active[index // 32] >> index % 32 & 1)
        for index, text in enumerate(names)
    }


def queues(name: str) -> tuple[int, int] | None:
    """How many queues the interface sends by now, and how many it could have."""
    reply = _ask(name, struct.pack("=9I", _GET_CHANNELS, *[0] * 8))
    if reply is None:
        return None
    _, _, most_out, _, most_combined, _, out, _, combined = struct.unpack("=9I", reply)
    return out + combined, most_out + most_combined


def _ask(name: str, command: bytes) -> bytes | None:
    buffer = bytearray(command)
    address = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    request = struct.pack("@16sP16x", name.encode()[:15], ctypes.addressof(address))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as channel:
        try:
            fcntl.ioctl(channel, _SIOCETHTOOL, request)
        except OSError:
            return None
    return bytes(buffer)
