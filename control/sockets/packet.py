"""Packet sockets of a mobile node: what arrives at its care-of address although the kernel has no use for it.

A kernel without Mobile IPv6 answers a type 2 routing header, and one without tunnels an IPv6 packet in IPv6, with an
ICMPv6 Parameter Problem. So the node taps the interface and lets a traffic-control filter drop the kernel's copy. Both
are the same classic BPF program.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import NamedTuple

from control.sockets.kernel_socket import KernelSocket, enlarge_receive_buffer
from control.wire import internet_checksum

PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
PROTOCOL_IPV6 = 41
PROTOCOL_ROUTING = 43
PROTOCOL_ICMPV6 = 58

_IPV6_HEADER_SIZE = 40
_CHECKSUM_OFFSETS = {PROTOCOL_TCP: 16, PROTOCOL_UDP: 6, PROTOCOL_ICMPV6: 2}

_ETHERTYPE_ALL = 0x0003
_ETHERTYPE_IPV6 = 0x86DD
_ROUTING_TYPE_2 = 2
_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
_LARGEST_PACKET = 65_575
_BATCH = 256

# linux/if_packet.h, asm-generic/socket.h; the socket module lacks these names.
_SOL_PACKET = 263
_PACKET_AUXDATA = 8
_PACKET_IGNORE_OUTGOING = 23
_TP_STATUS_CSUMNOTREADY = 1 << 3
_SO_ATTACH_FILTER = 26
_AUXILIARY_DATA = struct.Struct("=IIIHHHH")

# linux/bpf_common.h and linux/filter.h: classic BPF.
_LOAD_WORD = 0x20
_LOAD_HALF = 0x28
_LOAD_BYTE = 0x30
_JUMP_EQUAL = 0x15
_RETURN = 0x06
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF: offsets from here count from the IPv6 header, whatever the link layer
_ETHERTYPE = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL
_PACKET_TYPE = 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PKTTYPE; 0 is "to this host"

ACCEPT_ALL_BYTES = 0xFFFFFFFF
IGNORE = 0
TC_DROP = 2  # TC_ACT_SHOT
TC_CONTINUE = 0xFFFFFFFF  # TC_ACT_UNSPEC


class Instruction(NamedTuple):
    """One classic BPF instruction.

    Attributes:
        code: operation.
        if_true: instructions to skip if a jump's condition holds.
        if_false: instructions to skip otherwise.
        operand: constant or offset.
    """

    code: int
    if_true: int
    if_false: int
    operand: int


def mobility_filter(care_of_address: IPv6Address, match: int, otherwise: int) -> tuple[Instruction, ...]:
    """A program that finds packets to ``care_of_address`` with a tunnelled packet or a type 2 routing header.

    Args:
        care_of_address: the node's address.
        match: what to return for such packets.
        otherwise: what to return for all others.
    """
    tests = [(_LOAD_HALF, _ETHERTYPE, _ETHERTYPE_IPV6), (_LOAD_BYTE, _PACKET_TYPE, 0)]
    words = struct.unpack("!4I", care_of_address.packed)
    tests += [(_LOAD_WORD, _NETWORK_HEADER + 24 + 4 * index, word) for index, word in enumerate(words)]
    tail = [
        Instruction(_LOAD_BYTE, 0, 0, _NETWORK_HEADER + 6),
        Instruction(_JUMP_EQUAL, 3, 0, PROTOCOL_IPV6),
        Instruction(_JUMP_EQUAL, 0, 3, PROTOCOL_ROUTING),
        Instruction(_LOAD_BYTE, 0, 0, _NETWORK_HEADER + _IPV6_HEADER_SIZE + 2),
        Instruction(_JUMP_EQUAL, 0, 1, _ROUTING_TYPE_2),
        Instruction(_RETURN, 0, 0, match),
        Instruction(_RETURN, 0, 0, otherwise),
    ]
    program: list[Instruction] = []
    for position, (load, offset, value) in enumerate(tests):
        left = 2 * (len(tests) - position - 1)
        program += (Instruction(load, 0, 0, offset), Instruction(_JUMP_EQUAL, 0, left + len(tail) - 1, value))
    return (*program, *tail)


def tc_bytecode(program: tuple[Instruction, ...]) -> str:
    """The program as `tc filter … bpf bytecode` takes it."""
    return ",".join((str(len(program)), *(" ".join(map(str, instruction)) for instruction in program)))


class CareOfPacketSocket(KernelSocket):
    """Receives whole IPv6 packets that the mobility filter finds on one interface."""

    def __init__(self, interface: str, care_of_address: IPv6Address) -> None:
        """Open and bind.

        Raises:
            OSError: no CAP_NET_RAW, or no such interface.
        """
        # Bound to one protocol it would see packets only after traffic control, which is where they are dropped.
        super().__init__(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0))
        self._buffer = bytearray(_LARGEST_PACKET)
        self._view = memoryview(self._buffer)
        with self._closed_on_failure():
            enlarge_receive_buffer(self._socket, _RECEIVE_BUFFER_BYTES)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
            ignore_outgoing(self._socket)
            attach_filter(self._socket, mobility_filter(care_of_address, ACCEPT_ALL_BYTES, IGNORE))
            self._socket.bind((interface, _ETHERTYPE_ALL))

    def receive(self, batch: int = _BATCH) -> Iterator[bytes]:
        """What has arrived, at most ``batch`` packets of it."""
        for _ in range(batch):
            try:
                size, ancillary, _, _ = self._socket.recvmsg_into((self._buffer,), 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # The interface went down; the error is reported once and the socket stays of use.
                continue
            packet = bytes(self._view[:size])
            yield finish_inner_checksum(packet) if _checksum_is_missing(ancillary) else packet


class CareOfSender(KernelSocket):
    """Sends whole IPv6 packets out of one interface, whatever the routing table prefers.

    Attributes:
        dropped: packets the kernel did not take.
    """

    def __init__(self, interface: str, care_of_address: IPv6Address) -> None:
        """Open and bind.

        Raises:
            OSError: no CAP_NET_RAW, no such interface or address.
        """
        self.dropped = 0
        super().__init__(socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW))
        with self._closed_on_failure():
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            self._socket.bind((str(care_of_address), 0))

    def send(self, packet: bytes) -> None:
        """Send one packet to the destination in its header; counted in ``dropped`` if the kernel refuses it."""
        try:
            self._socket.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))
        except OSError:
            self.dropped += 1


def finish_inner_checksum(packet: bytes) -> bytes:
    """Fill in the transport checksum of a tunnelled packet that a network device was to fill in.

    Packets from the same machine, and packets merged by the kernel (GRO), arrive with an unfinished checksum.

    Args:
        packet: an outer IPv6 header, an inner one without extension headers, and a transport header; any other packet
            comes back as it is.
    """
    inner = packet[_IPV6_HEADER_SIZE:]
    if packet[6:7] != bytes((PROTOCOL_IPV6,)) or len(inner) < _IPV6_HEADER_SIZE:
        return packet
    protocol = inner[6]
    offset = _CHECKSUM_OFFSETS.get(protocol)
    segment = bytearray(inner[_IPV6_HEADER_SIZE : _IPV6_HEADER_SIZE + int.from_bytes(inner[4:6], "big")])
    if offset is None or len(segment) < offset + 2:
        return packet
    segment[offset : offset + 2] = bytes(2)
    pseudo_header = inner[8:40] + len(segment).to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    checksum = internet_checksum(pseudo_header + segment)
    if checksum == 0 and protocol == PROTOCOL_UDP:
        checksum = 0xFFFF  # zero would mean "none" (RFC 8200 section 8.1)
    segment[offset : offset + 2] = checksum.to_bytes(2, "big")
    return packet[: 2 * _IPV6_HEADER_SIZE] + bytes(segment)


def _checksum_is_missing(ancillary: list[tuple[int, int, bytes]]) -> bool:
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and len(data) >= _AUXILIARY_DATA.size:
            status: int = _AUXILIARY_DATA.unpack_from(data)[0]
            return bool(status & _TP_STATUS_CSUMNOTREADY)
    return False


def ignore_outgoing(sock: socket.socket) -> None:
    """Have a packet socket see only what arrives, not what this host sends."""
    sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)


def attach_filter(sock: socket.socket, program: tuple[Instruction, ...]) -> None:
    """Have a socket receive only what the program accepts."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    program_header = struct.pack("@HP", len(program), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program_header)
