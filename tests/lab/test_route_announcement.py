"""Home agents that share a home prefix: BIRD announces who serves which node, and packets go there."""

from __future__ import annotations

import shutil
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.addresses import HOME_PREFIX, home_address
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.namespaces import Namespace
from bench.lab.probing import EchoProbes
from bench.lab.processes import LabProcess
from bench.lab.product import homeagent_command
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces

EXAMPLE = Path(__file__).parents[2] / "deploy" / "bird" / "homeagent.conf"
ROUTER = """
router id 192.0.2.254;
protocol device {{
}}
protocol kernel {{
  ipv6 {{
    import none;
    export all;
  }};
}}
{neighbours}
"""
NEIGHBOUR = """
protocol bgp {name} {{
  local {router} as 64511;
  neighbor {address} as 64512;
  ipv6 {{
    import all;
    export none;
  }};
}}
"""


def start_bird(laboratory: Laboratory, namespace: Namespace, configuration: str) -> LabProcess:
    program = shutil.which("bird")
    assert program, "BIRD is not installed: make machine installs it"
    directory = laboratory.subdirectory(f"bird-{namespace.role}")
    file = directory / "bird.conf"
    file.write_text(configuration)
    command = [program, "-f", "-c", str(file), "-s", str(directory / "ctl"), "-P", str(directory / "pid")]
    return laboratory.spawn(namespace, f"bird-{namespace.role}", command)


def announce(laboratory: Laboratory, agent: HomeAgentUnderTest, number: int) -> None:
    """The example as it is, with this home agent's addresses."""
    text = EXAMPLE.read_text()
    for old, new in (
        ("192.0.2.1", f"192.0.2.{number}"),
        ("2001:db8:a1::1 ", f"{agent.host.address} "),
        ("2001:db8:a1::ffff", str(agent.host.router)),
    ):
        assert old in text
        text = text.replace(old, new)
    start_bird(laboratory, agent.host.namespace, text)


def wait_for_way(core: Namespace, address: IPv6Address, agent: HomeAgentUnderTest | None) -> None:
    """Until the core sends packets to an address there, or to nobody."""

    def is_the_way() -> bool:
        shown = core.run(["ip", "-6", "route", "show", f"{address}/128"])
        return not shown if agent is None else f"via {agent.host.address} " in shown

    wait_until(is_the_way, lambda: core.run(["ip", "-6", "route"]))


def test_packets_go_to_the_home_agent_that_serves_the_node(laboratory: Laboratory) -> None:
    credentials = Credentials("cert")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    scene = Scene(laboratory, credentials, subscribers, SceneOptions(routes={"announce": True, "lifetime_s": 6}))
    core = scene.core.namespace
    for agent in scene.home_agents:
        agent.host.namespace.sysctl({"net.ipv6.route.gc_interval": "2"})  # 5 in deploy/60-homeagent.conf
    for _ in range(2):  # the laboratory's own, of which there are two
        core.ip([f"route del {HOME_PREFIX}"])
    first, second = scene.home_agents
    neighbours = [
        NEIGHBOUR.format(name=agent.name, router=agent.host.router, address=agent.host.address)
        for agent in scene.home_agents
    ]
    start_bird(laboratory, core, ROUTER.format(neighbours="".join(neighbours)))
    for number, agent in enumerate(scene.home_agents, 1):
        announce(laboratory, agent, number)
    nodes = [
        MobileNodeAgent(laboratory, scene.core, credentials, each, agent)
        for each, agent in zip(subscribers, scene.home_agents, strict=True)
    ]
    scene.register(nodes)
    for node, agent in zip(nodes, scene.home_agents, strict=True):
        wait_for_way(core, node.subscriber.home_address, agent)
    probes = EchoProbes(laboratory, scene.correspondent, 2, "--interval", "0.05")
    for index, node in enumerate(nodes):
        probes.set_target(index, node.subscriber.home_address)
    wait_until(probes.reach_all, "pings are not answered")

    drain = homeagent_command("drain", "--config", str(first.configuration))
    first.host.namespace.run(drain)
    for node in nodes:
        wait_for_way(core, node.subscriber.home_address, second)
    wait_for_more(probes, "packets do not follow the node to the other home agent")

    assert announced(second) == {str(node.subscriber.home_address) for node in nodes}
    second.daemon.kill()
    for node in nodes:  # its machine, its BIRD and its data path are as they were
        wait_for_way(core, node.subscriber.home_address, first)
    wait_for_more(probes, "packets do not follow the nodes to the living home agent")
    wait_until(lambda: not announced(second), "the kernel keeps the routes of the dead daemon")
    assert announced(first) == {str(node.subscriber.home_address) for node in nodes}


def announced(agent: HomeAgentUnderTest) -> set[str]:
    shown = agent.host.namespace.run(["ip", "-6", "route", "show", "table", "110"])
    return {row.split()[1] for row in shown.splitlines()}


def wait_for_more(probes: EchoProbes, complaint: str) -> None:
    before = answered(probes)
    wait_until(lambda: all(now - then >= 20 for now, then in zip(answered(probes), before, strict=True)), complaint)


def answered(probes: EchoProbes) -> list[int]:
    return [row["received"] for row in probes.report()]
