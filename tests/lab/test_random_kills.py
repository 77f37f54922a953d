"""Home agents die at random moments, again and again: nothing acknowledged is lost, no node has two home agents.

Five home agents of one cluster are killed (SIGKILL) and started again while their nodes register, register again and
are taken over. What was promised to nodes is read from a capture of their link, decrypted by tshark.
`HOMEAGENT_KILLS=200` makes it take two minutes and more; `HOMEAGENT_SEED=2` has others die at other moments.
"""

from __future__ import annotations

import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path

import pytest

from bench.demonstration.artifacts import Artifacts
from bench.lab.addresses import home_address
from bench.lab.capture import Capture
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import SimulatedNodes, SimulatorOptions
from bench.lab.scene import Scene, SceneOptions
from control.cluster.sqlite_store import SqliteStore
from control.cluster.store import BindingRecord
from tests.lab.dissection import dissect

pytestmark = pytest.mark.namespaces

KILLS = int(os.environ.get("HOMEAGENT_KILLS", "50"))
SEED = int(os.environ.get("HOMEAGENT_SEED", "1"))
HOME_AGENTS = 5
NODES = 30
REGISTRATIONS_PER_S = 60.0
LEASE_S = 1.0
MOST_DEAD = 3
PATIENCE_S = 150.0
SEQUENCE_NUMBERS = 1 << 16

ACKNOWLEDGED = "mip6.ba.status == 0 && mip6.ba.lifetime > 0"
FIELDS = ("frame.time_epoch", "ipv6.src", "ipv6.routing.mipv6.home_address", "mip6.ba.seqnr")


@dataclass
class Life:
    """A home agent and when it was killed (seconds since the epoch); started again at `back_at`."""

    agent: HomeAgentUnderTest
    killed_at: list[float] = field(default_factory=list)
    back_at: float | None = None

    @property
    def address(self) -> str:
        return str(self.agent.host.address)

    def kill(self, dead_s: float) -> None:
        self.agent.daemon.kill()
        self.killed_at.append(time.time())
        self.back_at = time.monotonic() + dead_s

    def revive(self) -> None:
        self.agent.serve()
        self.back_at = None


@dataclass(frozen=True)
class Acknowledgement:
    """A Binding Acknowledgement on the nodes' link."""

    at: float
    home_agent: str
    home_address: str
    sequence_number: int


def stored(store: SqliteStore, lives: list[Life]) -> dict[str, BindingRecord]:
    """The bindings by home address; there may be but one for each."""
    records = [record for life in lives for record in store.bindings(life.agent.name)]
    by_address = {str(record.home_address): record for record in records}
    assert len(by_address) == len(records), "a home address is bound twice"
    return by_address


class Promises:
    """What the nodes were told, from their own log while it grows."""

    def __init__(self, nodes: SimulatedNodes) -> None:
        self._nodes = nodes
        self._sent: dict[tuple[str, str], int] = {}
        self.registered: dict[str, tuple[str, int]] = {}
        self.count = 0

    def read(self) -> None:
        for row in self._nodes.events.read():
            if row["event"] == "binding-update-sent":
                self._sent[row["home_agent"], row["home_address"]] = row["sequence_number"]
            elif row["event"] == "registered":
                known = self._sent[row["home_agent"], row["home_address"]]
                self.registered[row["home_address"]] = row["home_agent"], known
                self.count += 1

    def check(self, store: SqliteStore, lives: list[Life]) -> None:
        """Each registration, or a later one, is in the store: also with home agents that are dead right now."""
        self.read()
        records = stored(store, lives)
        for address, (home_agent, sequence_number) in self.registered.items():
            assert address in records, f"the binding of {address} with {home_agent} is lost"
            record = records[address]
            if str(record.home_agent_address) == home_agent:
                newer = (record.sequence_number - sequence_number) % SEQUENCE_NUMBERS
                assert newer < SEQUENCE_NUMBERS // 2, f"{address} has {record}, was promised {sequence_number}"


