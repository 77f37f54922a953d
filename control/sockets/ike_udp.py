"""The UDP sockets of IKEv2: non-blocking, drained in batches (RFC 7296 section 2, RFC 3948)."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT, Datagram, IpAddress, SocketAddress
from control.ipsec.udp_encapsulation import KEEPALIVE, NON_ESP_MARKER, UdpContent, content_of
from control.mobility.extension_headers import parse_swapped_destination_options
from control.sockets.kernel_socket import KernelSocket, enlarge_receive_buffer
from control.wire import WireError

_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
_LARGEST_DATAGRAM = 65_535
_BATCH = 1024
_ANCILLARY_SPACE = 2_048


class IkeSocket(KernelSocket):
    """IKE datagrams in and out of one local address and port.

    Attributes:
        local: the address and port.
        dropped: datagrams that the kernel did not take.
        waited_s: the longest time, in seconds, that the first datagram of a batch had waited for :meth:`receive`. Its
            user sets it back to 0.
    """

    def __init__(self, address: IpAddress, port: int = IKE_PORT, bound: socket.socket | None = None) -> None:
        """Bind to ``address``, and to any free port if ``port`` is 0.

        Args:
            address: the local address.
            port: the local port in host order.
            bound: a non-blocking socket that has both already.

        Raises:
            OSError: the address is not on this machine, or the port is taken.
        """
        self.dropped = 0
        self.waited_s = 0.0
        self._buffer = bytearray(_LARGEST_DATAGRAM)
        self._address_type: type[IPv4Address | IPv6Address] = type(address)
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        super().__init__(bound or socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        with self._closed_on_failure():
            enlarge_receive_buffer(self._socket, _RECEIVE_BUFFER_BYTES)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            if bound is None:
                self._socket.bind((str(address), port))
            self.local = SocketAddress(address, self._socket.getsockname()[1])

    def receive(self) -> Iterator[tuple[bytes, SocketAddress]]:
        """What has arrived, at most a batch of it, so that one flood does not starve everything else."""
        for index in range(_BATCH):
            try:
                if index:
                    size, peer = self._socket.recvfrom_into(self._buffer)
                else:
                    size, ancillary, _, peer = self._socket.recvmsg_into([self._buffer], _ANCILLARY_SPACE)
                    self._note_waiting(ancillary)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # An ICMPv6 error of an earlier datagram: the retransmission timers deal with it.
                continue
            yield bytes(self._buffer[:size]), self._sender(peer)

    def _note_waiting(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                self.waited_s = max(self.waited_s, time.time() - seconds - nanoseconds * 1e-9)

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """Send, counting in ``dropped`` what the kernel does not take: IKEv2 repeats what matters."""
        for datagram in datagrams:
            self._send(datagram.data, datagram.remote)

    def _send(self, data: bytes, remote: SocketAddress) -> None:
        try:
            address = socket.inet_ntop(self._socket.family, remote.address.packed)
            self._socket.sendto(data, (address, remote.port))
        except (OSError, ValueError):  # a ValueError is an address of the other family
            self.dropped += 1

    def _sender(self, peer: tuple[str, int]) -> SocketAddress:
        # Several times faster than parsing in Python, which counts in a flood.
        packed = socket.inet_pton(self._socket.family, peer[0].partition("%")[0])
        return SocketAddress(self._address_type(packed), peer[1])


@dataclass(frozen=True, slots=True)
class NatTraversalArrival:
    """A datagram that came to port 4500.

    Attributes:
        content: IKE or ESP.
        data: the IKE message without its marker, or the ESP packet.
        source: the sender; for a packet with a Home Address option, the home address with the port it came from.
        care_of_address: where such a packet really came from, None for one without that option.
    """

    content: UdpContent
    data: bytes
    source: SocketAddress
    care_of_address: IPv6Address | None

    @property
    def origin(self) -> SocketAddress:
        """Address and port of the UDP flow it came in."""
        return self.source if self.care_of_address is None else self.source._replace(address=self.care_of_address)


class NatTraversalSocket(IkeSocket):
    """Port 4500: IKE messages behind a marker, ESP packets, and keepalives, which are only counted.

    Attributes:
        statistics: datagrams by what they held, ``nat-keepalives`` for example.
    """

    def __init__(self, address: IpAddress, port: int = NAT_TRAVERSAL_PORT, bound: socket.socket | None = None) -> None:
        """See :class:`IkeSocket`."""
        super().__init__(address, port, bound)
        self.statistics: Counter[str] = Counter()
        if address.version == 6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVDSTOPTS, 1)

    def give_esp_to_kernel(self) -> None:
        """From now on the kernel opens the ESP packets, by the security associations that it has.

        Raises:
            OSError: this kernel cannot.
        """
        self._socket.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)

    def arrivals(self) -> Iterator[NatTraversalArrival]:
        """IKE messages and ESP packets that have arrived, at most a batch of them."""
        for _ in range(_BATCH):
            try:
                payload, ancillary, _, peer = self._socket.recvmsg(_LARGEST_DATAGRAM, _ANCILLARY_SPACE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue
            content = content_of(payload)
            self._note_waiting(ancillary)
            if content is UdpContent.KEEPALIVE or content is UdpContent.NOTHING:
                self.statistics["nat-keepalives" if content is UdpContent.KEEPALIVE else "udp-too-short"] += 1
                continue
            try:
                care_of_address = care_of_address_in(ancillary)
            except WireError as error:
                self.statistics[f"destination-options-{error.reason}"] += 1
                continue
            data = payload[len(NON_ESP_MARKER) :] if content is UdpContent.IKE else payload
            yield NatTraversalArrival(content, data, self._sender(peer), care_of_address)

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """See :meth:`IkeSocket.send`; IKE messages get their marker."""
        for datagram in datagrams:
            marker = b"" if datagram.data == KEEPALIVE else NON_ESP_MARKER
            self._send(marker + datagram.data, datagram.remote)


class IkeSockets:
    """Ports 500 and 4500 of one address.

    Attributes:
        plain: port 500.
        nat_traversal: port 4500, None if NAT traversal is off.
    """

    def __init__(
        self,
        address: IpAddress,
        *,
        nat_traversal: bool,
        ports: tuple[int, int] = (IKE_PORT, NAT_TRAVERSAL_PORT),
        bound: Sequence[socket.socket] = (),
    ) -> None:
        """Bind both, or only the first one.

        Args:
            address: the local address.
            nat_traversal: whether there is a second one.
            ports: the local ports.
            bound: sockets that have address and ports already, one for each.

        Raises:
            OSError: see :class:`IkeSocket`.
        """
        with ExitStack() as stack:
            plain, other = (*bound, None, None)[:2]
            self.plain = IkeSocket(address, ports[0], plain)
            stack.callback(self.plain.close)
            self.nat_traversal = NatTraversalSocket(address, ports[1], other) if nat_traversal else None
            stack.pop_all()

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel did not take."""
        return sum(sock.dropped for sock in self.sockets)

    def take_waited_s(self) -> float:
        """The longest that datagrams have waited to be received, in seconds, since this was last asked."""
        longest = max(sock.waited_s for sock in self.sockets)
        for sock in self.sockets:
            sock.waited_s = 0.0
        return longest

    @property
    def sockets(self) -> tuple[IkeSocket, ...]:
        """For the event loop."""
        return (self.plain,) if self.nat_traversal is None else (self.plain, self.nat_traversal)

    def receive(self) -> Iterator[tuple[bytes, SocketAddress, SocketAddress]]:
        """IKE messages with where they came to and from. ESP packets are left to whoever sees whole packets."""
        for data, remote in self.plain.receive():
            yield data, self.plain.local, remote
        if self.nat_traversal is not None:
            for arrival in self.nat_traversal.arrivals():
                if arrival.content is UdpContent.IKE:
                    yield arrival.data, self.nat_traversal.local, arrival.origin

    def send(self, datagrams: Iterable[Datagram]) -> None:
        """Send every datagram from the port that it names."""
        for datagram in datagrams:
            if self.nat_traversal is not None and datagram.local.port == self.nat_traversal.local.port:
                self.nat_traversal.send((datagram,))
            else:
                self.plain.send((datagram,))

    def close(self) -> None:
        """Close the sockets."""
        for sock in self.sockets:
            sock.close()


def care_of_address_in(ancillary: list[tuple[int, int, bytes]]) -> IPv6Address | None:
    """The care-of address in what a socket with ``IPV6_RECVDSTOPTS`` says of a packet, None if it is not there.

    A packet may have more than one such header (RFC 8200 section 4.1).

    Raises:
        WireError: the options are malformed.
    """
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_DSTOPTS:
            care_of_address = parse_swapped_destination_options(data)
            if care_of_address is not None:
                return care_of_address
    return None


# asm-generic/socket.h and linux/udp.h; the socket module has no names for them.
_SO_TIMESTAMPNS = 35
_TIMESPEC = Struct("@qq")
UDP_ENCAP = 100
UDP_ENCAP_ESPINUDP = 2
