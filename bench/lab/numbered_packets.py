"""UDP packets with numbers, both ways through a mobile node's tunnel: `python -m bench.lab.numbered_packets --help`.

One process is the correspondent, in its namespace, and one the mobile node's end of the tunnel. Each sends a packet to
the other at a steady rate and remembers how often each of the other's has arrived. The node's end takes packets out of
the tunnel and puts them into it by itself, as they are on the wire: how fast a mobile node does that does not matter.

Commands come on standard input, a line each: `go` begins the sending, `pause` ends it, `count N` asks what became of
the other's first N packets. Standard output carries a JSON object per line: `started`, `paused`, `counted`.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from control.sockets.kernel_socket import enlarge_receive_buffer
from control.sockets.packet import CareOfPacketSocket
from control.wire import internet_checksum, ipv6_pseudo_header

PORT = 4001
"""Source and destination of every packet."""

_IPV6, _UDP = 41, 17
_NUMBER = struct.Struct("!8sQ")
_MAGIC = b"numbered"
_INNER_SIZE = 40 + 8
_OUTER_SIZES = {socket.AF_INET6: 40, socket.AF_INET: 20}
_RECEIVE_BUFFER = 16 << 20
_MOST_AT_ONCE = 16
"""When this process was late, so that a stall does not end in a burst that no queue takes."""
_AT_ONCE_READ = 256


class End(Protocol):
    """One end of the way."""

    def fileno(self) -> int:
        """Descriptor of what is received from."""

    def send(self, number: int) -> None:
        """Sends the packet with this number."""

    def receive(self) -> Iterator[bytes]:
        """What UDP carried in the packets that have arrived; other packets may be among them."""


class Correspondent:
    """Sends to the home address and gets what comes from there."""

    def __init__(self, correspondent: IPv6Address, home_address: IPv6Address) -> None:
        self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        enlarge_receive_buffer(self._socket, _RECEIVE_BUFFER)
        self._socket.bind((str(correspondent), PORT))
        self._to = (str(home_address), PORT)

    def fileno(self) -> int:
        """Descriptor of the socket."""
        return self._socket.fileno()

    def send(self, number: int) -> None:
        """Sends the packet with this number."""
        self._socket.sendto(_NUMBER.pack(_MAGIC, number), self._to)

    def receive(self) -> Iterator[bytes]:
        """All that was sent to the port."""
        for _ in range(_AT_ONCE_READ):
            try:
                yield self._socket.recv(2048)
            except BlockingIOError:
                return


class InnerPackets:
    """What a mobile node puts into its tunnel."""

    def __init__(self, correspondent: IPv6Address, home_address: IPv6Address) -> None:
        length = 8 + _NUMBER.size
        self._header = struct.pack("!IHBB", 6 << 28, length, _UDP, 64) + home_address.packed + correspondent.packed
        self._pseudo_header = ipv6_pseudo_header(home_address, correspondent, length, _UDP)

    def build(self, number: int) -> bytes:
        """The packet with this number."""
        payload = _NUMBER.pack(_MAGIC, number)
        datagram = struct.pack("!HHHH", PORT, PORT, 8 + len(payload), 0) + payload
        checksum = internet_checksum(self._pseudo_header + datagram) or 0xFFFF
        return self._header + datagram[:6] + checksum.to_bytes(2, "big") + payload


class Node:
    """Sends out of the tunnel, with the care-of address as the outer source, and taps what comes through it."""

    def __init__(self, inner: InnerPackets, device: str, care_of: IPv6Address, agent: IPv6Address) -> None:
        self._inner = inner
        self._tap = CareOfPacketSocket(device, care_of)
        self._sending = socket.socket(socket.AF_INET6, socket.SOCK_RAW, _IPV6)
        self._sending.bind((str(care_of), 0))
        self._sending.connect((str(agent), 0))
        # Or else the kernel would answer what the mobile node gives it: nobody listens there.
        self._listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._listener.bind(("::", PORT))

    def fileno(self) -> int:
        """Descriptor of the tap."""
        return self._tap.fileno()

    def send(self, number: int) -> None:
        """Sends the packet with this number."""
        self._sending.send(self._inner.build(number))

    def receive(self) -> Iterator[bytes]:
        """What is behind two IPv6 headers and that of UDP."""
        skipped = _OUTER_SIZES[socket.AF_INET6] + _INNER_SIZE
        return (packet[skipped:] for packet in self._tap.receive(_AT_ONCE_READ))


class NodeOverIPv4:
    """The same with an IPv4 care-of address, IPv6 directly in IPv4; no mobile node is beside it."""

    def __init__(self, inner: InnerPackets, care_of: IPv4Address, agent: IPv4Address) -> None:
        self._inner = inner
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _IPV6)
        enlarge_receive_buffer(self._socket, _RECEIVE_BUFFER)
        self._socket.bind((str(care_of), 0))
        self._socket.connect((str(agent), 0))

    def fileno(self) -> int:
        """Descriptor of the socket."""
        return self._socket.fileno()

    def send(self, number: int) -> None:
        """Sends the packet with this number."""
        self._socket.send(self._inner.build(number))

    def receive(self) -> Iterator[bytes]:
        """What is behind the headers of IPv4, IPv6 and UDP."""
        skipped = _OUTER_SIZES[socket.AF_INET] + _INNER_SIZE
        for _ in range(_AT_ONCE_READ):
            try:
                yield self._socket.recv(2048)[skipped:]
            except BlockingIOError:
                return


class Counter:
    """Sends, receives and counts; one instance per process."""

    def __init__(self, end: End, rate_per_s: float) -> None:
        self._end = end
        self._rate_per_s = rate_per_s
        self._sent = 0
        self._seen = bytearray()
        self._is_paused = True
        self._due = 0.0

    def run(self) -> None:
        """Sends and counts until standard input ends."""
        _emit("started")
        while True:
            wait_s = 1.0 if self._is_paused else max(0.0, self._due - time.monotonic())
            ready = select.select([self._end, sys.stdin], [], [], wait_s)[0]
            if self._end in ready:
                self._receive()
            if sys.stdin in ready and not self._obey(sys.stdin.readline()):
                return
            if not self._is_paused:
                self._send(time.monotonic())

    def _send(self, now: float) -> None:
        for _ in range(_MOST_AT_ONCE):
            if self._due > now:
                return
            self._end.send(self._sent)
            self._sent += 1
            self._due += 1 / self._rate_per_s
        self._due = now

    def _obey(self, line: str) -> bool:
        word, *arguments = line.split() or [""]
        if word == "go":
            self._is_paused, self._due = False, time.monotonic()
        elif word == "pause":
            self._is_paused = True
            _emit("paused", sent=self._sent)
        elif word == "count":
            number = int(arguments[0])
            seen = self._seen[:number].ljust(number, b"\0")
            missing = [index for index, times in enumerate(seen) if not times]
            _emit(
                "counted",
                received=number - len(missing),
                missing=len(missing),
                first_missing=missing[:10],
                repeated=sum(times - 1 for times in self._seen if times),
            )
        return bool(line)

    def _receive(self) -> None:
        for payload in self._end.receive():
            if len(payload) == _NUMBER.size and payload.startswith(_MAGIC):
                _, number = _NUMBER.unpack(payload)
                if number >= len(self._seen):
                    self._seen.extend(bytes(number + 1024 - len(self._seen)))
                self._seen[number] = min(self._seen[number] + 1, 255)


def _emit(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def _end(options: argparse.Namespace) -> End:
    if options.care_of is None:
        return Correspondent(options.correspondent, options.home_address)
    inner = InnerPackets(options.correspondent, options.home_address)
    if isinstance(options.care_of, IPv4Address):
        return NodeOverIPv4(inner, options.care_of, options.home_agent)
    return Node(inner, options.device, options.care_of, options.home_agent)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.lab.numbered_packets", description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="packets per second")
    parser.add_argument("--care-of", type=ip_address, help="be the node's end, with this address")
    parser.add_argument("--device", help="the node's device with that address, if it is of IPv6")
    parser.add_argument("--home-agent", type=ip_address, help="the other end of the node's tunnel")
    parser.add_argument("correspondent", type=IPv6Address)
    parser.add_argument("home_address", type=IPv6Address)
    options = parser.parse_args(arguments)
    Counter(_end(options), options.rate).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
