"""Worker processes on loopback: a peer's IKE SAs with them, and what becomes of those of a process that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import pickle
import signal
import subprocess
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from control.config.datapath_settings import DatapathSettings
from control.config.ike_settings import IkeSettings
from control.config.nodes import Node
from control.config.schema import Configuration, HomeAgentSettings
from control.daemon.assembly import assemble
from control.daemon.ike_processes import IkeProcesses
from control.daemon.ike_worker_start import WorkerStart
from control.ike_workers import messages as m
from control.ike_workers.certificates import pack
from control.ike_workers.steering import spi_shaper, worker_of
from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildPolicy, ChildRequest
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.events import IkeEstablished
from control.ikev2.numbers import ConfigurationAttributeType, ConfigurationType
from control.ikev2.payloads.configuration import ConfigurationAttribute, ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import IkeConfiguration
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector
from control.ipsec.userspace import UserspaceIpsec
from control.key_export import KeyExport
from control.metrics import Instruments
from control.sockets.ike_udp import IkeSocket

LOOPBACK = IPv6Address("::1")
PREFIX = IPv6Network("2001:db8:100::/64")
KEY = b"0123456789abcdef"
WORKERS = 2
PEERS = 8
TIMEOUT_S = 60


def names() -> list[str]:
    return [f"mn{number}@example.org" for number in range(PEERS)]


class PeerPolicy:
    """A node that trusts everybody."""

    def shared_key(self, local, remote):
        return KEY

    def accept_peer(self, remote, as_initiator):
        return True

    def eap_authenticator(self, remote):
        return None

    def select_child(self, sa, local_selectors, remote_selectors):
        return ChildPolicy(local_selectors, remote_selectors)

    def configuration_reply(self, sa, request):
        return None


class Peer:
    """A node's endpoint on a port of its own, with SPIs that one of the workers has to answer."""

    def __init__(self, name: str, worker: int) -> None:
        self.socket = IkeSocket(LOOPBACK, 0)
        self.endpoint = IkeEndpoint(
            IkeConfiguration(Identity.from_text(name), wall_clock=lambda: 0.0, shape_spi=spi_shaper(worker, WORKERS)),
            PeerPolicy(),
            os.urandom,
            UserspaceIpsec(os.urandom).allocate_spi,
        )
        self.happened = []

    def connect(self, port: int, now: float) -> None:
        home = TrafficSelector(PREFIX[0], PREFIX[-1], PROTOCOL_MOBILITY)
        self.endpoint.connect(
            self.socket.local,
            SocketAddress(LOOPBACK, port),
            now,
            first_child=ChildRequest((home,), (TrafficSelector.host(LOOPBACK, PROTOCOL_MOBILITY),)),
            remote_identity=Identity.from_text("ha1.example.org"),
            configuration=ConfigurationPayload(
                ConfigurationType.REQUEST, (ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS),)
            ),
        )

    def work(self, now: float) -> None:
        for data, remote in self.socket.receive():
            self.endpoint.receive_datagram(data, self.socket.local, remote, now)
        self.endpoint.handle_timer(now)
        self.socket.send(self.endpoint.datagrams_to_send())
        self.happened += [event for _, event in self.endpoint.events()]

    @property
    def established(self) -> list[IkeEstablished]:
        return [event for event in self.happened if isinstance(event, IkeEstablished)]


