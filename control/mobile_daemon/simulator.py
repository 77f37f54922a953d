"""The simulator: one TUN device that thousands of simulated mobile nodes stand behind."""

from __future__ import annotations

import gc
import json
import os
import random
import re
import selectors
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
from cryptography import x509

from control.config import ConfigurationError
from control.config.credentials import load_certificates, load_credentials
from control.ikev2.certificates import CertificateValidator
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import IkeConfiguration
from control.key_export import KeyExport
from control.mobile_daemon.configuration import SimulationConfiguration, load_simulation
from control.mobile_daemon.event_log import EventLog
from control.mobile_daemon.iproute import NetworkError
from control.mobile_daemon.network import open_simulated_link
from control.mobile_daemon.secrets import shared_key
from control.mobile_daemon.signals import SignalPipe
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from control.mobile_node.simulation import Simulation, SimulationSettings
from control.sockets.tun import TunDevice, TunError

_COMMANDS = ("report", "stop", "vanish IDENTITY...", "refresh NUMBER")
_COLLECT_AFTER_ALLOCATIONS = 50_000
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


def run_simulator(
    config_path: Path,
    *,
    loss_percent: float | None = None,
    moves_per_s: float | None = None,
    events: Path | None = None,
) -> int:
    """Simulate until SIGTERM, SIGINT or the line ``stop`` on standard input.

    Args:
        config_path: the simulation's file.
        loss_percent: overrides the file's.
        moves_per_s: overrides the file's.
        events: where to append events as JSON lines; None for standard output.

    Returns:
        The exit status: 0; 1 if the network cannot be set up; 2 if the configuration cannot be used.
    """
    try:
        configuration = load_simulation(config_path)
        changes = {"loss_percent": loss_percent, "moves_per_s": moves_per_s}
        given = {name: value for name, value in changes.items() if value is not None}
        settings = msgspec.structs.replace(configuration.simulator, **given)
        configuration = msgspec.structs.replace(configuration, simulator=settings)
        with ExitStack() as stack:
            log = EventLog(events, time.time)
            stack.callback(log.close)
            Simulator(configuration, log, stack).run()
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"homeagent: {problem}", file=sys.stderr)
        return 2
    except (NetworkError, TunError) as error:
        print(f"homeagent: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"homeagent: {error}. Check the path, and run as root in a network namespace of its own.", file=sys.stderr
        )
        return 1
    return 0


