"""A home agent whose IKEv2 is done by two processes takes over, and does without one of them for a moment."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import SimulatedNodes, SimulatorOptions
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces

NODES = 16


def workers(home_agent: HomeAgentUnderTest) -> list[int]:
    """The process ids of the workers."""
    children = Path(f"/proc/{home_agent.daemon.pid}/task/{home_agent.daemon.pid}/children").read_text().split()
    return [pid for pid in map(int, children) if _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    try:
        return b"ike_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has ended since
        return False


def spi_by_node(home_agent: HomeAgentUnderTest) -> dict[str, str]:
    """This side's SPI of every node's IKE SA."""
    return {row["identity"]: row[f"{row['role']}_spi"] for row in home_agent.sas()}


def worker_of(spi: str) -> int:
    return int(spi[:4], 16) % 2


@pytest.mark.parametrize("authentication", ["psk", "cert"])
def test_all_nodes_come_back_after_a_failure_of_the_home_agent_and_of_a_worker(
    laboratory: Laboratory, authentication: str
) -> None:
    credentials = Credentials(authentication)
    subscribers = [credentials.subscriber(number, home_address(number)) for number in range(1, NODES + 1)]
    options = SceneOptions(ike={"workers": 2})
    scene = Scene(laboratory, credentials, subscribers, options)
    nodes = SimulatedNodes(laboratory, scene.core, credentials, subscribers, scene.failing, SimulatorOptions())
    scene.load()
    scene.serve()
    nodes.start()
    wait_until(lambda: len(scene.failing.bindings()) == NODES, "not all nodes have registered")
    failing = workers(scene.failing)
    assert len(failing) == 2

    scene.fail()
    home_agent = scene.surviving
    wait_until(lambda: home_agent.status()["takeover"]["recovered"] == NODES, "not all nodes were recovered")
    settled = {"half-open": 0, "established": NODES}
    wait_until(lambda: home_agent.status()["ike_sas"] == settled, lambda: home_agent.status()["ike_sas"])
    before = spi_by_node(home_agent)
    # They take turns, but for nodes whose first attempt was in vain.
    doomed = [node for node, spi in before.items() if worker_of(spi) == 0]
    assert 0 < len(doomed) < NODES
    assert all(row["children"][0]["installed"] and row["rekeying_in_s"] > 0 for row in home_agent.sas())

    first, second = workers(home_agent)
    os.kill(first, signal.SIGKILL)
    wait_until(
        lambda: first not in workers(home_agent) and len(workers(home_agent)) == 2, "no other worker was started"
    )
    assert second in workers(home_agent)
    assert len(home_agent.bindings()) == NODES

    def renewed() -> bool:
        spis = spi_by_node(home_agent)
        return len(spis) == NODES and [node for node in before if spis[node] != before[node]] == doomed

    wait_until(renewed, "the nodes of the dead worker have no new IKE SAs")
    assert len(home_agent.bindings()) == NODES
    home_agent.daemon.kill()
    wait_until(lambda: not Path(f"/proc/{second}").exists(), "a worker has outlived its daemon")
