"""A home agent whose kernel does IPsec and a node that does its own, on the two ends of a veth pair."""

from __future__ import annotations

import random
import socket
import struct
from ipaddress import IPv6Address
from pathlib import Path

from bench.lab.entering import inside
from control.daemon.kernel_ipsec import KernelIpsec
from control.ipsec.algorithms import CipherSuite
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.usage_limits import DEFAULT_USAGE_LIMITS, UsageLimits
from control.ipsec.userspace import UserspaceIpsec
from control.wire import internet_checksum, ipv6_pseudo_header
from datapath.xfrm.channel import XfrmChannel
from datapath.xfrm.probe import SO_RCVMARK
from tests.control.ipsec.associations import association_between
from tests.kernel.network import run

AGENT, HOME, STRANGER = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:a1::17"), IPv6Address("2001:db8:a1::bad")
BINDING_UPDATE, ACKNOWLEDGEMENT, UNKNOWN = 5, 6, 99


def raw_socket(protocol: int, address: IPv6Address) -> socket.socket:
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)
    raw.settimeout(60)
    raw.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
    raw.bind((str(address), 0))
    return raw


def mobility_header(source: IPv6Address, destination: IPv6Address, kind: int, number: int = 0) -> bytes:
    """A message of any type whose first two bytes are a number to know it by."""
    message = struct.pack("!BBBBHH", 59, 1, kind, 0, 0, number) + bytes(8)
    checksum = internet_checksum(ipv6_pseudo_header(source, destination, len(message), 135) + message)
    return message[:4] + checksum.to_bytes(2, "big") + message[6:]


class Wire:
    """A home agent in one namespace and a node that does its own ESP in another."""

    def __init__(self) -> None:
        for name in ("agent", "node"):
            run(f"ip netns add {name}")
        run("ip -n agent link add wire type veth peer name wire netns node")
        for name, addresses in (("agent", [AGENT]), ("node", [HOME, STRANGER])):
            with inside(name):
                run("ip link set lo up")
                Path("/proc/sys/net/ipv6/conf/wire/accept_dad").write_text("0")
                run("ip link set wire up")
                for address in addresses:
                    run(f"ip addr add {address}/64 dev wire nodad")
        with inside("agent"):
            self.channel = XfrmChannel()
            self.ipsec = KernelIpsec(self.channel, random.Random(1).randbytes)
            self.mobility = raw_socket(135, AGENT)
        self.node = UserspaceIpsec(random.Random(2).randbytes)
        with inside("node"):
            self.esp = raw_socket(50, HOME)
            self.clear = {address: raw_socket(135, address) for address in (HOME, STRANGER)}

    def close(self) -> None:
        for one in (self.channel, self.mobility, self.esp, *self.clear.values()):
            one.close()
        for name in ("agent", "node"):
            run(f"ip netns del {name}")

    def disconnect(self) -> None:
        """Removes all security associations."""
        for inbound, _ in self.ipsec.list():
            self.ipsec.remove(inbound.spi)
        for inbound, _ in self.node.list():
            self.node.remove(inbound.spi)

    def connect(self, suite: CipherSuite, limits: UsageLimits = DEFAULT_USAGE_LIMITS) -> int:
        up, down = self.ipsec.allocate_spi(), self.node.allocate_spi()
        upwards, downwards = (up, HOME, AGENT, suite), (down, AGENT, HOME, suite)
        self.ipsec.install(association_between(*upwards, limits=limits), association_between(*downwards, limits=limits))
        self.node.install(association_between(*downwards), association_between(*upwards))
        return up

    def protected(self, kind: int, number: int) -> bytes:
        message = mobility_header(HOME, AGENT, kind, number)
        return self.node.protect(HOME, AGENT, 135, message, 0.0)

    def send_esp(self, packet: bytes) -> None:
        self.esp.sendto(packet, (str(AGENT), 0))

    def receive_whole(self) -> tuple[bytes, SecurityAssociation | None]:
        """The next Mobility Header at the agent, and the association that opened it."""
        payload, association, _ = self._receive()
        return payload, association

    def receive(self) -> tuple[int, int, IPv6Address, SecurityAssociation | None]:
        """Type and number of the next Mobility Header at the agent, who seems to have sent it, and who has."""
        payload, association, source = self._receive()
        return payload[2], int.from_bytes(payload[6:8], "big"), source, association

    def _receive(self) -> tuple[bytes, SecurityAssociation | None, IPv6Address]:
        payload, ancillary, _, peer = self.mobility.recvmsg(2000, 200)
        marks = [struct.unpack("=I", data)[0] for level, kind, data in ancillary if (level, kind) == (1, 36)]
        assert len(marks) == 1, ancillary
        return payload, self.ipsec.opened_by(marks[0]), IPv6Address(peer[0])

    def counter(self, name: str) -> int:
        return self._counters()[name]

    def refused(self) -> int:
        """How many packets IPsec has not let in."""
        return sum(value for name, value in self._counters().items() if name.startswith("XfrmIn"))

    def _counters(self) -> dict[str, int]:
        with inside("agent"):
            lines = Path("/proc/thread-self/net/xfrm_stat").read_text().splitlines()
        return {line.split()[0]: int(line.split()[1]) for line in lines}