class Simulator:
    """A simulation with its TUN device and the loop around them."""

    def __init__(
        self,
        configuration: SimulationConfiguration,
        log: EventLog,
        stack: ExitStack,
    ) -> None:
        """Set everything up.

        Args:
            configuration: the file.
            log: where events go.
            stack: takes what has to be undone.

        Raises:
            ConfigurationError, NetworkError, TunError, OSError: it cannot be set up.
        """
        settings = configuration.simulator
        self._configuration = configuration
        self._log = log
        shared_random = random.Random(settings.seed)
        self._simulation = Simulation(
            _nodes(configuration, shared_random),
            SimulationSettings(
                home_agent=settings.home_agent,
                home_agent_identity=str(settings.home_agent_identity) if settings.home_agent_identity else None,
                rate_per_s=settings.rate_per_s,
                concurrency=settings.concurrency,
                loss_percent=settings.loss_percent,
                delay_s=settings.delay_ms / 1000,
                jitter_s=settings.jitter_ms / 1000,
                moves_per_s=settings.moves_per_s,
                care_of_prefix=settings.care_of_prefix,
            ),
            shared_random,
            time.monotonic(),
            time.time(),
        )
        self._tun = TunDevice(settings.tun)
        stack.callback(self._tun.close)
        open_simulated_link(settings.tun, settings.care_of_prefix, forwarding=settings.forwarding)
        self._signals = SignalPipe()
        stack.callback(self._signals.close)
        # The nodes stay until the end: the garbage collector need not look at them again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER_ALLOCATIONS)
        self._commands = b""
        self._announced = False
        self._next_summary = time.monotonic() + settings.summary_interval_s if settings.summary_interval_s else None
        self._done = False

    def run(self) -> None:
        """Serve until told to stop."""
        simulation = self._simulation
        with selectors.DefaultSelector() as selector:
            selector.register(self._tun, selectors.EVENT_READ, self._read_tun)
            selector.register(self._signals, selectors.EVENT_READ, self._read_signals)
            self._watch_standard_input(selector)
            prefix = str(self._configuration.simulator.care_of_prefix)
            self._log.write({"event": "started", "nodes": len(simulation.nodes), "care_of_prefix": prefix})
            self._log.flush()
            while not self._done:
                for key, _ in selector.select(self._timeout()):
                    action: Callable[[], None] = key.data
                    action()
                now = time.monotonic()
                simulation.handle_timer(now)
                self._flush(now)
        if self._configuration.simulator.report is not None:
            self._report()
        self._log.write({"event": "stopped", **simulation.summary()})

    def _timeout(self) -> float | None:
        times = [at for at in (self._simulation.next_timer(), self._next_summary) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _flush(self, now: float) -> None:
        for packet in self._simulation.packets_to_send():
            self._tun.send(packet)
        events = self._simulation.events()
        for identity, event in events:
            self._log.node_event(identity, event)
        if self._simulation.all_registered_at is not None and not self._announced:
            self._announced = True
            duration = self._simulation.all_registered_at - self._simulation.started_at
            nodes = len(self._simulation.nodes)
            self._log.write({"event": "all-registered", "nodes": nodes, "duration_s": round(duration, 3)})
        if self._next_summary is not None and now >= self._next_summary:
            self._next_summary = now + self._configuration.simulator.summary_interval_s
            self._log.write({"event": "summary", **self._simulation.summary()})
        elif not events:
            return
        self._log.flush()

    def _read_tun(self) -> None:
        simulation = self._simulation
        now = time.monotonic()
        for packet in self._tun.receive():
            simulation.receive_packet(packet, now)

    def _read_signals(self) -> None:
        if self._signals.report_asked_for():
            self._report()
        if self._signals.stop_asked_for():
            self._done = True

    def _watch_standard_input(self, selector: selectors.BaseSelector) -> None:
        try:
            selector.register(sys.stdin.fileno(), selectors.EVENT_READ, lambda: self._read_commands(selector))
        except (OSError, ValueError):
            # A closed or an ordinary file: nobody will ask for anything there.
            return

    def _read_commands(self, selector: selectors.BaseSelector) -> None:
        data = os.read(sys.stdin.fileno(), 65_536)
        if not data:
            selector.unregister(sys.stdin.fileno())
            return
        *lines, self._commands = (self._commands + data).split(b"\n")
        for line in lines:
            self._obey(line.decode("utf-8", "replace"))

    def _obey(self, line: str) -> None:
        match line.split():
            case ["report"]:
                self._report()
            case ["stop"]:
                self._done = True
            case ["vanish", *identities]:
                self._simulation.vanish(identities)
            case ["refresh", rate] if _NUMBER.fullmatch(rate):
                self._simulation.refresh(float(rate), time.monotonic())
            case [_, *_]:
                self._log.write({"event": "unknown-command", "command": line.strip(), "known": list(_COMMANDS)})
                self._log.flush()

    def _report(self) -> None:
        report = {"time": time.time(), **self._simulation.report()}
        path = self._configuration.simulator.report
        if path is None:
            self._log.write({"event": "report", **report})
        else:
            # A reader must never see half a report.
            partial = path.with_name(path.name + ".partial")
            partial.write_text(json.dumps(report) + "\n")
            partial.replace(path)
            self._log.write({"event": "report", "file": str(path)})
        self._log.flush()


def _nodes(configuration: SimulationConfiguration, shared_random: random.Random) -> Iterator[MobileNode]:
    """The engines; what nodes have in common they share, or thousands of them would not fit."""
    settings = configuration.simulator
    anchors: tuple[x509.Certificate, ...] = tuple(
        anchor for path in settings.trust_anchors for anchor in load_certificates(path)
    )
    validator = CertificateValidator(anchors, time.time)
    keys = KeyExport(configuration.key_export.ike, configuration.key_export.esp)
    for entry in configuration.nodes:
        credentials = None
        if entry.certificate is not None and entry.private_key is not None:
            credentials = load_credentials(entry.certificate, entry.private_key)
        ike = IkeConfiguration(
            local_identity=Identity.from_text(str(entry.identity)),
            wall_clock=time.time,
            credentials=credentials,
            trust_anchors=anchors,
            follow_redirects=True,
            key_log=keys.ike,
        )
        node_settings = NodeSettings(
            home_address=entry.home_address,
            care_of_address=entry.care_of_address,
            trusted_home_agents=settings.trusted_home_agents,
            shared_key=shared_key(entry.shared_key) if entry.shared_key is not None else None,
            lifetime_s=settings.lifetime_s,
        )
        yield MobileNode(node_settings, ike, shared_random, certificates=validator, installed=keys.esp)
