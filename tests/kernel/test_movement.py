"""A node that moves while the kernel does ESP at its home agents: `tests/lab/test_movement.py` on that back end."""

from __future__ import annotations

import pytest

from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from tests.kernel.network import run
from tests.lab.moving_node import MovingNode, check_movement

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(420)]

# Much waits here for an emulated processor: a lease must not lapse for that.
CLUSTER = {"lease_s": 12.0, "heartbeat_s": 2.0}


def kernel_states(agent: HomeAgentUnderTest) -> list[str]:
    """The SPIs of the security associations in the kernel."""
    lines = agent.host.namespace.run(["ip", "xfrm", "state"]).splitlines()
    return sorted(line.split()[3] for line in lines if line.strip().startswith("proto esp spi"))


def test_a_node_keeps_its_keys_and_its_traffic() -> None:
    run("modprobe tun")
    with Laboratory("moving") as laboratory:
        node = MovingNode(laboratory, {"liveness_interval_s": 2.0}, cluster=CLUSTER, back_end="kernel")
        assert node.scene.failing.status()["ipsec"]["back_end"] == "kernel"
        before = kernel_states(node.scene.failing)
        assert len(before) >= 2
        node.on_arrival = lambda: kernel_states(node.scene.failing) == before
        check_movement(node, soft=False)
        assert len(kernel_states(node.scene.surviving)) >= 4
