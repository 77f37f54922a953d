"""The demonstration from the first namespace to the summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address
from typing import Any, NoReturn

from rich.console import Console

from bench.demonstration.artifacts import Artifacts
from bench.demonstration.display import Display, make_display
from bench.demonstration.options import DemoOptions
from bench.demonstration.summary import Evidence, NodeEvidence, build_summary
from bench.demonstration.timeline import Entry, Timeline
from bench.lab.addresses import home_address
from bench.lab.capture import Capture
from bench.lab.credentials import Credentials
from bench.lab.errors import LabError, LabInterrupted
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import BulkTransfers, EchoProbes
from bench.lab.scene import Scene, SceneOptions
from bench.lab.streams import ControlStream

# Short, so that a newcomer does not wait long for the failure to be noticed.
_CLUSTER = {"lease_s": 1.5, "heartbeat_s": 0.5}
_PROBE_INTERVAL_S = 0.05
_REGISTRATION_TIMEOUT_S = 90.0
_RECOVERY_TIMEOUT_S = 90.0
_TRANSFER_TIMEOUT_S = 90.0
# Pings before the failure and after the recovery, in which nothing else happens.
_CALM_S = 0.5
_STEP_S = 0.03


class Demonstration:
    """One run; use `run`."""

    _display: Display
    _events: ControlStream
    _agents: list[MobileNodeAgent]

    def __init__(self, options: DemoOptions, console: Console, present: Callable[[dict[str, Any]], None]) -> None:
        """`present` is given the summary, while everything is still there if the user wants to keep it."""
        self._options = options
        self._present = present
        self._console = console
        self._artifacts = Artifacts(options.output)
        credentials = Credentials(options.authentication)
        self._credentials = credentials
        self._subscribers = [credentials.subscriber(number, home_address(number)) for number in _count(options.nodes)]
        addresses = {subscriber.identity: str(subscriber.home_address) for subscriber in self._subscribers}
        self._timeline = Timeline(addresses, time.time())
        self._probes: EchoProbes | None = None

    def run(self) -> dict[str, Any]:
        """Build, fail over, measure, remove everything; the summary.

        Raises:
            LabError: it could not be carried out, or a step took too long.
        """
        with Laboratory("demo") as laboratory:
            try:
                with make_display(self._console, self._timeline) as display:
                    self._display = display
                    evidence = self._perform(laboratory)
                return self._conclude(laboratory, evidence)
            finally:
                self._artifacts.copy_logs(laboratory.directory)

    # The acts

    def _perform(self, laboratory: Laboratory) -> Evidence:
        scene = self._build(laboratory)
        captures = self._start_captures(laboratory, scene)
        self._start_nodes(scene)
        probes = self._start_probes(laboratory, scene)
        transfers = BulkTransfers(laboratory, scene.correspondent, self._agents[0].host)
        bulk_before = self._transfer(transfers, "before")
        self._pause(_CALM_S)
        paths_before = {agent.name: agent.show_datapath() for agent in scene.home_agents}
        self._fail(scene, probes)
        self._wait("the recovery of every node", lambda: self._timeline.all_recovered, _RECOVERY_TIMEOUT_S)
        bulk_after = self._transfer(transfers, "after")
        self._pause(_CALM_S)
        evidence = Evidence(
            nodes=self._node_evidence(probes),
            status=scene.surviving.status(),
            bulk={"before": bulk_before, "after": bulk_after},
            datapath_before=paths_before,
            datapath_after={scene.surviving.name: scene.surviving.show_datapath()},
        )
        probes.stop()
        for capture in captures:
            capture.stop()
        return evidence

    def _build(self, laboratory: Laboratory) -> Scene:
        self._note(
            "building", f"namespaces cn, ha1, ha2, mn1 to mn{self._options.nodes} and a routed core between them"
        )
        options = SceneOptions(
            new_home_address=self._options.new_home_address,
            cluster=_CLUSTER,
            key_directory=self._artifacts.keys.resolve(),
            back_end=self._options.back_end,
        )
        scene = Scene(laboratory, self._credentials, self._subscribers, options)
        self._agents = [
            MobileNodeAgent(laboratory, scene.core, self._credentials, subscriber, scene.failing)
            for subscriber in self._subscribers
        ]
        scene.core.prime_neighbours(*(agent.host for agent in self._agents))
        self._note("loading", "compiling the XDP program for ha1 and ha2")
        scene.load()
        self._note("loaded", "XDP attached at ha1 and ha2, maps pinned")
        scene.serve()
        self._note("serving", "both home agents serve, with one state store")
        return scene

    def _start_captures(self, laboratory: Laboratory, scene: Scene) -> list[Capture]:
        devices = ["ha1", "ha2", "cn", self._agents[0].role]
        captures = [
            Capture(laboratory, scene.core.namespace, device, self._artifacts.captures.resolve() / f"{device}.pcap")
            for device in devices
        ]
        for capture in captures:
            capture.wait_started()
        return captures

    def _start_nodes(self, scene: Scene) -> None:
        self._events: ControlStream = scene.surviving.events()
        for agent in self._agents:
            agent.start()
        self._wait("the registration of every node", lambda: self._timeline.all_registered, _REGISTRATION_TIMEOUT_S)

    def _start_probes(self, laboratory: Laboratory, scene: Scene) -> EchoProbes:
        probes = EchoProbes(
            laboratory, scene.correspondent, len(self._subscribers), "--interval", str(_PROBE_INTERVAL_S)
        )
        self._probes = probes
        for index, subscriber in enumerate(self._subscribers):
            probes.set_target(index, subscriber.home_address)
        self._wait("a first ping of every node", lambda: probes.reached == probes.targets, _REGISTRATION_TIMEOUT_S)
        self._note("pinging", f"cn pings every home address each {_PROBE_INTERVAL_S * 1000:.0f} ms, through XDP in ha1")
        return probes

    def _transfer(self, transfers: BulkTransfers, name: str) -> dict[str, Any]:
        node = self._timeline.nodes[self._subscribers[0].identity]
        transfer = transfers.start(name, IPv6Address(node.home_address), self._options.bulk_bytes)
        self._wait("the bulk transfer", lambda: not transfer.running, _TRANSFER_TIMEOUT_S)
        result = transfer.result()
        rate = result["bytes"] * 8 / result["seconds"] / 1e6
        text = f"TCP transfer to {node.name} complete: {result['bytes'] / 1e6:.1f} MB intact, {rate:.0f} Mbit/s"
        self._note("transfer", text)
        return result

    def _fail(self, scene: Scene, probes: EchoProbes) -> None:
        at = scene.fail()
        probes.mark(at)
        text = "ha1 loses power: its daemon is killed (SIGKILL) and its link goes down"
        self._display.show(self._timeline.failure(time.time() - (time.monotonic() - at), "ha1", text))

    def _node_evidence(self, probes: EchoProbes) -> list[NodeEvidence]:
        return [
            NodeEvidence(subscriber, self._timeline.nodes[subscriber.identity], history)
            for subscriber, history in zip(self._subscribers, probes.report(), strict=True)
        ]

    def _conclude(self, laboratory: Laboratory, evidence: Evidence) -> dict[str, Any]:
        artifacts = self._artifacts
        artifacts.write_wireshark_profile()
        artifacts.write_timeline(self._timeline)
        summary = build_summary(self._options, evidence, artifacts)
        artifacts.write_summary(summary)
        self._present(summary)
        if self._options.keep:
            with suppress(LabInterrupted):
                self._keep(laboratory)
        return summary

    def _keep(self, laboratory: Laboratory) -> NoReturn:
        names = ", ".join(namespace.name for namespace in laboratory.namespaces.values())
        self._console.print(f"Kept until Ctrl-C: {names}", soft_wrap=True)
        self._console.print("Enter one with: nsenter --net=/run/netns/NAME", soft_wrap=True)
        while True:
            time.sleep(3600)

    # Watching

    def _wait(self, what: str, done: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise LabError(f"waited {timeout_s:g} s in vain for {what}; see the logs in {self._artifacts.logs}")
            self._pump()
            time.sleep(_STEP_S)

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._pump()
            time.sleep(_STEP_S)

    def _pump(self) -> None:
        """Take in everything that was reported since the last time, in the order of the reports' times."""
        entries: list[Entry | None] = []
        entries += [self._timeline.home_agent_event("ha2", row) for row in self._events.read()]
        for index, agent in enumerate(self._agents):
            agent.process.require_running()
            for row in agent.events.read():
                entries.append(self._timeline.node_event(row))
                if self._probes is not None and row["event"] == "home-address-assigned":
                    self._probes.set_target(index, IPv6Address(row["home_address"]))
        if self._probes is not None:
            for row in self._probes.poll():
                identity = self._subscribers[row["target"]].identity
                entries.append(self._timeline.answered(identity, row["outage_s"], row["time"]))
        for entry in sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.time):
            self._display.show(entry)
        self._display.refresh()

    def _note(self, event: str, text: str) -> None:
        self._display.show(self._timeline.note(time.time(), "demo", event, text))


def _count(nodes: int) -> range:
    return range(1, nodes + 1)
