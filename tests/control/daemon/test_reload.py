"""The configuration is read again while the daemon serves."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from bench.lab.pki import CertificateAuthority
from control.config import load_configuration, load_nodes
from control.control_socket import CommandError
from control.daemon import reload as reload_module
from control.daemon.ike_configuration import ike_configuration, node_directory
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

    def __init__(self, path, configuration=CONFIGURATION):
        self.folder = path
        self.write(1, 2)
        (path / "homeagent.toml").write_text(configuration)
        configuration = load_configuration(path / "homeagent.toml")
        nodes = load_nodes(configuration)
        self.directory = node_directory(configuration, nodes)
        self.ended = ["a binding"]
        self.removed = []
        self.flushed = 0
        self.commands = []
        self.ike = ike_configuration(configuration, None)
        endpoint = SimpleNamespace(configuration=self.ike)
        agent = SimpleNamespace(
            directory=self.directory, dismiss_unauthorised=lambda now: self.ended, endpoint=endpoint
        )
        workers = SimpleNamespace(command_all=self.commands.append)
        self.used = []
        self.reloading = Reload(
            configuration,
            nodes,
            agent,
            workers,
            use_certificates=self.used.append,
            remove=self.removed.extend,
            flush=self._flush,
        )

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

    def slow(*arguments):
        reads.append(len(reads))
        assert may_read.acquire(timeout=60)
        return read(*arguments)

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
    def fail(*arguments):
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


WITH_CERTIFICATE = (
    CONFIGURATION.replace('name = "ha1"', 'name = "ha1"\nidentity = "ha1.example.org"')
    + '[ike]\ncertificate = "ha1.pem"\nprivate_key = "ha1.key"\ntrust_anchors = ["ca.pem"]\n'
)
AUTHORITY = CertificateAuthority()


def issue(folder, identity="ha1.example.org", only=("ha1.pem", "ha1.key")):
    issued = AUTHORITY.issue(identity)
    for name, content in (("ha1.pem", issued.certificate_pem), ("ha1.key", issued.private_key_pem)):
        if name in only:
            (folder / name).write_bytes(content)


@pytest.fixture
def certified(tmp_path):
    issue(tmp_path)
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.certificate_pem)
    return Running(tmp_path, WITH_CERTIFICATE)


def test_certificates_that_are_the_same_are_left_alone(certified):
    row = certified.reload()
    assert (row["certificate_expires_at"], row["trust_anchors"], certified.used) == (None, None, [])


def test_a_renewed_certificate_is_used_and_said(certified, caplog):
    caplog.set_level(logging.INFO)
    before = certified.ike.credentials.certificates
    issue(certified.folder)
    row = certified.reload()
    [used] = certified.used
    assert used.credentials.certificates != before
    assert used.credentials.certificates[0].public_key() == used.credentials.private_key.public_key()
    assert used.trust_anchors == certified.ike.trust_anchors
    assert row["certificate_expires_at"] == used.credentials.certificates[0].not_valid_after_utc.timestamp()
    assert row["trust_anchors"] is None
    assert "another certificate is in force, until 20" in caplog.text


def test_one_by_another_name_needs_no_restart(certified):
    for old, new in (("ha1.pem", "renewed.pem"), ("ha1.key", "renewed.key")):
        (certified.folder / old).rename(certified.folder / new)
    file = certified.folder / "homeagent.toml"
    file.write_text(WITH_CERTIFICATE.replace('"ha1.pem"', '"renewed.pem"').replace('"ha1.key"', '"renewed.key"'))
    assert certified.reload()["needs_restart"] == []


def test_a_further_trust_anchor(certified, caplog):
    caplog.set_level(logging.INFO)
    more = CertificateAuthority("another")
    (certified.folder / "ca.pem").write_bytes(AUTHORITY.certificate_pem + more.certificate_pem)
    row = certified.reload()
    assert (row["certificate_expires_at"], row["trust_anchors"]) == (None, 2)
    assert certified.used[0].trust_anchors == (AUTHORITY.certificate, more.certificate)
    assert "other trust anchors are in force, 2 of them" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: issue(folder, only=("ha1.pem",)), r"ha1\.key: .*not the key of the \(first\) certificate"),
        (lambda folder: (folder / "ha1.pem").write_text("-----BEGIN"), r"ha1\.pem: .*holds no PEM certificate"),
        (lambda folder: (folder / "ha1.key").unlink(), r"ha1\.key"),
        (lambda folder: (folder / "ca.pem").write_text(""), r"ca\.pem: .*holds no PEM certificate"),
        (lambda folder: issue(folder, "ha2.example.org"), r"refuse .*ha1\.pem: .*ha1\.example\.org"),
    ],
)
def test_certificates_that_would_not_do_change_nothing_not_even_nodes(certified, spoil, said):
    certified.write(1, 2, 3)
    spoil(certified.folder)
    with pytest.raises(CommandError, match=f"nothing was changed, .*{said}"):
        certified.reload()
    assert certified.used == []
    assert certified.identities() == ["mn1@example.org", "mn2@example.org"]
    issue(certified.folder)
    (certified.folder / "ca.pem").write_bytes(AUTHORITY.certificate_pem)
    assert certified.reload()["added"] == 1
    assert len(certified.used) == 1


def test_an_expired_certificate_is_not_taken_but_one_that_expired_in_force_keeps_no_node_away(certified, monkeypatch):
    later = time.time() + 30 * 86400
    monkeypatch.setattr(reload_module.time, "time", lambda: later)
    certified.write(1, 2, 3)
    assert certified.reload()["added"] == 1
    issue(certified.folder)
    with pytest.raises(CommandError, match=r"refuse .*ha1\.pem: .*since .*, and it is"):
        certified.reload()
    assert certified.used == []


def test_a_mistake_in_the_nodes_keeps_certificates_as_they_are(certified):
    issue(certified.folder)
    certified.write()
    with pytest.raises(CommandError, match="2 of 2 nodes"):
        certified.reload()
    assert certified.used == []
