"""Neighbour discovery of a home link: what others say there, and whole packets to their groups."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from control.sockets.kernel_socket import KernelSocket
from control.sockets.packet import ACCEPT_ALL_BYTES, IGNORE, Instruction, attach_filter, ignore_outgoing

_ETHERTYPE_IPV6 = 0x86DD
_PROTOCOL_ICMPV6 = 58
_HOP_LIMIT_OF_A_NEIGHBOUR = 255
_SOLICITATION, _ADVERTISEMENT = 135, 136
_BATCH = 256
_LARGEST_PACKET = 2_048
# Offsets in an IPv6 packet, and classic BPF.
_NEXT_HEADER, _HOP_LIMIT, _TYPE, _DESTINATION = 6, 7, 40, 24
_LOAD_BYTE, _JUMP_EQUAL, _RETURN = 0x30, 0x15, 0x06

_FILTER = (
    Instruction(_LOAD_BYTE, 0, 0, _NEXT_HEADER),
    Instruction(_JUMP_EQUAL, 0, 6, _PROTOCOL_ICMPV6),
    Instruction(_LOAD_BYTE, 0, 0, _HOP_LIMIT),
    Instruction(_JUMP_EQUAL, 0, 4, _HOP_LIMIT_OF_A_NEIGHBOUR),
    Instruction(_LOAD_BYTE, 0, 0, _TYPE),
    Instruction(_JUMP_EQUAL, 1, 0, _SOLICITATION),
    Instruction(_JUMP_EQUAL, 0, 1, _ADVERTISEMENT),
    Instruction(_RETURN, 0, 0, ACCEPT_ALL_BYTES),
    Instruction(_RETURN, 0, 0, IGNORE),
)


class HomeLinkSocket(KernelSocket):
    """One interface. Sees solicitations and advertisements to any group, whether this host has joined it or not.

    Attributes:
        dropped: packets the kernel did not take.
    """

    def __init__(self, interface: str) -> None:
        """Open and bind.

        Raises:
            OSError: no CAP_NET_RAW, or no such interface.
        """
        self.dropped = 0
        self._interface = interface
        # Bound only once the filter is on: nothing else gets in between.
        super().__init__(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0))
        with self._closed_on_failure():
            attach_filter(self._socket, _FILTER)
            ignore_outgoing(self._socket)
            self._socket.bind((interface, _ETHERTYPE_IPV6))

    def receive(self) -> Iterator[bytes]:
        """Whole IPv6 packets that have arrived, at most a batch of them."""
        for _ in range(_BATCH):
            try:
                yield self._socket.recv(_LARGEST_PACKET)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # the interface went down; it is said once

    def send(self, packet: bytes) -> None:
        """Send a whole IPv6 packet to the group in its header (RFC 2464 section 7)."""
        group = b"\x33\x33" + packet[_DESTINATION + 12 : _DESTINATION + 16]
        try:
            self._socket.sendto(packet, (self._interface, _ETHERTYPE_IPV6, 0, 0, group))
        except OSError:
            self.dropped += 1