class Daemon:
    """As much of a daemon as the workers see."""

    def __init__(self, workers: int) -> None:
        self.loop = asyncio.get_running_loop()
        configuration = Configuration(
            path=Path("homeagent.toml"),
            home_agent=HomeAgentSettings(
                name="ha1", address=LOOPBACK, identity="ha1.example.org", home_prefixes=(PREFIX,)
            ),
            datapath=DatapathSettings(interfaces=("lo",)),
            ike=IkeSettings(workers=workers, nat_traversal="off"),
        )
        nodes = [
            Node(identity=name, home_address=None, authentication="shared-key", shared_key=KEY) for name in names()
        ]
        assembly = assemble(
            configuration, nodes, now=self.loop.time(), keys=KeyExport(None, None), instruments=Instruments()
        )
        assert assembly.workers is not None
        self.agent, self.endpoint, self.ipsec = assembly.agent, assembly.workers, assembly.ipsec
        self.bereft: list[str] = []
        self.processes = IkeProcesses(
            LOOPBACK,
            self.agent,
            self.endpoint,
            assembly.policy,
            self.loop,
            start_of=lambda index: pickle.dumps(
                WorkerStart(
                    configuration,
                    nodes,
                    pack(self.endpoint.configuration.certificates),
                    self.agent.directory.assignments(),
                    index,
                    workers,
                    logging.WARNING,
                )
            ),
            changed=lambda: self.processes.send(),
            bereft=self.bereft.extend,
            ports=(0, 0),
        )

    async def until(self, condition, peers: list[Peer]) -> None:
        deadline = self.loop.time() + TIMEOUT_S
        while not condition():
            assert self.loop.time() < deadline
            for peer in peers:
                peer.work(self.loop.time())
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def no_memory_for_the_next_process():
    """The next worker cannot be started, those after it can."""
    popen, failed = subprocess.Popen, []

    def start(*arguments, **options):
        if not failed:
            failed.append(arguments)
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return popen(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", start)
        patch.setattr("control.daemon.ike_processes._RESTART_DELAY_S", 0.01)
        yield failed


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def _live(caplog: pytest.LogCaptureFixture) -> None:
    daemon = Daemon(WORKERS)
    peers = [Peer(name, number % WORKERS) for number, name in enumerate(names())]
    try:
        assert daemon.processes.working == 0
        await asyncio.wait_for(daemon.processes.all_at_work(), TIMEOUT_S)
        assert daemon.processes.working == WORKERS
        for peer in peers:
            peer.connect(daemon.processes.port, daemon.loop.time())
        await daemon.until(lambda: len(daemon.agent.sessions) == len(daemon.ipsec) == PEERS, peers)
        await daemon.until(lambda: all(peer.established for peer in peers), peers)
        assert len(set(daemon.agent.directory.assignments().values())) == PEERS
        before = {str(sa.remote_identity): sa for sa in daemon.agent.sessions}
        assert all(before[name].worker == number % WORKERS for number, name in enumerate(names()))
        assert all(worker_of(sa.responder_spi, WORKERS) == sa.worker for sa in before.values())
        await daemon.processes.describe()
        assert all(sa.lifetimes.ike is not None for sa in before.values())

        for pid in daemon.processes.process_ids:
            status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
            assert int(status["NoNewPrivs"]) == 1

        first, second = daemon.processes.process_ids
        descriptors = open_descriptors()
        with no_memory_for_the_next_process() as failed:
            os.kill(first, signal.SIGKILL)
            await daemon.until(lambda: daemon.processes.restarts == 1, peers)
        assert len(failed) == 1
        assert open_descriptors() <= descriptors
        assert "IKE worker 0 cannot be started: [Errno 12]" in caplog.text
        expected = {name for name, sa in before.items() if sa.worker == 0}
        assert set(daemon.bereft) == expected
        assert len(daemon.agent.sessions) == len(daemon.ipsec) == PEERS - len(expected)
        assert f"process {first}" in caplog.text
        assert daemon.processes.process_ids[0] != first
        assert daemon.processes.process_ids[1] == second

        for name, peer in zip(names(), peers, strict=True):
            if name in expected:
                peer.connect(daemon.processes.port, daemon.loop.time())
        await daemon.until(lambda: len(daemon.agent.sessions) == len(daemon.ipsec) == PEERS, peers)
        # Workers report their counters a few times a second.
        await daemon.until(lambda: daemon.endpoint.statistics["established"] >= len(before) - len(expected), peers)
        for sa in daemon.agent.sessions:
            assert (sa is before[str(sa.remote_identity)]) is (str(sa.remote_identity) not in expected)

        stopped = daemon.processes.process_ids[1]
        os.kill(stopped, signal.SIGSTOP)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("control.daemon.ike_processes._HUNG_AFTER_S", 0.05)

            def is_replaced() -> bool:
                daemon.endpoint.command(1, m.MakeKeyPairs(0))
                daemon.processes.send()
                return daemon.processes.restarts == 2

            daemon.endpoint.command(1, m.Authorise(bytes(1 << 22)))  # more than fits between the two
            await daemon.until(is_replaced, peers)
        assert "IKE worker 1 has read nothing for" in caplog.text
        assert stopped not in daemon.processes.process_ids
        await daemon.until(lambda: daemon.processes.working == WORKERS, peers)
        running = daemon.processes.process_ids
    finally:
        daemon.processes.close()
        for peer in peers:
            peer.socket.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in running)


def test_workers_serve_and_are_replaced_when_they_die(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        asyncio.run(_live(caplog))
