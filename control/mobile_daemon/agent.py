"""A mobile node in earnest: its home address on a TUN device, so that every program of the machine can use it."""

from __future__ import annotations

import random
import selectors
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from control.config import ConfigurationError
from control.config.credentials import load_certificates, load_credentials
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import IkeConfiguration
from control.key_export import KeyExport
from control.mobile_daemon.configuration import AgentConfiguration, load_agent_configuration
from control.mobile_daemon.event_log import EventLog
from control.mobile_daemon.network import AgentNetwork, CareOfLink, NetworkError, find_care_of_link
from control.mobile_daemon.signals import SignalPipe
from control.mobile_node.events import Deregistered, HomeAddressAssigned
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from control.mobility.addresses import UNSPECIFIED
from control.sockets.ike_udp import IkeSocket
from control.sockets.packet import CareOfPacketSocket, CareOfSender
from control.sockets.tun import TunDevice, TunError

_LEAVING_S = 2.0
"""How long a node that leaves waits for its de-registration to be acknowledged."""


def run_agent(config_path: Path, events: Path | None = None) -> int:
    """Be a mobile node until SIGTERM or SIGINT.

    Args:
        config_path: the agent's file.
        events: where to append events as JSON lines; None for standard output.

    Returns:
        The exit status: 0; 1 if the network cannot be set up; 2 if the configuration cannot be used.
    """
    try:
        configuration = load_agent_configuration(config_path)
        ike = _ike_configuration(configuration)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with ExitStack() as stack:
            log = EventLog(events, time.time)
            stack.callback(log.close)
            Agent(configuration, ike, log, stack).run()
    except (NetworkError, TunError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error}. Run as root in the node's network namespace.", file=sys.stderr)
        return 1
    return 0


class Agent:
    """The node engine with its sockets, its TUN device and the loop around them."""

    def __init__(
        self, configuration: AgentConfiguration, ike: IkeConfiguration, log: EventLog, stack: ExitStack
    ) -> None:
        """Set everything up.

        Args:
            configuration: the file.
            ike: identity and credentials.
            log: where events go.
            stack: takes what has to be undone.

        Raises:
            NetworkError, TunError, OSError: it cannot be set up.
        """
        self._settings = configuration.node
        self._log = log
        keys = KeyExport(configuration.key_export.ike, configuration.key_export.esp)
        stack.callback(keys.close)
        link = find_care_of_link(configuration.node.care_of_interface, configuration.node.care_of_address)
        self.node = MobileNode(
            _node_settings(configuration, link),
            replace(ike, key_log=keys.ike),
            random.SystemRandom(),
            installed=keys.esp,
        )
        self._tun = TunDevice(configuration.node.tun)
        stack.callback(self._tun.close)
        self._packets = CareOfPacketSocket(link.interface, link.address)
        stack.callback(self._packets.close)
        self._ike = IkeSocket(link.address)
        stack.callback(self._ike.close)
        self._sender = CareOfSender(link.interface, link.address)
        stack.callback(self._sender.close)
        self._network = AgentNetwork(link, configuration.node.tun, configuration.node.routes)
        stack.callback(self._network.close)
        self._network.open(configuration.node.home_address)
        self._signals = SignalPipe()
        stack.callback(self._signals.close)
        self._leaving_until: float | None = None
        self._done = False

    def run(self) -> None:
        """Serve until told to stop and de-registered."""
        node, settings = self.node, self._settings
        with selectors.DefaultSelector() as selector:
            readers: list[tuple[object, Callable[[], None]]] = [
                (self._tun, self._read_tun),
                (self._packets, self._read_packets),
                (self._ike, self._read_ike),
                (self._signals, self._read_signals),
            ]
            for source, reader in readers:
                selector.register(source, selectors.EVENT_READ, reader)  # type: ignore[arg-type]
            self._log.write(
                {"event": "started", "node": node.identity, "care_of_address": str(self._ike.local.address)}
            )
            self._log.flush()
            if settings.home_agent is not None:
                identity = str(settings.home_agent_identity) if settings.home_agent_identity else None
                node.register(settings.home_agent, identity, time.monotonic())
            while not self._done:
                self._flush()
                for key, _ in selector.select(self._timeout()):
                    key.data()
                now = time.monotonic()
                node.handle_timer(now)
                if self._leaving_until is not None and now >= self._leaving_until:
                    self._done = True
        node.close(time.monotonic())
        self._flush()
        self._log.write({"event": "stopped", "node": node.identity, "counters": dict(node.statistics)})

    def _timeout(self) -> float | None:
        times = [at for at in (self.node.next_timer(), self._leaving_until) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _flush(self) -> None:
        events = self.node.events()
        # Noted before anything leaves, so that the times in the log are in the order of cause and effect.
        for event in events:
            self._log.node_event(self.node.identity, event)
        self._ike.send(self.node.datagrams_to_send())
        for packet in self.node.packets_to_send():
            self._sender.send(packet)
        for event in events:
            if isinstance(event, HomeAddressAssigned):
                previous = event.previous if event.previous != UNSPECIFIED else None
                self._network.use_home_address(event.home_address, previous)
            elif isinstance(event, Deregistered) and self._leaving_until is not None:
                self._done = True
        if events:
            self._log.flush()

    def _read_tun(self) -> None:
        node, sender = self.node, self._sender
        for packet in self._tun.receive():
            outer = node.tunnel(packet)
            if outer is not None:
                sender.send(outer)

    def _read_packets(self) -> None:
        node, tun = self.node, self._tun
        now = time.monotonic()
        for packet in self._packets.receive():
            inner = node.receive_packet(packet, now)
            if inner is not None:
                tun.send(inner)

    def _read_ike(self) -> None:
        now = time.monotonic()
        for data, peer in self._ike.receive():
            self.node.receive_ike(data, self._ike.local, peer, now)

    def _read_signals(self) -> None:
        if not self._signals.stop_asked_for() or self._leaving_until is not None:
            return
        now = time.monotonic()
        if self._settings.deregister_on_exit and self.node.registered:
            self._leaving_until = now + _LEAVING_S
            self.node.deregister(now)
        else:
            self._done = True


def _ike_configuration(configuration: AgentConfiguration) -> IkeConfiguration:
    node = configuration.node
    identity = Identity.from_text(str(node.identity))
    if node.certificate is None or node.private_key is None or node.authentication != "certificate":
        return IkeConfiguration(local_identity=identity, wall_clock=time.time)
    return IkeConfiguration(
        local_identity=identity,
        wall_clock=time.time,
        credentials=load_credentials(node.certificate, node.private_key),
        trust_anchors=tuple(anchor for path in node.trust_anchors for anchor in load_certificates(path)),
    )


def _node_settings(configuration: AgentConfiguration, link: CareOfLink) -> NodeSettings:
    node = configuration.node
    return NodeSettings(
        home_address=node.home_address or UNSPECIFIED,
        care_of_address=link.address,
        trusted_home_agents=node.trusted_home_agents,
        shared_key=configuration.secret,
        home_agent_identities=configuration.home_agent_identities,
        lifetime_s=node.lifetime_s,
    )
