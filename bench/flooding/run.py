"""One home agent, honest nodes that register with it, and a stranger that floods it or does not."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.flooding.generator import FLOOD_PREFIX
from bench.flooding.options import FloodOptions
from bench.flooding.program_cost import ProgramCost, counted, program_cost
from bench.lab.addresses import HOME_PREFIX, home_address, home_agent_prefix, node_prefix
from bench.lab.credentials import Credentials
from bench.lab.errors import LabError
from bench.lab.home_agent import HomeAgentOptions, HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import SimulatedNodes, SimulatorOptions
from bench.lab.processes import LabProcess, ProcessUsage
from bench.lab.topology import Host, RoutedCore
from bench.rehearsal.progress import Reporter

_STEP_S = 0.1
_HEAD_START_S = 2.0
"""The flood goes on for this long before the first honest node comes."""
_PATIENCE_S = 120.0
_STRANGER_LINK = 900
_IKE_EVENT = re.compile(r'^homeagent_ike_events_total\{event="([^"]+)"\} (\S+)$', re.MULTILINE)


@dataclass(slots=True)
class Observed:
    """What one run has shown; times in seconds, sizes in bytes.

    Attributes:
        registered: honest nodes that registered.
        failures: attempts of theirs that came to nothing; they try again by themselves.
        handshakes_s: from an honest node's first message to its IKE SA.
        rss_before: the daemon's resident set before anything arrived.
        rss_registered: when the last honest node was registered.
        rss_after: at the end.
        usage: the daemon's CPU time between the first and the last of those.
        duration_s: of the same span.
        counters: the daemon's IKE counters at the end.
        packets: what the data path did with packets, by reason.
        program: what the XDP program cost, in the same span as ``usage``.
        lost_at_socket: datagrams the kernel dropped as the daemon did not read them in time.
        sent: forged requests that were sent.
        sent_for_s: how long.
    """

    registered: int = 0
    failures: int = 0
    handshakes_s: list[float] = field(default_factory=list)
    rss_before: int = 0
    rss_registered: int = 0
    rss_after: int = 0
    usage: ProcessUsage = field(default_factory=lambda: ProcessUsage(0.0, 0.0, 0))
    duration_s: float = 0.0
    counters: dict[str, int] = field(default_factory=dict)
    packets: dict[str, int] = field(default_factory=dict)
    program: ProgramCost = field(default_factory=ProgramCost)
    lost_at_socket: int = 0
    sent: int = 0
    sent_for_s: float = 0.0


def observe(options: FloodOptions, reporter: Reporter, *, flooded: bool, limited: bool = True) -> Observed:
    """Build everything, register the honest nodes, with a flood or without, and take everything away.

    ``limited`` says whether the data path limits strangers, as it does by default.

    Raises:
        LabError: something could not be built, or honest nodes did not get through in time.
    """
    with Laboratory("flood") as laboratory:
        reporter.phase("building", 1)
        credentials = Credentials(options.authentication)
        numbers = range(1, options.mobile_nodes + 1)
        subscribers = [credentials.subscriber(number, home_address(number)) for number in numbers]
        core = RoutedCore(laboratory)
        host = core.attach_home_agent("ha1", home_agent_prefix(1), [HOME_PREFIX])
        core.route(HOME_PREFIX, host)
        store = laboratory.subdirectory("cluster") / "state.db"
        agent_options = HomeAgentOptions(
            [HOME_PREFIX], store, cluster={"take_over": False}, strangers={"limits": limited}
        )
        agent = HomeAgentUnderTest(laboratory, host, credentials, subscribers, agent_options)
        simulator_options = SimulatorOptions(rate_per_s=options.node_rate_per_s)
        nodes = SimulatedNodes(laboratory, core, credentials, subscribers, agent, simulator_options)
        stranger = core.attach("stranger", node_prefix(_STRANGER_LINK), "eth0")
        # Answers to forged addresses lead nowhere, and nobody says so.
        core.namespace.ip([f"route add blackhole {FLOOD_PREFIX}"])
        core.prime_neighbours(nodes.host, host, stranger)
        agent.begin_load()
        agent.finish_load()
        agent.serve()
        agent.wait_ready()
        reporter.advance(1)
        with counted():
            return _Run(options, reporter, laboratory, core, agent, nodes, stranger).run(flooded=flooded)


class _Run:
    def __init__(
        self,
        options: FloodOptions,
        reporter: Reporter,
        laboratory: Laboratory,
        core: RoutedCore,
        agent: HomeAgentUnderTest,
        nodes: SimulatedNodes,
        stranger: Host,
    ) -> None:
        self._options = options
        self._reporter = reporter
        self._laboratory = laboratory
        self._core = core
        self._agent = agent
        self._nodes = nodes
        self._stranger = stranger
        self._observed = Observed()

    def run(self, *, flooded: bool) -> Observed:
        observed, daemon = self._observed, self._agent.daemon
        observed.rss_before = resident_bytes(daemon.pid)
        before, started = daemon.usage(), time.monotonic()
        cost_before = program_cost(self._agent.pin_path)
        generator = self._start_flood() if flooded else None
        if generator is not None:
            time.sleep(_HEAD_START_S)
        self._nodes.start()
        self._reporter.phase("registering", self._options.mobile_nodes)
        self._wait(self._all_registered, _PATIENCE_S + self._options.mobile_nodes / self._options.node_rate_per_s)
        observed.rss_registered = resident_bytes(daemon.pid)
        if generator is not None:
            self._end_flood(generator, started + self._options.duration_s)
        after = daemon.usage()
        observed.program = program_cost(self._agent.pin_path).since(cost_before)
        observed.duration_s = time.monotonic() - started
        observed.usage = ProcessUsage(
            after.user_s - before.user_s, after.system_s - before.system_s, after.peak_rss_bytes
        )
        observed.rss_after = resident_bytes(daemon.pid)
        observed.counters = _ike_counters(self._agent.host)
        observed.packets = self._agent.show_datapath()["counters"]
        observed.lost_at_socket = _udp_receive_errors(self._agent.host)
        return observed

    def _start_flood(self) -> LabProcess:
        links = json.loads(self._core.namespace.run(["ip", "-j", "link", "show", "dev", self._stranger.core_device]))
        # Bounded whatever happens to this process.
        longest = self._options.duration_s + _PATIENCE_S + self._options.mobile_nodes / self._options.node_rate_per_s
        arguments = {
            "--device": self._stranger.device,
            "--router": links[0]["address"],
            "--home-agent": str(self._agent.host.address),
            "--rate": str(self._options.rate_per_s),
            "--duration": str(longest),
        }
        command = [
            sys.executable,
            "-m",
            "bench.flooding.generator",
            *(word for pair in arguments.items() for word in pair),
        ]
        return self._laboratory.spawn(self._stranger.namespace, "flood", command)

    def _end_flood(self, generator: LabProcess, until: float) -> None:
        self._reporter.phase("flood", 1)
        while time.monotonic() < until:
            self._agent.daemon.require_running()
            generator.require_running()
            time.sleep(_STEP_S)
        generator.stop(10.0)
        self._reporter.advance(1)
        try:
            told = json.loads(generator.output.read_text())
        except ValueError:
            raise LabError(f"the generator did not say what it sent:\n{generator.complaint()}") from None
        self._observed.sent, self._observed.sent_for_s = int(told["sent"]), float(told["duration_s"])

    def _all_registered(self) -> bool:
        observed = self._observed
        self._nodes.process.require_running()
        self._agent.daemon.require_running()
        for row in self._nodes.events.read():
            if row["event"] == "ike-established":
                observed.handshakes_s.append(float(row["handshake_s"]))
            elif row["event"] == "registration-failed":
                observed.failures += 1
            elif row["event"] == "registered" and not row["refresh"]:
                observed.registered += 1
        self._reporter.advance(observed.registered)
        return observed.registered >= self._options.mobile_nodes

    def _wait(self, done: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise LabError(
                    f"{self._observed.registered} of {self._options.mobile_nodes} honest nodes registered within "
                    f"{timeout_s:g} s"
                )
            time.sleep(_STEP_S)


def resident_bytes(pid: int) -> int:
    """The resident set of a process at this moment."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LabError(f"process {pid} has no resident set")


def _ike_counters(host: Host) -> dict[str, int]:
    script = "import sys, urllib.request as request; sys.stdout.buffer.write(request.urlopen(sys.argv[1]).read())"
    url = f"http://[{host.address}]:9716/metrics"
    return {
        event: int(float(value))
        for event, value in _IKE_EVENT.findall(host.namespace.run([sys.executable, "-c", script, url]))
    }


def _udp_receive_errors(host: Host) -> int:
    for line in host.namespace.run(["cat", "/proc/net/snmp6"]).splitlines():
        if line.startswith("Udp6RcvbufErrors"):
            return int(line.split()[1])
    return 0