def wait_settled(lives: list[Life], promises: Promises) -> None:
    """Until every node is registered with exactly one home agent, and nothing is under way."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        promises.read()
        held = [row["home_address"] for life in lives for row in life.agent.bindings()]
        progress = [life.agent.status()["takeover"] for life in lives]
        idle = all(row["waiting"] == row["in_flight"] == 0 for row in progress)
        if idle and len(held) == len(set(held)) == NODES:
            return
        assert time.monotonic() < deadline, (sorted(held), progress)
        time.sleep(0.2)


def live_dangerously(lives: list[Life], promises: Promises, store: SqliteStore, dice: random.Random) -> None:
    """Kill and start again until enough have died, and enough nodes have gone over to others.

    A machine that has much else to do starts home agents so slowly that none lives long enough to take over: once
    enough have died, the others are killed at longer intervals.
    """
    next_kill = time.monotonic()
    owners = {address: record.home_agent for address, record in stored(store, lives).items()}
    kills = moves = 0
    deadline = time.monotonic() + PATIENCE_S
    while kills < KILLS or (min(moves, promises.count // 2) < NODES and time.monotonic() < deadline):
        now = time.monotonic()
        for life in lives:
            if life.back_at is not None and now >= life.back_at:
                life.revive()
        alive = [life for life in lives if life.back_at is None]
        if now >= next_kill and len(alive) > HOME_AGENTS - MOST_DEAD:
            dice.choice(alive).kill(dice.choice([0.0, dice.uniform(0.0, 2.5 * LEASE_S)]))
            kills += 1
            next_kill = now + (dice.uniform(0.1, 0.9) if kills < KILLS else dice.uniform(3.0, 6.0))
            promises.check(store, lives)
            owners_now = {address: record.home_agent for address, record in stored(store, lives).items()}
            moves += sum(owners.get(address, owner) != owner for address, owner in owners_now.items())
            owners |= owners_now
        time.sleep(0.01)
    for life in lives:
        if life.back_at is not None:
            life.revive()
    for life in lives:
        life.agent.wait_ready()


def no_node_had_two(acknowledgements: list[Acknowledgement], lives: list[Life]) -> int:
    """A node's home agent changes only when the old one has died since its last word; how often that was."""
    by_address = {life.address: life for life in lives}
    histories: dict[str, list[Acknowledgement]] = defaultdict(list)
    for each in acknowledgements:
        histories[each.home_address].append(each)
    changes = 0
    for history in histories.values():
        for before, after in pairwise(history):
            if before.home_agent == after.home_agent:
                continue
            died = by_address[before.home_agent].killed_at
            assert any(before.at <= at <= after.at for at in died), f"two home agents at once: {before}, {after}"
            changes += 1
    return changes


def test_whatever_dies_when_nothing_acknowledged_is_lost(laboratory: Laboratory, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    credentials = Credentials("psk")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in range(1, NODES + 1)]
    artifacts = Artifacts(tmp_path / "out")
    options = SceneOptions(
        survivors=HOME_AGENTS - 1,
        cluster={"lease_s": LEASE_S, "heartbeat_s": 0.2},
        key_directory=artifacts.keys,
        back_end="userspace",
    )
    scene = Scene(laboratory, credentials, subscribers, options)
    nodes = SimulatedNodes(laboratory, scene.core, credentials, subscribers, scene.failing, SimulatorOptions())
    scene.core.prime_neighbours(nodes.host)
    scene.load()
    scene.serve()
    capture = Capture(laboratory, nodes.host.namespace, nodes.host.device, artifacts.captures / "nodes.pcap")
    capture.wait_started()
    nodes.start()
    lives = [Life(agent) for agent in scene.home_agents]
    store = SqliteStore(laboratory.subdirectory("cluster") / "state.db")
    promises = Promises(nodes)
    try:
        nodes.events.wait_for("started", PATIENCE_S)
        nodes.command("refresh", str(REGISTRATIONS_PER_S))
        live_dangerously(lives, promises, store, dice)
        wait_settled(lives, promises)
        nodes.command("refresh", "0")
        promises.check(store, lives)
        records = stored(store, lives)
        owners = {row["home_address"]: life.agent.name for life in lives for row in life.agent.bindings()}
        assert owners == {address: record.home_agent for address, record in records.items()}
    finally:
        store.close()
    capture.stop()
    artifacts.write_wireshark_profile()
    rows = dissect(capture.path, artifacts.wireshark, ACKNOWLEDGED, *FIELDS)
    acknowledgements = [Acknowledgement(float(at), *words, int(number)) for at, *words, number in rows]
    assert len(acknowledgements) >= promises.count > 2 * NODES
    changes = no_node_had_two(acknowledgements, lives)
    assert changes >= NODES // 2, "hardly a takeover was seen"
    for address, record in records.items():
        last = [each for each in acknowledgements if each.home_address == address][-1]
        assert IPv6Address(last.home_agent) == record.home_agent_address
