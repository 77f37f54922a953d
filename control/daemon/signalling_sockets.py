"""The raw sockets of signalling: those of a home agent that does ESP itself, and of one whose kernel does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from functools import partial
from ipaddress import IPv6Address
from typing import ClassVar, Protocol

from control.daemon.kernel_ipsec import KernelIpsec
from control.daemon.write_gate import WriteGate
from control.home_agent.engine import HomeAgent, ProtectedPacket
from control.home_agent.signalling import PROTOCOL_ESP, MessageToNode, Outgoing
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY
from control.sockets.raw_ipv6 import PacketSender, SignallingSocket
from datapath.errors import DatapathError
from datapath.reply_addresses import ReplyAddresses
from datapath.xfrm.event_socket import XfrmEvents

Reader = Callable[[float, float], None]
"""Feeds the engine what has arrived, given monotonic seconds and seconds since the epoch."""


class SignallingSockets(Protocol):
    """Brings packets to one engine, and away what it decides to send.

    Attributes:
        kernel_opens_esp: whether ESP is the kernel's, that in UDP too.
    """

    kernel_opens_esp: ClassVar[bool]

    @property
    def dropped(self) -> int:
        """Packets the kernel refused to send."""

    @property
    def statistics(self) -> Counter[str]:
        """Packets that arrived and were not taken, by what is wrong with them."""

    def readers(self) -> dict[int, Reader]:
        """What reads each descriptor that is to be waited for."""

    def send(self, packets: Iterable[Outgoing], now: float) -> None:
        """Send these, if any, and do what else is due at ``now`` (monotonic seconds)."""

    def close(self) -> None:
        """Close the sockets."""


class _Sockets:
    """What both kinds have: Mobility Headers come in, whole packets go out."""

    def __init__(self, address: IPv6Address, agent: HomeAgent, opened: ExitStack, *, marks: bool) -> None:
        """Open what is common, and take over what is ``opened`` to close it all together."""
        self._refused = 0
        self._agent = agent
        self._mobility = opened.enter_context(closing(SignallingSocket(address, PROTOCOL_MOBILITY, marks=marks)))
        self._sender = opened.enter_context(closing(PacketSender()))
        self._sockets = opened.pop_all()

    @property
    def dropped(self) -> int:
        """See :class:`SignallingSockets`."""
        return self._refused + self._sender.dropped

    def close(self) -> None:
        """See :class:`SignallingSockets`."""
        self._sockets.close()


class UserspaceSockets(_Sockets):
    """ESP and Mobility Header in, whole packets out."""

    kernel_opens_esp: ClassVar[bool] = False

    def __init__(self, address: IPv6Address, agent: HomeAgent) -> None:
        """Open.

        Raises:
            OSError: the address is not on this machine, or a privilege is missing.
        """
        with ExitStack() as opened:
            self._esp = opened.enter_context(closing(SignallingSocket(address, PROTOCOL_ESP)))
            super().__init__(address, agent, opened, marks=False)

    @property
    def statistics(self) -> Counter[str]:
        """See :class:`SignallingSockets`."""
        return self._esp.statistics + self._mobility.statistics

    def readers(self) -> dict[int, Reader]:
        """See :class:`SignallingSockets`."""
        return {self._esp.fileno(): self._read_protected, self._mobility.fileno(): self._read_unprotected}

    def send(self, packets: Iterable[Outgoing], now: float) -> None:
        """See :class:`SignallingSockets`."""
        for packet in packets:
            if isinstance(packet, MessageToNode):
                self._refused += 1  # in the clear it must not leave
            else:
                self._sender.send(packet)

    def _read_protected(self, now: float, wall: float) -> None:
        packets = (
            ProtectedPacket(packet.payload, packet.source, packet.care_of_address) for packet in self._esp.receive()
        )
        self._agent.receive_protected_packets(packets, now, wall)

    def _read_unprotected(self, now: float, _wall: float) -> None:
        for packet in self._mobility.receive():
            self._agent.receive_unprotected(packet.payload, packet.source, packet.care_of_address, now)


class KernelSockets(_Sockets):
    """Mobility Headers in and out; a mark tells which of them the kernel has opened, and under what."""

    kernel_opens_esp: ClassVar[bool] = True

    def __init__(
        self,
        address: IPv6Address,
        agent: HomeAgent,
        ipsec: KernelIpsec,
        replies: ReplyAddresses,
        gate: WriteGate,
        clock: Callable[[], float],
    ) -> None:
        """Open.

        Args:
            address: the home agent's.
            agent: the engine.
            ipsec: its back end.
            replies: where the home link sends what leaves; the caller closes it.
            gate: what changes of that go through. Messages wait with them.
            clock: monotonic seconds.

        Raises:
            OSError: the address is not on this machine, or a privilege is missing.
            XfrmUnavailable: the kernel's IPsec cannot be listened to.
        """
        self._ipsec = ipsec
        self._replies = replies
        self._gate = gate
        self._clock = clock
        with ExitStack() as opened:
            self._events = opened.enter_context(closing(XfrmEvents()))
            super().__init__(address, agent, opened, marks=True)

    @property
    def statistics(self) -> Counter[str]:
        """See :class:`SignallingSockets`."""
        return self._mobility.statistics

    def readers(self) -> dict[int, Reader]:
        """See :class:`SignallingSockets`."""
        return {self._mobility.fileno(): self._read, self._events.fileno(): self._read_events}

    def send(self, packets: Iterable[Outgoing], now: float) -> None:
        """See :class:`SignallingSockets`."""
        if not self._gate.is_closed:
            self._replies.expire(now)
        for packet in packets:
            if isinstance(packet, MessageToNode):
                self._gate.change(partial(self._send_protected, packet))
            else:
                self._sender.send(packet)

    def _send_protected(self, message: MessageToNode) -> None:
        try:
            self._replies.put(message.home_address, message.care_of_address, self._clock())
        except DatapathError:
            self._refused += 1
            return
        if not self._mobility.send(message.payload, message.home_address):
            self._refused += 1

    def _read_events(self, now: float, _wall: float) -> None:
        for event in self._events.receive():
            self._ipsec.handle_event(event)
        if self._events.lost:
            self._events.lost = False
            self._ipsec.resynchronise()
        self._agent.replace_used_up(now)

    def _read(self, now: float, wall: float) -> None:
        for packet in self._mobility.receive():
            association = self._ipsec.opened_by(packet.mark)
            if association is None:
                self._agent.receive_unprotected(packet.payload, packet.source, packet.care_of_address, now)
            else:
                self._agent.receive_opened(
                    packet.payload, association, packet.source, packet.care_of_address, now, wall
                )
