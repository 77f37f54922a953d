"""Frames on the cables of a testbed, through the kernel and the daemon's part of the slow path."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from control.daemon.tunnel_relay import TunnelRelay
from datapath.reasons import Reason
from tests.waiting import PATIENCE_S, wait_until

_EVERY_KIND = 0x0003


class Wire:
    """Sends to one interface and sees what leaves by another, from the other ends of their cables."""

    def __init__(self, testbed, into: str, out_of: str) -> None:
        self._testbed = testbed
        self._sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._sender.bind((f"{into}-peer", 0))
        self._receiver = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERY_KIND))
        self._receiver.bind((f"{out_of}-peer", 0))
        self.before = testbed.counters.read()

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()

    def send(self, *frames: Packet | bytes) -> None:
        for frame in frames:
            self._sender.send(bytes(frame))

    def receive(self, wanted: Callable[[Packet], bool]) -> Ether:
        """The next frame that came out and is wanted."""
        while True:
            assert select.select([self._receiver], [], [], PATIENCE_S)[0], self.counted()
            data, address = self._receiver.recvfrom(65535)
            frame = Ether(data)
            if address[2] != socket.PACKET_OUTGOING and wanted(frame):
                return frame

    def expect(self, counted: dict[Reason, int]) -> None:
        """What is sent is dealt with a moment later, and then exactly this has been counted."""
        wait_until(lambda: self.counted() == counted, self.counted)

    def counted(self) -> dict[Reason, int]:
        """What the programs counted, without the kernel's own neighbour discovery."""
        after = self._testbed.counters.read()
        changed = {reason: after[reason] - self.before[reason] for reason in Reason}
        return {reason: count for reason, count in changed.items() if count and reason is not Reason.PASS_GROUP_FRAME}


@contextmanager
def wire(testbed, into: str, out_of: str) -> Iterator[Wire]:
    made = Wire(testbed, into, out_of)
    try:
        yield made
    finally:
        made.close()


def is_to(address: IPv6Address | IPv4Address) -> Callable[[Packet], bool]:
    kind = IPv6 if address.version == 6 else IP
    return lambda frame: kind in frame and frame[kind].dst == str(address)


@contextmanager
def relaying(testbed, ipv4_addresses: Sequence[IPv4Address] = ()) -> Iterator[Callable[..., TunnelRelay]]:
    """The daemon's relay; each call lets it work until it has counted what the call names."""
    loop = asyncio.new_event_loop()
    relay = TunnelRelay(testbed.home_agent, testbed.pin_path, loop, ipv4_addresses)

    def run(*wanted: str) -> TunnelRelay:
        def has_counted() -> bool:
            loop.run_until_complete(asyncio.sleep(0.05))
            return all(relay.statistics[each] for each in wanted)

        wait_until(has_counted, lambda: relay.statistics)
        return relay

    try:
        yield run
    finally:
        relay.close()
        loop.close()
