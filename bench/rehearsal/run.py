"""A rehearsed failover with real processes: thousands of nodes registered at ha1, then ha1 loses power."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address
from typing import Any

from bench.lab.addresses import home_address
from bench.lab.counters import counter_changes
from bench.lab.cpu_quota import CpuQuota
from bench.lab.credentials import Credentials, Subscriber
from bench.lab.errors import LabError
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import SimulatedNodes, SimulatorOptions
from bench.lab.probing import EchoProbes
from bench.lab.processes import children_of
from bench.lab.redis_server import RedisServer
from bench.lab.scene import Scene, SceneOptions
from bench.rehearsal.background import BackgroundNodes, background_subscribers
from bench.rehearsal.bare_bootstraps import BareBootstraps
from bench.rehearsal.machine import calibration_ms
from bench.rehearsal.options import FailoverOptions
from bench.rehearsal.progress import Reporter
from bench.rehearsal.report import Measurements
from bench.rehearsal.samples import Sampler
from bench.rehearsal.traffic import Traffic, traffic_subscriber

_STEP_S = 0.05
_PROBE_INTERVAL_S = 0.1
_REGISTRATION_RATE_PER_S = 300.0
# A node of the last batch may still wait for its next ping when the takeover has finished.
_ANSWER_GRACE_S = 30.0
_SPARE_BINDINGS = 4
# How long the background is listened to before the failure, for comparison.
_QUIET_S = 3.0


class Rehearsal:
    """One run; use `run`."""

    def __init__(self, options: FailoverOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        self._subscribers: Sequence[Subscriber] = ()
        self._simulator_summary: dict[str, Any] = {}
        self._background: BackgroundNodes | None = None
        self._traffic: Traffic | None = None

    def run(self) -> Measurements:
        """Build, register, fail, recover, remove everything.

        Raises:
            LabError: it could not be carried out, or a step took too long.
        """
        with Laboratory("failover") as laboratory, self._kept_logs(laboratory):
            return self._perform(laboratory)

    def _perform(self, laboratory: Laboratory) -> Measurements:
        calibration_before = calibration_ms()
        bare = BareBootstraps(self._options.authentication)
        bare.measure()
        scene, nodes = self._build(laboratory)
        self._register(nodes)
        probes = self._start_probes(laboratory, scene)
        self._start_background()
        if self._traffic is not None:
            self._traffic.begin()
        datapath_before = scene.surviving.show_datapath()
        self._bound_cpu(laboratory, scene)
        sampler = Sampler(scene.survivors)
        if vanishing := sorted(self._options.unreachable):
            nodes.command("vanish", *(self._subscribers[number - 1].identity for number in vanishing))
        at = scene.fail()
        failed_at = time.time() - (time.monotonic() - at)
        sampler.begin(at)
        probes.mark(at)
        self._recover(nodes, probes, sampler)
        finished_at = max((float(each["finished_at"]) for each in sampler.begun), default=time.time())
        self._wait_for_answers(nodes, probes, sum(int(each["recovered"]) for each in sampler.takeovers.values()))
        background = self._background
        if background is not None:
            background.poll()
        traffic = self._traffic
        bare.measure()
        return Measurements(
            outages_s=[history["outage_s"] for history in probes.report()],
            probe_interval_s=probes.interval_s,
            sampler=sampler,
            detection_s=min((float(each["started_at"]) - failed_at for each in sampler.begun), default=None),
            failed_at=failed_at,
            duration_s=finished_at - failed_at,
            packets=counter_changes(datapath_before, scene.surviving.show_datapath()),
            simulator=self._simulator_summary,
            refreshes=background.refreshes if background is not None else (),
            background_bus=background.sent if background is not None else 0,
            traffic=traffic.end() if traffic is not None else {},
            bare=bare,
            calibration_ms=(calibration_before, calibration_ms()),
        )

    def _bound_cpu(self, laboratory: Laboratory, scene: Scene) -> None:
        if self._options.survivor_cpu_percent:
            bound = CpuQuota(laboratory.run_name, self._options.survivor_cpu_percent)
            for agent in scene.survivors:
                bound.add([agent.daemon.pid, *children_of(agent.daemon.pid)])

    def _build(self, laboratory: Laboratory) -> tuple[Scene, SimulatedNodes]:
        options = self._options
        self._reporter.phase("building", 3)
        credentials = Credentials(options.authentication)
        numbers = range(1, options.mobile_nodes + 1)
        self._subscribers = [credentials.subscriber(number, home_address(number)) for number in numbers]
        others = background_subscribers(options, credentials)
        every = [*self._subscribers, *others]
        if options.traffic_pps:
            every.append(traffic_subscriber(options, credentials, len(every) + 1))
        bindings = len(every) * _SPARE_BINDINGS
        scene_options = SceneOptions(
            survivors=options.survivors,
            new_home_address=options.new_home_address,
            bootstrap=options.bootstrap,
            cluster={"lease_s": options.lease_s, "heartbeat_s": options.lease_s / 3},
            ike={"workers": options.workers},
            store=self._start_redis(laboratory) if options.store == "redis" else "",
            max_bindings=1 << bindings.bit_length(),
        )
        scene = Scene(laboratory, credentials, every, scene_options)
        link = SimulatorOptions(
            rate_per_s=_REGISTRATION_RATE_PER_S,
            loss_percent=options.loss_percent,
            delay_ms=options.rtt_ms / 2,
            jitter_ms=options.jitter_ms / 2,
            seed=options.seed,
        )
        nodes = SimulatedNodes(laboratory, scene.core, credentials, self._subscribers, scene.failing, link)
        hosts = [nodes.host]
        if others:
            self._background = BackgroundNodes(laboratory, scene, credentials, others, link)
            hosts.append(self._background.nodes.host)
        if options.traffic_pps:
            self._traffic = Traffic(laboratory, scene, credentials, every[-1], options.traffic_pps)
            hosts.append(self._traffic.node.host)
        self._reporter.advance(1)
        scene.core.prime_neighbours(*hosts)
        scene.load()
        self._reporter.advance(2)
        scene.serve()
        self._reporter.advance(3)
        return scene, nodes

    @staticmethod
    def _start_redis(laboratory: Laboratory) -> str:
        server = RedisServer(laboratory.subdirectory("redis"))
        server.start()
        laboratory.on_close(server.kill)
        return server.url

    def _start_background(self) -> None:
        background = self._background
        if background is None:
            return
        background.nodes.start()

        def all_registered() -> bool:
            background.poll()
            return background.registered

        self._wait("the first registration of every background node", all_registered, self._patience_s())
        background.begin(self._options.background_bu_rate_per_s)
        time.sleep(_QUIET_S)

    def _register(self, nodes: SimulatedNodes) -> None:
        self._reporter.phase("registering", self._options.mobile_nodes)
        nodes.start()
        self._wait("the first registration of every node", lambda: self._all_registered(nodes), self._patience_s())

    def _all_registered(self, nodes: SimulatedNodes) -> bool:
        nodes.process.require_running()
        for row in nodes.events.read():
            self._take_summary(row)
            if row["event"] == "all-registered":
                self._reporter.advance(self._options.mobile_nodes)
                return True
        self._reporter.advance(int(self._simulator_summary.get("registered", 0)))
        return False

    def _start_probes(self, laboratory: Laboratory, scene: Scene) -> EchoProbes:
        number = self._options.mobile_nodes
        self._reporter.phase("first pings", number)
        arguments = ("--interval", str(_PROBE_INTERVAL_S), "--rate", str(self._options.probe_rate_per_s))
        probes = EchoProbes(laboratory, scene.correspondent, number, "--until-answered", *arguments)
        for index in range(number):
            probes.set_target(index, home_address(index + 1))

        def all_reached() -> bool:
            probes.poll()
            self._reporter.advance(probes.reached)
            return probes.reached == number

        self._wait("a first ping of every node", all_reached, self._patience_s())
        return probes

    def _recover(self, nodes: SimulatedNodes, probes: EchoProbes, sampler: Sampler) -> None:
        """Wait for the survivors to finish."""
        self._reporter.phase("recovering", self._options.mobile_nodes)

        def finished() -> bool:
            self._follow(nodes, probes)
            return sampler.poll() and sampler.settled >= self._options.mobile_nodes

        self._wait("the end of the takeover", finished, self._patience_s() + self._options.give_up_after_s)

    def _wait_for_answers(self, nodes: SimulatedNodes, probes: EchoProbes, expected: int) -> None:
        deadline = time.monotonic() + _ANSWER_GRACE_S
        while len(probes.outages) < expected and time.monotonic() < deadline:
            self._follow(nodes, probes)
            time.sleep(_STEP_S)

    def _follow(self, nodes: SimulatedNodes, probes: EchoProbes) -> None:
        nodes.process.require_running()
        for row in nodes.events.read():
            self._take_summary(row)
            if row["event"] == "home-address-assigned":
                number = int(str(row["node"]).partition("@")[0].removeprefix("mn"))
                probes.set_target(number - 1, IPv6Address(row["home_address"]))
        probes.poll()
        if self._background is not None:
            self._background.poll()
        self._reporter.advance(len(probes.outages))

    def _take_summary(self, row: dict[str, Any]) -> None:
        if row["event"] == "summary":
            self._simulator_summary = {name: value for name, value in row.items() if name not in ("time", "event")}

    def _patience_s(self) -> float:
        return 60.0 + self._options.mobile_nodes * 0.1

    def _wait(self, what: str, done: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise LabError(f"waited {timeout_s:g} s in vain for {what}; --output DIR keeps the logs")
            time.sleep(_STEP_S)

    @contextmanager
    def _kept_logs(self, laboratory: Laboratory) -> Iterator[None]:
        try:
            yield
        finally:
            if self._options.output is not None:
                self._options.output.mkdir(parents=True, exist_ok=True)
                for path in [*laboratory.directory.glob("*.out"), *laboratory.directory.glob("*.err")]:
                    shutil.copy(path, self._options.output / path.name)
