"""Tunnelled packets from the kernel, and the slow path's entrance that takes them back to the data path."""

from __future__ import annotations

import socket
import sys
from abc import abstractmethod
from ipaddress import IPv4Address, IPv6Address

from control.home_agent.tunnel_slow_path import Ends, Ipv4Ends, TunnelledPacket
from control.mobility.extension_headers import PROTOCOL_IPV6
from control.mobility.ipv4_tunnel import TUNNEL_PORT
from control.sockets.kernel_socket import KernelSocket, enlarge_receive_buffer

_RECEIVE_BUFFER_BYTES = 1024 * 1024
_LARGEST_PACKET = 65_535
_ANCILLARY_SPACE = 128
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}
_SO_ATTACH_BPF = 50  # asm-generic/socket.h; the socket module lacks this name and the next
_IP_PKTINFO = 8  # linux/in.h

_Told = dict[tuple[int, int], bytes]
"""By level and kind, what the kernel told of a packet."""


class TunnelSocket(KernelSocket):
    """Receives what was tunnelled to one address of the home agent, once the kernel has put fragments together."""

    def __init__(self, sock: socket.socket, address: tuple[str, int], program: int, slow_path: str) -> None:
        """Bind a socket that was opened.

        Args:
            sock: the socket, which this closes if it fails.
            address: the home agent's, and a port.
            program: descriptor of a BPF program that lets packets through.
            slow_path: the interface where packets that were given back come out.

        Raises:
            OSError: no CAP_NET_RAW, or the address is not on this machine.
        """
        super().__init__(sock)
        self._slow_path = slow_path
        with self._closed_on_failure():
            self.filter(program)
            enlarge_receive_buffer(sock, _RECEIVE_BUFFER_BYTES)
            for level, option in self._asked():
                sock.setsockopt(level, option, 1)
            sock.bind(address)

    def filter(self, program: int) -> None:
        """Let packets through as another program says, from now on; raises OSError."""
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_BPF, program)

    def receive(self) -> TunnelledPacket | None:
        """The next packet that has arrived, None if there is none."""
        while True:
            try:
                data, ancillary, _, peer = self._socket.recvmsg(_LARGEST_PACKET, _ANCILLARY_SPACE)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                continue  # an ICMP error, reported once
            return self._packet(data, {(level, kind): value for level, kind, value in ancillary}, peer)

    @abstractmethod
    def _asked(self) -> tuple[tuple[int, int], ...]:
        """What the kernel is to tell of each packet: levels and options."""

    @abstractmethod
    def _packet(self, data: bytes, told: _Told, peer: tuple[str, int]) -> TunnelledPacket:
        """A packet with what the kernel told of it."""

    def _is_slow_path(self, interface: bytes) -> bool:
        try:
            return socket.if_indextoname(int.from_bytes(interface, sys.byteorder)) == self._slow_path
        except OSError:
            return False


class Ipv6TunnelSocket(TunnelSocket):
    """IPv6 in IPv6; the kernel has read extension headers too."""

    def __init__(self, address: IPv6Address, program: int, slow_path: str) -> None:
        """Open and bind; see :class:`TunnelSocket`."""
        self._address = address
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL_IPV6)
        super().__init__(sock, (str(address), 0), program, slow_path)

    def _asked(self) -> tuple[tuple[int, int], ...]:
        return (socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS), (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)

    def _packet(self, data: bytes, told: _Told, peer: tuple[str, int]) -> TunnelledPacket:
        traffic_class = int.from_bytes(told.get((socket.IPPROTO_IPV6, socket.IPV6_TCLASS), b""), sys.byteorder)
        interface = told.get((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO), b"")[16:20]
        ends = Ends(IPv6Address(peer[0].partition("%")[0]), self._address)
        return TunnelledPacket(data, ends, traffic_class, self._is_slow_path(interface))


class Ipv4TunnelSocket(TunnelSocket):
    """IPv6 in IPv4; the kernel has read IPv4 options too."""

    def __init__(self, address: IPv4Address, program: int, slow_path: str) -> None:
        """Open and bind; see :class:`TunnelSocket`."""
        self._address = address
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL_IPV6)
        super().__init__(sock, (str(address), 0), program, slow_path)

    def _asked(self) -> tuple[tuple[int, int], ...]:
        return ((socket.IPPROTO_IP, _IP_PKTINFO),)

    def _packet(self, data: bytes, told: _Told, peer: tuple[str, int]) -> TunnelledPacket:
        size = (data[0] & 0xF) * 4  # such a socket gets the header too
        interface = told.get((socket.IPPROTO_IP, _IP_PKTINFO), b"")[:4]
        return TunnelledPacket(
            data[size:], Ipv4Ends(IPv4Address(peer[0]), self._address), data[1], self._is_slow_path(interface)
        )


class UdpTunnelSocket(TunnelSocket):
    """IPv6 in UDP in IPv4."""

    def __init__(self, address: IPv4Address, program: int, slow_path: str) -> None:
        """Open and bind; see :class:`TunnelSocket`."""
        self._address = address
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        super().__init__(sock, (str(address), TUNNEL_PORT), program, slow_path)

    def _asked(self) -> tuple[tuple[int, int], ...]:
        return (socket.IPPROTO_IP, _IP_PKTINFO), (socket.IPPROTO_IP, socket.IP_RECVTOS)

    def _packet(self, data: bytes, told: _Told, peer: tuple[str, int]) -> TunnelledPacket:
        interface = told.get((socket.IPPROTO_IP, _IP_PKTINFO), b"")[:4]
        service = told.get((socket.IPPROTO_IP, socket.IP_TOS), b"\0")[0]
        ends = Ipv4Ends(IPv4Address(peer[0]), self._address, peer[1])
        return TunnelledPacket(data, ends, service, self._is_slow_path(interface))


class SlowPathEntrance(KernelSocket):
    """Sends whole packets, of IPv6 or IPv4, into the slow path.

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
        self._to = {version: (device, kind, 0, 0, exit_address) for version, kind in _ETHERTYPES.items()}
        super().__init__(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0))

    def send(self, packet: bytes) -> None:
        """Send one packet; counted in ``refused`` if the kernel does not take it."""
        try:
            self._socket.sendto(packet, self._to[packet[0] >> 4])
        except OSError:
            self.refused += 1
