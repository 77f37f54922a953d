"""The configuration is read again while the daemon serves."""

from __future__ import annotations

import asyncio
import logging
import threading
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.config import load_configuration, load_nodes
from control.control_socket import CommandError
from control.daemon import reload as reload_module
from control.daemon.ike_configuration import node_directory
from control.daemon.reload import Reload
from tests.control.configurations import WITH_NODES

CONFIGURATION = WITH_NODES + "[bootstrap]\nconcurrency = 100\n"
NODE = """
[[node]]
identity = "mn{0}@example.org"
home_address = "2001:db8:100::{0}"
authentication = "shared-key"
shared_key = "secret-{0}"
"""


class Running:
    """What a reload changes, without a daemon around it."""

    def __init__(self, path):
        self.folder = path
        self.write(1, 2)
        (path / "homeagent.toml").write_text(CONFIGURATION)
        configuration = load_configuration(path / "homeagent.toml")
        nodes = load_nodes(configuration)
        self.directory = node_directory(configuration, nodes)
        self.ended = ["a binding"]
        self.removed = []
        self.flushed = 0
        self.commands = []
        agent = SimpleNamespace(directory=self.directory, dismiss_unauthorised=lambda now: self.ended)
        workers = SimpleNamespace(command_all=self.commands.append)
        self.reloading = Reload(configuration, nodes, agent, workers, remove=self.removed.extend, flush=self._flush)

    def write(self, *numbers, more=""):
        (self.folder / "nodes.toml").write_text("".join(NODE.format(number) for number in numbers) + more)

    def reload(self, **arguments):
        return asyncio.run(self.reloading.reload(**arguments))

    def identities(self):
        return sorted(node.identity for node in self.directory)

    def _flush(self):
        self.flushed += 1


@pytest.fixture
def running(tmp_path):
    return Running(tmp_path)


def test_nodes_change_and_workers_and_their_successors_know(running):
    running.write(2, 3)
    row = running.reload()
    assert (row["nodes"], row["added"], row["removed"], row["changed"]) == (2, 1, 1, 0)
    assert (row["bindings_ended"], running.removed, running.flushed) == (1, ["a binding"], 1)
    assert row["needs_restart"] == []
    assert running.identities() == ["mn2@example.org", "mn3@example.org"]
    assert running.directory.home_address("mn3@example.org") == IPv6Address("2001:db8:100::3")
    assert [str(node.identity) for node in running.reloading.nodes] == running.identities()
    [command] = running.commands
    assert "secret" not in repr(command)


def test_a_mistake_changes_nothing(running):
    running.write(1, more='[[node]]\nidentity = "mn2@example.org"\nauthentication = "psk"\n')
    with pytest.raises(CommandError, match=r"nothing was changed, .*nodes\.toml:9: node\.authentication") as caught:
        running.reload()
    assert "`homeagent config check` has all" in caught.value.remedy
    assert running.identities() == ["mn1@example.org", "mn2@example.org"]
    assert running.commands == running.removed == []


@pytest.mark.parametrize("numbers", [(), (3,), (3, 4, 5)])
def test_a_file_without_most_nodes_is_taken_for_one_that_is_being_written(running, numbers):
    running.write(*numbers)
    with pytest.raises(CommandError, match="nothing was changed: 2 of 2 nodes are not in") as caught:
        running.reload()
    assert "--remove-most" in caught.value.remedy
    assert running.identities() == ["mn1@example.org", "mn2@example.org"]
    assert running.commands == running.removed == []


def test_most_nodes_are_removed_if_that_is_wanted(running):
    running.write()
    assert running.reload(remove_most=True)["removed"] == 2
    assert running.identities() == []


def test_an_address_that_another_node_was_assigned(running):
    running.write(
        1, 2, more='[[node]]\nidentity = "any@example.org"\nauthentication = "shared-key"\nshared_key = "k"\n'
    )
    running.reload()
    running.directory.assign("any@example.org", IPv6Address("2001:db8:100::3"))
    nodes = running.folder / "nodes.toml"
    nodes.write_text(nodes.read_text() + NODE.format(3))
    with pytest.raises(CommandError, match=r"2001:db8:100::3.* gives mn3@example\.org, is assigned to any@"):
        running.reload()
    assert "mn3@example.org" not in running.identities()


def test_what_takes_a_restart_is_named(running, caplog):
    caplog.set_level(logging.INFO)
    file = running.folder / "homeagent.toml"
    file.write_text(CONFIGURATION.replace("concurrency = 100", "rate_per_s = 9"))
    assert running.reload()["needs_restart"] == ["[bootstrap] concurrency", "[bootstrap] rate_per_s"]
    assert "[bootstrap] rate_per_s: changed, and takes effect with a restart" in caplog.text


def test_what_takes_an_upgrade_of_the_data_path_is_named_once(running):
    file = running.folder / "homeagent.toml"
    changed = CONFIGURATION.replace('interfaces = ["core0"]', 'interfaces = ["core1"]\nmax_bindings = 5')
    file.write_text(changed + "[strangers]\nlimits = false\n")
    row = running.reload()
    assert row["needs_upgrade"] == ["[datapath] max_bindings", "[strangers] limits"]
    assert row["needs_restart"] == ["[datapath] interfaces"]
    row = running.reload()
    assert (row["needs_upgrade"], row["needs_restart"]) == ([], ["[datapath] interfaces"])


def test_a_signal_tells_the_log(running, caplog):
    (running.folder / "nodes.toml").write_text("nonsense")

    async def signalled():
        running.reloading.begin()
        await running.reloading._begun

    asyncio.run(signalled())
    assert "nothing was changed" in caplog.text
    assert running.identities() == ["mn1@example.org", "mn2@example.org"]


def test_signals_during_a_reload_make_one_more_after_it(running, monkeypatch):
    may_read, reads = threading.Semaphore(0), []
    read = reload_module._read

    def slow(configuration):
        reads.append(len(reads))
        assert may_read.acquire(timeout=60)
        return read(configuration)

    monkeypatch.setattr(reload_module, "_read", slow)

    async def signalled():
        running.reloading.begin()
        first = running.reloading._begun
        while not reads:
            await asyncio.sleep(0.001)
        for _ in range(3):
            running.reloading.begin()
        assert running.reloading._begun is first
        running.write(1, 2, 3)  # what the first has read already, for all it knows
        may_read.release()
        may_read.release()
        await first

    asyncio.run(signalled())
    assert len(reads) == 2
    assert running.identities() == ["mn1@example.org", "mn2@example.org", "mn3@example.org"]


def test_a_signal_after_one_that_failed_in_an_unforeseen_way(running, monkeypatch, caplog):
    def fail(configuration):
        raise RuntimeError("unforeseen")

    async def signalled():
        with monkeypatch.context() as broken:
            broken.setattr(reload_module, "_read", fail)
            running.reloading.begin()
            await running.reloading._begun
        running.write(1, 2, 3)
        running.reloading.begin()
        await running.reloading._begun

    asyncio.run(signalled())
    assert "RuntimeError: unforeseen" in caplog.text
    assert len(running.identities()) == 3
