"""Signalling that the kernel protects, while an upgrade exchanges the maps."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.entering import own_network
from control.daemon.signalling_sockets import KernelSockets
from control.daemon.write_gate import WriteGate
from control.home_agent.signalling import MessageToNode
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY
from control.sockets.raw_ipv6 import SignallingSocket
from datapath.bpf_syscall import Map, MapType, map_create, object_pin
from datapath.layout import pin_directory
from datapath.reply_addresses import KEPT_S, ReplyAddresses
from tests.waiting import take

pytestmark = pytest.mark.namespaces

HOME = IPv6Address("::1")  # the message has to arrive somewhere
OTHER_HOME = IPv6Address("2001:db8:100::2")
CARE_OF = IPv6Address("2001:db8:f::5")
MESSAGE = MessageToNode(HOME, CARE_OF, bytes.fromhex("3b00000000000000"))


@pytest.fixture(autouse=True)
def _own_network() -> Iterator[None]:
    with own_network():
        yield


class Pins:
    """Where the map is that is in force."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pin = pin_directory(path) / "reply_addresses"

    def exchange(self, *entries: tuple[IPv6Address, IPv6Address]) -> None:
        """Puts another map there, with what an upgrade has carried over."""
        self._pin.unlink(missing_ok=True)
        with Map(map_create(MapType.HASH, 16, 16, 8, "replies")) as entries_map:
            for home_address, care_of_address in entries:
                entries_map.update(home_address.packed, care_of_address.packed)
            object_pin(entries_map.descriptor, self._pin)

    def entries(self) -> dict[IPv6Address, IPv6Address]:
        with Map.open(self._pin) as entries:
            found = {key: entries.lookup(key) for key in list(entries.keys())}
        return {IPv6Address(key): IPv6Address(value) for key, value in found.items() if value is not None}


@pytest.fixture
def pins() -> Iterator[Pins]:
    path = Path(f"/sys/fs/bpf/homeagent-test-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    pin_directory(path).mkdir(parents=True)
    made = Pins(path)
    made.exchange()
    yield made
    for pinned in pin_directory(path).iterdir():
        pinned.unlink()
    pin_directory(path).rmdir()
    path.rmdir()


def _exchanging(
    pins: Pins,
    scenario: Callable[[KernelSockets, Callable[[float], None]], None],
    carried: list[tuple[IPv6Address, IPv6Address]],
    afterwards: Callable[[KernelSockets], None] = lambda _: None,
) -> None:
    """Has the scenario happen after an upgrade has copied the map and before the daemon follows."""

    async def exchange() -> None:
        gate, now = WriteGate(), [10.0]
        with closing(ReplyAddresses.open(pins.path)) as replies:
            sockets = KernelSockets(HOME, None, None, replies, gate, lambda: now[0])  # type: ignore[arg-type]
            with closing(sockets):
                for home_address, care_of_address in carried:
                    replies.put(home_address, care_of_address, now[0])

                async def follow() -> None:
                    replies.follow(pins.path)

                def set_time(at: float) -> None:
                    now[0] = at

                async with gate.closed(follow):
                    pins.exchange(*carried)
                    scenario(sockets, set_time)
                afterwards(sockets)

    asyncio.run(exchange())


def test_what_is_sent_meanwhile_leaves_when_its_address_is_in_force(pins: Pins) -> None:
    with closing(SignallingSocket(HOME, PROTOCOL_MOBILITY)) as receiver:

        def scenario(sockets: KernelSockets, _: Callable[[float], None]) -> None:
            sockets.send([MESSAGE], 10.0)
            assert list(receiver.receive()) == []

        _exchanging(pins, scenario, [])

        assert [len(packet.payload) for packet in take(receiver.receive, 1)] == [len(MESSAGE.payload)]
    assert pins.entries() == {HOME: CARE_OF}


def test_what_comes_to_its_end_meanwhile_does_not_stay_for_good(pins: Pins) -> None:
    def scenario(sockets: KernelSockets, set_time: Callable[[float], None]) -> None:
        set_time(10.0 + KEPT_S)
        sockets.send([], 10.0 + KEPT_S)

    _exchanging(pins, scenario, [(OTHER_HOME, CARE_OF)], lambda sockets: sockets.send([], 10.0 + KEPT_S))

    assert pins.entries() == {}
