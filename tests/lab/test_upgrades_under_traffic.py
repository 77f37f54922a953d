"""Programs, maps and daemons are replaced under numbered packets in both directions: none is lost, none comes twice.

The daemon, the mobile node that registers with it and `homeagent datapath upgrade` are the real ones.
`HOMEAGENT_UPGRADES=100` makes it take some minutes.
"""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.lab.addresses import CORRESPONDENT_PREFIX, HOME_PREFIX, home_address, home_agent_prefix
from bench.lab.counters import counter_changes
from bench.lab.credentials import Credentials
from bench.lab.entering import inside
from bench.lab.home_agent import HomeAgentOptions, HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import NumberedPackets
from bench.lab.product import homeagent_command
from bench.lab.topology import Host, RoutedCore
from datapath.show import show
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.namespaces, pytest.mark.timeout(1800)]

UPGRADES = int(os.environ.get("HOMEAGENT_UPGRADES", "5"))
STEPS = ("program", "stop", "maps", "program", "kill", "program", "program", "stop", "program", "kill")
RATE_PER_S = 500.0


@dataclass
class Operator:
    """Does to a home agent what operators and their tools do."""

    home_agent: HomeAgentUnderTest

    def program(self) -> None:
        """Another program with the maps there are."""
        command = homeagent_command("datapath", "upgrade", "--config", str(self.home_agent.configuration))
        self.home_agent.host.namespace.run(command, timeout_s=240)

    def maps(self) -> None:
        """Other maps, larger or smaller ones in turns."""
        before = self.home_agent.configuration.read_text()
        sizes = {f"max_bindings = {size}": f"max_bindings = {160 - size}" for size in (64, 96)}
        changed = re.sub(r"^max_bindings = \d+$", lambda found: sizes[found[0]], before, flags=re.M)
        self.home_agent.configuration.write_text(changed)
        self.program()

    def look(self) -> dict[str, Any]:
        with inside(self.home_agent.host.namespace.name):
            return show(self.home_agent.pin_path)

    def stop(self) -> None:
        self._restart(signal.SIGTERM)

    def kill(self) -> None:
        self._restart(signal.SIGKILL)

    def _restart(self, number: signal.Signals) -> None:
        self.home_agent.daemon.signal(number)
        self.home_agent.daemon.wait(PATIENCE_S)
        self.home_agent.serve()
        self.home_agent.wait_ready(PATIENCE_S)


def held_maps(process: int) -> set[int]:
    """Maps that a process has descriptors of, by identifier."""
    held = set()
    for path in Path(f"/proc/{process}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            held |= {int(found) for found in re.findall(r"^map_id:\s+(\d+)$", path.read_text(), re.M)}
    return held


def wait_until_all_maps_are_in_force(home_agent: HomeAgentUnderTest, shown: dict[str, Any]) -> None:
    """The daemon holds no map any more that an upgrade has replaced, and those that stand for all others."""
    in_force = {each["name"]: each["id"] for each in shown["maps"]}
    wanted = {in_force[name] for name in ("ports", "vlans", "home_links", "stats")}
    wait_until(
        lambda: wanted <= held_maps(home_agent.daemon.pid) <= set(in_force.values()),
        lambda: (held_maps(home_agent.daemon.pid), in_force),
    )


def essence(home_agent: HomeAgentUnderTest) -> set[tuple[str, str]]:
    return {(row["home_address"], row["care_of_address"]) for row in home_agent.bindings()}


def wait_renewed(home_agent: HomeAgentUnderTest) -> None:
    """The keys died with the process: the new one makes new security associations with the node by itself."""
    wait_until(lambda: home_agent.status()["ike_sas"]["established"] >= 1, "the node has no new security associations")


def test_no_packet_is_lost_or_repeated(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscriber = credentials.subscriber(1, home_address(1))
    core = RoutedCore(laboratory)
    correspondent: Host = core.attach("cn", CORRESPONDENT_PREFIX, "eth0")
    host = core.attach_home_agent("ha1", home_agent_prefix(1), [HOME_PREFIX])
    core.route(HOME_PREFIX, host)
    options = HomeAgentOptions(
        home_prefixes=[HOME_PREFIX],
        store=laboratory.subdirectory("store") / "state.db",
        max_bindings=64,
        home_links=[host.device],
        vlans=True,
    )
    home_agent = HomeAgentUnderTest(laboratory, host, credentials, [subscriber], options)
    node = MobileNodeAgent(laboratory, core, credentials, subscriber, home_agent)
    core.prime_neighbours(correspondent, host, node.host)
    operator = Operator(home_agent)
    home_agent.bring_up()
    node.start()
    node.events.wait_for("registered", PATIENCE_S)
    before = essence(home_agent)
    assert before == {(str(subscriber.home_address), str(node.host.address))}
    shown = operator.look()
    packets = NumberedPackets(
        laboratory, correspondent, node.host, subscriber.home_address, host.address, rate_per_s=RATE_PER_S
    )

    programs, tables = [shown["program"]["id"]], [shown["maps"][0]["id"]]
    seconds = dict.fromkeys(STEPS, 0.0)
    for step in range(UPGRADES):
        kind = STEPS[step % len(STEPS)]
        began = time.monotonic()
        getattr(operator, kind)()
        seconds[kind] += time.monotonic() - began
        assert essence(home_agent) == before
        now = operator.look()
        assert (now["program"]["id"] != programs[-1]) == (kind in ("program", "maps"))
        assert (now["maps"][0]["id"] != tables[-1]) == (kind == "maps")
        wait_until_all_maps_are_in_force(home_agent, now)
        programs.append(now["program"]["id"])
        tables.append(now["maps"][0]["id"])
    wait_renewed(home_agent)
    deliveries = packets.deliveries()

    print(f"{UPGRADES} steps, seconds by kind: {seconds}", deliveries)
    assert [(way.missing, way.repeated) for way in deliveries.values()] == [(0, 0), (0, 0)], deliveries
    assert min(way.sent for way in deliveries.values()) > RATE_PER_S
    after = operator.look()
    counted = counter_changes(shown, after)
    for way, delivery in deliveries.items():
        assert counted[f"forward-{way}"] >= delivery.sent, "they went through XDP"
    assert after["interfaces"][0]["attached"]
