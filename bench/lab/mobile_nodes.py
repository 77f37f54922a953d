"""Mobile nodes: a real agent per namespace, or thousands of simulated ones in one process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from bench.lab.addresses import (
    ACCESS_PREFIX,
    BACKGROUND_ACCESS_PREFIX,
    further_node_prefix,
    node_prefix,
    simulated_care_of_address,
)
from bench.lab.credentials import TRUSTED_HOME_AGENTS, Credentials, Subscriber
from bench.lab.errors import LabError
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.pki import write_private
from bench.lab.processes import LabProcess
from bench.lab.product import homeagent_command
from bench.lab.streams import FileFollower, JsonObject
from bench.lab.toml import Table, Value, toml_document
from bench.lab.topology import Host, RoutedCore

_DEVICE = "eth0"
_FURTHER_DEVICE = "eth1"
_SIMULATOR_LINK_HOST = 1


class MobileNodeAgent:
    """`homeagent mobile-node` on a visited link of its own."""

    def __init__(
        self,
        laboratory: Laboratory,
        core: RoutedCore,
        credentials: Credentials,
        subscriber: Subscriber,
        home_agent: HomeAgentUnderTest,
        *,
        moves: bool = False,
        changes: Table | None = None,
    ) -> None:
        """Make its namespace and its file.

        Args:
            laboratory: what it belongs to.
            core: where it is attached.
            credentials: how it proves who it is.
            subscriber: the node.
            home_agent: where it registers.
            moves: give it a second visited network, `further`, that is down at first.
            changes: to its `[mobile_node]` section.
        """
        self.subscriber = subscriber
        self.role = f"mn{subscriber.number}"
        self.host: Host = core.attach(self.role, node_prefix(subscriber.number), _DEVICE)
        self.further: Host | None = None
        self._laboratory = laboratory
        directory = laboratory.subdirectory(self.role)
        self._configuration = directory / "mobile-node.toml"
        self._events_file = directory / "events.jsonl"
        self.events = FileFollower(self._events_file)
        self._process: LabProcess | None = None
        table: dict[str, Value] = {
            "identity": subscriber.identity,
            "home_address": str(subscriber.home_address),
            "home_agent": str(home_agent.host.address),
            "home_agent_identity": home_agent.identity,
            "trusted_home_agents": TRUSTED_HOME_AGENTS,
            "care_of_interface": _DEVICE,
            "lifetime_s": 600,
            # The end of a run takes everything away at once: nobody would be left to answer.
            "deregister_on_exit": False,
            "authentication": "certificate" if subscriber.shared_key is None else "shared-key",
        }
        if subscriber.mobile_networks:
            table["mobile_network_prefixes"] = [str(network) for network in subscriber.mobile_networks]
        if moves:
            self.further = core.attach_further(self.host, further_node_prefix(subscriber.number), _FURTHER_DEVICE)
            table["further_care_of_interfaces"] = [_FURTHER_DEVICE]
        if subscriber.shared_key is not None:
            table["shared_key"] = subscriber.shared_key
        table |= credentials.issue(subscriber.identity, directory, self.role)
        if anchors := credentials.trust_anchors(directory):
            table["trust_anchors"] = anchors
        table |= changes or {}
        tables: dict[str, Table] = {"mobile_node": table}
        write_private(self._configuration, toml_document(tables).encode())

    @property
    def process(self) -> LabProcess:
        """The running agent.

        Raises:
            LabError: it was never started.
        """
        if self._process is None:
            raise LabError(f"{self.role} was not started")
        return self._process

    def attach_network(self, prefix: IPv6Network) -> Host:
        """A host on a link of its own behind this node, with it as the default router."""
        role, device, router, address = f"lan{self.subscriber.number}", "eth0", prefix[1], prefix[2]
        namespace = self._laboratory.namespace(role)
        self.host.namespace.ip(
            [
                f"link add name {role} type veth peer name {device} netns {namespace.name}",
                f"address add {router}/{prefix.prefixlen} dev {role} nodad",
                f"link set dev {role} up",
            ]
        )
        namespace.ip(
            [
                f"link set dev {device} up",
                f"address add {address}/{prefix.prefixlen} dev {device} nodad",
                f"route add default via {router} dev {device}",
            ]
        )
        return Host(namespace, device, address, role, prefix.prefixlen, router)

    def start(self) -> None:
        """Start the agent; it turns to its home agent by itself."""
        command = homeagent_command(
            "mobile-node", "--config", str(self._configuration), "--events", str(self._events_file)
        )
        self._process = self._laboratory.spawn(self.host.namespace, f"{self.role}-agent", command)


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """How the simulated nodes first register, and how bad their network is."""

    rate_per_s: float = 200.0
    concurrency: int = 128
    loss_percent: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class AccessNetwork:
    """Where a simulator stands.

    Attributes:
        role: of its namespace.
        link: prefix of its link to the core.
        care_of_addresses: prefix that is routed to it.
    """

    role: str
    link: IPv6Network
    care_of_addresses: IPv6Network


#: The link itself has another prefix than the care-of addresses, which the simulator takes as a whole.
ACCESS = AccessNetwork("access", node_prefix(0), ACCESS_PREFIX)
#: For nodes that the failure does not concern.
BACKGROUND_ACCESS = AccessNetwork("bgaccess", further_node_prefix(0), BACKGROUND_ACCESS_PREFIX)


class SimulatedNodes:
    """`homeagent simulate` behind one access link of the core."""

    def __init__(
        self,
        laboratory: Laboratory,
        core: RoutedCore,
        credentials: Credentials,
        subscribers: Sequence[Subscriber],
        home_agent: HomeAgentUnderTest,
        options: SimulatorOptions,
        access: AccessNetwork = ACCESS,
    ) -> None:
        self._laboratory = laboratory
        self._name = "simulator" if access is ACCESS else f"simulator-{access.role}"
        self._care_of_addresses = access.care_of_addresses
        self.host = core.attach(access.role, access.link, _DEVICE, host=_SIMULATOR_LINK_HOST)
        core.route(access.care_of_addresses, self.host)
        directory = laboratory.subdirectory(access.role)
        self._configuration = directory / "simulator.json"
        self._events_file = directory / "events.jsonl"
        self.events = FileFollower(self._events_file)
        self._process: LabProcess | None = None
        document: JsonObject = {
            "simulator": {
                "care_of_prefix": str(access.care_of_addresses),
                "home_agent": str(home_agent.host.address),
                "home_agent_identity": home_agent.identity,
                "trusted_home_agents": TRUSTED_HOME_AGENTS,
                "lifetime_s": 3600,
                "rate_per_s": options.rate_per_s,
                "concurrency": options.concurrency,
                "loss_percent": options.loss_percent,
                "delay_ms": options.delay_ms,
                "jitter_ms": options.jitter_ms,
                "seed": options.seed,
                "trust_anchors": credentials.trust_anchors(directory),
                "summary_interval_s": 1.0,
            },
            "nodes": [
                self._node(subscriber, credentials.issue(subscriber.identity, directory, f"mn{subscriber.number}"))
                for subscriber in subscribers
            ],
        }
        write_private(self._configuration, json.dumps(document).encode())

    def _node(self, subscriber: Subscriber, certificate: dict[str, str]) -> dict[str, Any]:
        care_of_address: IPv6Address = simulated_care_of_address(subscriber.number, self._care_of_addresses)
        node: dict[str, Any] = {
            "identity": subscriber.identity,
            "home_address": str(subscriber.home_address),
            "care_of_address": str(care_of_address),
            **certificate,
        }
        if subscriber.shared_key is not None:
            node["shared_key"] = subscriber.shared_key
        return node

    @property
    def process(self) -> LabProcess:
        """The running simulator.

        Raises:
            LabError: it was never started.
        """
        if self._process is None:
            raise LabError("the simulator was not started")
        return self._process

    def start(self) -> None:
        """Start it; the nodes register with their home agent by themselves."""
        command = homeagent_command(
            "simulate", "--config", str(self._configuration), "--events", str(self._events_file)
        )
        self._process = self._laboratory.spawn(self.host.namespace, self._name, command, stdin=True)

    def command(self, *words: str) -> None:
        """Tell the running simulator something, as docs/mobile-node.md has it."""
        self.process.stdin.write(" ".join(words).encode() + b"\n")
        self.process.stdin.flush()
