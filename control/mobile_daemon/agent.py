"""A mobile node in earnest: its home address on a TUN device, so that every program of the machine can use it."""

from __future__ import annotations

import os
import random
import selectors
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from ipaddress import IPv6Address
from pathlib import Path

from control.config import ConfigurationError
from control.config.credentials import load_certificates, load_credentials
from control.eap.peer import password_peer
from control.ikev2.nat import NatTraversal
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import IkeConfiguration, LifetimePolicy
from control.key_export import KeyExport
from control.mobile_daemon.attachment import Attachment
from control.mobile_daemon.configuration import AgentConfiguration, load_agent_configuration
from control.mobile_daemon.event_log import EventLog
from control.mobile_daemon.iproute import NetworkError
from control.mobile_daemon.network import AgentNetwork
from control.mobile_daemon.roaming import Roaming
from control.mobile_daemon.router_network import RouterNetwork
from control.mobile_daemon.signals import SignalPipe
from control.mobile_node.events import Deregistered, HomeAddressAssigned, Registered
from control.mobile_node.mobile_network import MobileNetwork
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from control.mobility.addresses import UNSPECIFIED
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
        for problem in error.problems:
            print(f"homeagent: {problem}", file=sys.stderr)
        return 2
    try:
        with ExitStack() as stack:
            log = EventLog(events, time.time)
            stack.callback(log.close)
            Agent(configuration, ike, log, stack).run()
    except (NetworkError, TunError) as error:
        print(f"homeagent: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"homeagent: {error}. Run as root in the node's network namespace.", file=sys.stderr)
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
        interfaces = configuration.node.care_of_interfaces
        self._roaming = Roaming(interfaces, configuration.node.care_of_address)
        stack.callback(self._roaming.close)
        link = self._roaming.start(time.monotonic())
        self.node = MobileNode(
            _node_settings(configuration, link.address),
            replace(ike, key_log=keys.ike),
            random.SystemRandom(),
            installed=keys.esp,
        )
        self._tun = TunDevice(configuration.node.tun)
        stack.callback(self._tun.close)
        self._network = AgentNetwork(configuration.node.tun, configuration.node.routes)
        self._network.open(configuration.node.home_address, link.mtu)
        if configuration.node.mobile_network_prefixes:
            router = RouterNetwork(configuration.node.mobile_network_prefixes, interfaces)
            stack.callback(router.close)
            router.open()
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
                (self._signals, self._read_signals),
            ]
            for source, reader in readers:
                selector.register(source, selectors.EVENT_READ, reader)  # type: ignore[arg-type]
            self._roaming.register(selector, self._links_changed, self._read_ike, self._read_packets)
            self._log.write({"event": "started", "node": node.identity, "care_of_address": str(node.care_of_address)})
            self._log.flush()
            if settings.home_agent is not None:
                identity = str(settings.home_agent_identity) if settings.home_agent_identity else None
                node.register(settings.home_agent, identity, time.monotonic())
            while not self._done:
                self._flush()
                for key, _ in selector.select(self._timeout()):
                    key.data()
                now = time.monotonic()
                if self._roaming.handle_timer(now):
                    self._moved(now)
                node.handle_timer(now)
                if self._leaving_until is not None and now >= self._leaving_until:
                    self._done = True
        node.close(time.monotonic())
        self._flush()
        self._log.write({"event": "stopped", "node": node.identity, "counters": dict(node.statistics)})

    def _timeout(self) -> float | None:
        now = time.monotonic()
        timers = (self.node.next_timer(), self._roaming.next_timer(now), self._leaving_until)
        times = [at for at in timers if at is not None]
        return max(0.0, min(times) - now) if times else None

    def _flush(self) -> None:
        events = self.node.events()
        # Noted before anything leaves, so that the times in the log are in the order of cause and effect.
        for event in events:
            self._log.node_event(self.node.identity, event)
        self._roaming.send_ike(self.node.datagrams_to_send())
        for packet in self.node.packets_to_send():
            self._roaming.send(packet)
        for event in events:
            if isinstance(event, HomeAddressAssigned):
                previous = event.previous if event.previous != UNSPECIFIED else None
                self._network.use_home_address(event.home_address, previous)
            elif isinstance(event, Registered):
                self._roaming.settled()
            elif isinstance(event, Deregistered) and self._leaving_until is not None:
                self._done = True
        if events:
            self._log.flush()

    def _read_tun(self) -> None:
        node, send = self.node, self._roaming.send
        for packet in self._tun.receive():
            outer = node.tunnel(packet)
            if outer is not None:
                send(outer)

    def _read_packets(self, attachment: Attachment) -> None:
        node, tun = self.node, self._tun
        now = time.monotonic()
        for packet in attachment.packets.receive():
            inner = node.receive_packet(packet, now)
            if inner is not None:
                tun.send(inner)

    def _read_ike(self, attachment: Attachment) -> None:
        now = time.monotonic()
        for data, local, remote in attachment.ike.receive():
            self.node.receive_ike(data, local, remote, now)

    def _links_changed(self) -> None:
        now = time.monotonic()
        if self._roaming.update(now):
            self._moved(now)

    def _moved(self, now: float) -> None:
        attachment = self._roaming.current
        if attachment is not None:
            self._network.use_link(attachment.link.mtu)
        self.node.care_of_address_changed(attachment.link.address if attachment is not None else None, now)

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
    shared = IkeConfiguration(
        local_identity=identity,
        wall_clock=time.time,
        nat_traversal=NatTraversal(node.nat_traversal),
        mobike=node.mobike,
        lifetimes=LifetimePolicy(ike_s=node.ike_lifetime_s, child_s=node.child_lifetime_s),
        follow_redirects=True,
    )
    if node.authentication == "shared-key":
        return shared
    own = None
    if node.certificate is not None and node.private_key is not None:
        own = load_credentials(node.certificate, node.private_key)
    return replace(
        shared,
        credentials=own,
        trust_anchors=tuple(anchor for path in node.trust_anchors for anchor in load_certificates(path)),
    )


def _node_settings(configuration: AgentConfiguration, care_of_address: IPv6Address) -> NodeSettings:
    node, prefixes = configuration.node, configuration.node.mobile_network_prefixes
    return NodeSettings(
        home_address=node.home_address or UNSPECIFIED,
        care_of_address=care_of_address,
        trusted_home_agents=node.trusted_home_agents,
        shared_key=configuration.secret,
        eap=partial(password_peer, configuration.eap, os.urandom) if configuration.eap is not None else None,
        home_agent_identities=configuration.home_agent_identities,
        lifetime_s=node.lifetime_s,
        mobile_network=MobileNetwork(prefixes, node.mobile_network_mode == "explicit") if prefixes else None,
    )
