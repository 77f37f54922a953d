"""Groups of UDP sockets that share an address and port, with a program that says which datagram is whose."""

from __future__ import annotations

import ctypes
import socket
from contextlib import ExitStack
from struct import Struct

from control.ikev2.address import IpAddress

_SO_ATTACH_REUSEPORT_CBPF = 51
_FILTER_PROGRAM = Struct("@HP")  # struct sock_fprog: number of instructions, their address
_INSTRUCTION_SIZE = 8


def bind_group(address: IpAddress, port: int, program: bytes, size: int) -> tuple[socket.socket, ...]:
    """Bind that many sockets to one address and port; the program's result is an index into them.

    Args:
        address: the address.
        port: the port; any free one if it is 0.
        program: classic BPF over the UDP payload.
        size: how many sockets.

    Raises:
        OSError: the address is not on this machine, the port is taken, or the kernel refuses the program.
    """
    with ExitStack() as stack:
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        port = _require_free(family, address, port)
        group: list[socket.socket] = []
        for _ in range(size):
            sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if not group:
                _attach(sock, program)
            sock.bind((str(address), port))
            group.append(sock)
        stack.pop_all()
        return tuple(group)


def _require_free(family: int, address: IpAddress, port: int) -> int:
    """Another process of the same user could have such a group already, and would share it with this one."""
    with socket.socket(family, socket.SOCK_DGRAM) as alone:
        alone.bind((str(address), port))
        bound: int = alone.getsockname()[1]
        return bound


def _attach(sock: socket.socket, program: bytes) -> None:
    instructions = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION_SIZE
    structure = _FILTER_PROGRAM.pack(count, ctypes.addressof(instructions))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, structure + bytes(-len(structure) % 8))
