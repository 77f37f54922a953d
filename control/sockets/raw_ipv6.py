"""Raw IPv6 sockets for signalling: protocol payloads in, whole packets out."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv6Address

from control.records import Record
from control.sockets.ike_udp import care_of_address_in
from control.sockets.kernel_socket import KernelSocket, enlarge_receive_buffer
from control.wire import WireError, ipv6_address
from datapath.xfrm.probe import SO_RCVMARK

_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
_BATCH = 1024
_LARGEST_PACKET = 65_535
_ANCILLARY_SPACE = 2_048
_SO_MARK = 36


class SignallingPacket(Record, frozen=True):
    """A packet as a raw socket sees it after XDP put the home address in the place of the source.

    Attributes:
        payload: what follows the extension headers, beginning with the protocol's own header.
        source: the IPv6 source: the home address if the packet had a Home Address option.
        care_of_address: where the packet really came from, None if it had no Home Address option.
        mark: what this host's kernel knows the packet by, 0 for nothing or if the socket was not asked to tell.
    """

    payload: bytes
    source: IPv6Address
    care_of_address: IPv6Address | None
    mark: int = 0


class SignallingSocket(KernelSocket):
    """Receives one IP protocol (ESP 50, Mobility Header 135) addressed to the home agent.

    Attributes:
        statistics: packets that were not taken, by what is wrong with them.
    """

    def __init__(self, address: IPv6Address, protocol: int, *, marks: bool = False) -> None:
        """Open and bind.

        Args:
            address: the home agent's.
            protocol: of what is received.
            marks: whether packets come with their mark (Linux 5.19).

        Raises:
            OSError: no CAP_NET_RAW, or the address is not on this machine.
        """
        self.statistics: Counter[str] = Counter()
        self._buffer = bytearray(_LARGEST_PACKET)
        super().__init__(socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol))
        with self._closed_on_failure():
            enlarge_receive_buffer(self._socket, _RECEIVE_BUFFER_BYTES)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVDSTOPTS, 1)
            if marks:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
            self._socket.bind((str(address), 0))

    def receive(self) -> Iterator[SignallingPacket]:
        """What has arrived, at most a batch of it."""
        for _ in range(_BATCH):
            try:
                size, ancillary, _, peer = self._socket.recvmsg_into([self._buffer], _ANCILLARY_SPACE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            try:
                care_of_address = care_of_address_in(ancillary)
            except WireError as error:
                self.statistics[f"destination-options-{error.reason}"] += 1
                continue
            source = ipv6_address(socket.inet_pton(socket.AF_INET6, peer[0].partition("%")[0]))
            yield SignallingPacket(bytes(self._buffer[:size]), source, care_of_address, _mark(ancillary))

    def send(self, payload: bytes, destination: IPv6Address) -> bool:
        """Send a payload of this protocol from the home agent's address; whether the kernel has taken it.

        The kernel fills in the checksum of a Mobility Header and applies its IPsec policies.
        """
        try:
            self._socket.sendto(payload, (socket.inet_ntop(socket.AF_INET6, destination.packed), 0))
        except OSError:
            return False
        return True


class PacketSender(KernelSocket):
    """Sends whole IPv6 packets, headers included (IPPROTO_RAW)."""

    def __init__(self) -> None:
        """Open.

        Raises:
            OSError: no CAP_NET_RAW.
        """
        self.dropped = 0
        super().__init__(socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW))

    def send(self, packet: bytes) -> None:
        """Send one packet to the destination in its header; counted in ``dropped`` if the kernel refuses it."""
        destination = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        try:
            self._socket.sendto(packet, (destination, 0))
        except OSError:
            self.dropped += 1


def _mark(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_MARK:
            return int.from_bytes(data, sys.byteorder)
    return 0
