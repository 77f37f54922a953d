"""The scene of every failover: a correspondent, home agents ha1, ha2 and more of one cluster, a routed core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab.addresses import CORRESPONDENT_PREFIX, HOME_PREFIX, home_agent_prefix, own_home_prefix
from bench.lab.credentials import Credentials, Subscriber
from bench.lab.home_agent import HomeAgentOptions, HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.toml import Table
from bench.lab.topology import STANDBY_METRIC, Host, RoutedCore

_REGISTRATION_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What differs between scenes.

    Attributes:
        survivors: home agents beside ha1; more than one need `new_home_address`, as a home prefix is routed to one.
        new_home_address: ha2 has a home prefix of its own, so that nodes need another home address when it takes
            over; otherwise both serve the same prefix and the nodes keep theirs.
        bootstrap: the `[bootstrap]` section of both.
        cluster: the `[cluster]` section of both, without the store.
        ike: the `[ike]` section of both, without credentials.
        mobility: the `[mobility]` section of both.
        routes: the `[routes]` section of both.
        store: URL of the Redis server that is their state store; "" for an SQLite file.
        max_bindings: capacity of the binding maps.
        key_directory: where both append session keys for Wireshark; None: nowhere.
        back_end: who does ESP at both, as `[ipsec] back_end` has it.
    """

    survivors: int = 1
    new_home_address: bool = False
    bootstrap: Table = field(default_factory=dict)
    cluster: Table = field(default_factory=dict)
    ike: Table = field(default_factory=dict)
    mobility: Table = field(default_factory=dict)
    routes: Table = field(default_factory=dict)
    store: str = ""
    max_bindings: int = 4096
    key_directory: Path | None = None
    back_end: str = "auto"


class Scene:
    """Built on construction; the processes start with `start`."""

    def __init__(
        self,
        laboratory: Laboratory,
        credentials: Credentials,
        subscribers: Sequence[Subscriber],
        options: SceneOptions,
    ) -> None:
        self.laboratory = laboratory
        self.core = RoutedCore(laboratory)
        self.correspondent: Host = self.core.attach("cn", CORRESPONDENT_PREFIX, "eth0")
        numbers = range(2, 2 + options.survivors)
        own = {number: own_home_prefix(number) if options.new_home_address else HOME_PREFIX for number in numbers}
        store = options.store or laboratory.subdirectory("cluster") / "state.db"
        self.home_agents: list[HomeAgentUnderTest] = []
        for number, prefix in ((1, HOME_PREFIX), *own.items()):
            host = self.core.attach_home_agent(f"ha{number}", home_agent_prefix(number), [prefix])
            agent_options = HomeAgentOptions(
                home_prefixes=[prefix],
                store=store,
                max_bindings=options.max_bindings,
                bootstrap=options.bootstrap,
                cluster=options.cluster,
                ike=options.ike,
                mobility=options.mobility,
                routes=options.routes,
                key_directory=options.key_directory,
                back_end=options.back_end,
            )
            self.home_agents.append(HomeAgentUnderTest(laboratory, host, credentials, subscribers, agent_options))
        self.core.route(HOME_PREFIX, self.failing.host)
        if options.new_home_address:
            for agent, prefix in zip(self.survivors, own.values(), strict=True):
                self.core.route(prefix, agent.host)
        else:
            # The floating route takes effect when the link to ha1 loses its carrier.
            self.core.route(HOME_PREFIX, self.surviving.host, STANDBY_METRIC)

    @property
    def failing(self) -> HomeAgentUnderTest:
        """ha1, which the nodes register with and which is going to fail."""
        return self.home_agents[0]

    @property
    def survivors(self) -> list[HomeAgentUnderTest]:
        """Those that do not fail."""
        return self.home_agents[1:]

    @property
    def surviving(self) -> HomeAgentUnderTest:
        """ha2, which brings them back."""
        return self.home_agents[1]

    def load(self) -> None:
        """Attach XDP at both home agents."""
        self.core.prime_neighbours(self.correspondent, *(agent.host for agent in self.home_agents))
        for agent in self.home_agents:
            agent.begin_load()
        for agent in self.home_agents:
            agent.finish_load()

    def serve(self, timeout_s: float = 120.0) -> None:
        """Start both daemons and wait until they answer, for that long each."""
        for agent in self.home_agents:
            agent.serve()
        for agent in self.home_agents:
            agent.wait_ready(timeout_s)

    def register(self, nodes: Sequence[MobileNodeAgent]) -> None:
        """Load, serve, start the nodes and wait until each has registered.

        Raises:
            LabError: one of these steps failed or took too long.
        """
        self.core.prime_neighbours(*(node.host for node in nodes))
        self.load()
        self.serve()
        for node in nodes:
            node.start()
        for node in nodes:
            node.events.wait_for("registered", _REGISTRATION_TIMEOUT_S)

    def fail(self) -> float:
        """ha1 loses power; when its link was down (CLOCK_MONOTONIC)."""
        return self.failing.fail(self.core)
