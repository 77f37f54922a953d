"""Tunnelled packets from the kernel, and the slow path's entrance that takes them back to the data path."""

from __future__ import annotations

import socket
import sys
from ipaddress import IPv6Address

from control.home_agent.tunnel_slow_path import TunnelledPacket
from control.mobility.extension_headers import PROTOCOL_IPV6
from control.sockets.kernel_socket import KernelSocket, enlarge_receive_buffer

_RECEIVE_BUFFER_BYTES = 1024 * 1024
_LARGEST_PACKET = 65_535
_ANCILLARY_SPACE = 128
_ETHERTYPE_IPV6 = 0x86DD
_SO_ATTACH_BPF = 50  # asm-generic/socket.h; the socket module lacks the name


class TunnelSocket(KernelSocket):
    """Receives what was tunnelled to the home agent, once the kernel has put fragments together and read options."""

    def __init__(self, address: IPv6Address, program: int, slow_path: str) -> None:
        """Open and bind.

        Args:
            address: the home agent's.
            program: descriptor of a BPF program that lets packets through.
            slow_path: the interface where packets that were given back come out.

        Raises:
            OSError: no CAP_NET_RAW, or the address is not on this machine.
        """
        self._slow_path = slow_path
        super().__init__(socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL_IPV6))
        with self._closed_on_failure():
            self.filter(program)
            enlarge_receive_buffer(self._socket, _RECEIVE_BUFFER_BYTES)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self._socket.bind((str(address), 0))

    def filter(self, program: int) -> None:
        """Let packets through as another program says, from now on; raises OSError."""
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program)

    def receive(self) -> TunnelledPacket | None:
        """The next packet that has arrived, None if there is none."""
        while True:
            try:
                inner, ancillary, _, peer = self._socket.recvmsg(_LARGEST_PACKET, _ANCILLARY_SPACE)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                continue  # an ICMPv6 error, reported once
            traffic_class = interface = 0
            for level, kind, data in ancillary:
                if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_TCLASS):
                    traffic_class = int.from_bytes(data, sys.byteorder)
                elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                    interface = int.from_bytes(data[16:20], sys.byteorder)
            source = IPv6Address(peer[0].partition("%")[0])
            return TunnelledPacket(inner, source, traffic_class, self._is_slow_path(interface))

    def _is_slow_path(self, interface: int) -> bool:
        try:
            return socket.if_indextoname(interface) == self._slow_path
        except OSError:
            return False


class SlowPathEntrance(KernelSocket):
    """Sends whole IPv6 packets into the slow path.

    Attributes:
        refused: packets that the kernel did not take.
    """

    def __init__(self, device: str, exit_address: bytes) -> None:
        """Open.

        Args:
            device: the entrance.
            exit_address: of the Ethernet layer, where packets come out.

        Raises:
            OSError: no CAP_NET_RAW.
        """
        self.refused = 0
        # By name each time: whoever unloads the data path and loads it again makes another device.
        self._to = (device, _ETHERTYPE_IPV6, 0, 0, exit_address)
        super().__init__(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0))

    def send(self, packet: bytes) -> None:
        """Send one packet; counted in ``refused`` if the kernel does not take it."""
        try:
            self._socket.sendto(packet, self._to)
        except OSError:
            self.refused += 1
