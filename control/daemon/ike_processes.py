"""The processes of the IKE workers: started, fed, listened to, and started again when they die."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from control.daemon.ike_traffic import receive_esp_in_udp
from control.daemon.signalling_sockets import Reader
from control.home_agent.engine import HomeAgent
from control.home_agent.policy import HomeAgentPolicy
from control.ike_workers import messages as m
from control.ike_workers.framing import Unframer, frame
from control.ike_workers.remote_endpoint import RemoteEndpoint
from control.ike_workers.steering import nat_traversal_filter, plain_filter
from control.ike_workers.worker_policy import answer
from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT
from control.ikev2.nat import NatTraversal
from control.ipsec.udp_encapsulation import UdpContent
from control.sockets.ike_udp import NatTraversalSocket
from control.sockets.reuse_port import bind_group

_LOG = logging.getLogger(__name__)

_PIECE = 1 << 18
_QUESTION_SIZE = 1 << 16
_HEALTHY_AFTER_S = 10.0
_RESTART_DELAY_S = 1.0
_LONGEST_RESTART_DELAY_S = 30.0
_DESCRIBING_TIMEOUT_S = 5.0
_HUNG_AFTER_S = 60.0


@dataclass(slots=True)
class _Running:
    """One worker's process.

    Attributes:
        channel: commands to it, reports from it.
        questions: its questions, one at a time, and the answers.
        started_at: monotonic seconds.
        working: whether it has said anything yet.
        taken_at: when the channel last took something, or there was nothing to take, monotonic seconds.
        unsent: bytes that the channel has not taken yet.
    """

    process: subprocess.Popen[bytes]
    channel: socket.socket
    questions: socket.socket
    started_at: float
    taken_at: float
    unsent: bytearray = field(default_factory=bytearray)
    unframer: Unframer = field(default_factory=Unframer)
    working: bool = False

    def close(self) -> None:
        """End the process, if it has not ended itself."""
        self.channel.close()
        self.questions.close()
        self.process.kill()
        self.process.wait()


class IkeProcesses:
    """An :class:`control.daemon.ike_traffic.IkeTraffic` for an engine whose endpoint is a RemoteEndpoint.

    The sockets of all workers belong to this process as well, so that a worker's successor gets what has arrived in the
    meantime, and the order of the sockets, which the filter depends on, never changes.

    Attributes:
        restarts: how often a worker had to be started again.
    """

    def __init__(
        self,
        address: IPv6Address,
        agent: HomeAgent,
        endpoint: RemoteEndpoint,
        policy: HomeAgentPolicy,
        loop: asyncio.AbstractEventLoop,
        *,
        start_of: Callable[[int], bytes],
        changed: Callable[[], None],
        bereft: Callable[[list[str]], None],
        ports: tuple[int, int] = (IKE_PORT, NAT_TRAVERSAL_PORT),
    ) -> None:
        """Open the sockets and start all workers.

        Args:
            address: the home agent's.
            agent: the engine.
            endpoint: the engine's.
            policy: answers the workers' questions.
            loop: where this process waits.
            start_of: what the worker of an index begins with, encoded.
            changed: sends what the engine has decided.
            bereft: told the nodes that have lost their IKE SAs with a worker.
            ports: of IKE and of NAT traversal; 0 for any.

        Raises:
            OSError: the address is not on this machine, a port is taken, or a process cannot be started.
        """
        self.restarts = 0
        self._agent = agent
        self._endpoint = endpoint
        self._policy = policy
        self._loop = loop
        self._start_of = start_of
        self._changed = changed
        self._bereft = bereft
        self._delays = [0.0] * endpoint.workers
        self._running: list[_Running | None] = [None] * endpoint.workers
        self._waiting: dict[int, asyncio.TimerHandle] = {}
        self._all_work = asyncio.Event()
        self._queries: dict[int, tuple[set[int], asyncio.Future[None]]] = {}
        self._nat_traversal: NatTraversalSocket | None = None
        agent.directory.observe = lambda *assignment: endpoint.command_all(m.Assigned(*assignment))
        with ExitStack() as stack:
            self._ports = [bind_group(address, ports[0], plain_filter(endpoint.workers), endpoint.workers)]
            stack.callback(self._close_ports)
            if endpoint.configuration.nat_traversal is not NatTraversal.OFF:
                program = nat_traversal_filter(endpoint.workers)
                *group, own = bind_group(address, ports[1], program, endpoint.workers + 1)
                self._ports.append(tuple(group))
                self._nat_traversal = NatTraversalSocket(address, bound=own)
                stack.callback(self._nat_traversal.close)
            stack.callback(self._stop)
            for index in range(endpoint.workers):
                self._start(index)
            self._stack = stack.pop_all()

    @property
    def dropped(self) -> int:
        """See :class:`control.daemon.ike_traffic.IkeTraffic`."""
        return 0 if self._nat_traversal is None else self._nat_traversal.dropped

    @property
    def statistics(self) -> Counter[str]:
        """See :class:`control.daemon.ike_traffic.IkeTraffic`."""
        return Counter() if self._nat_traversal is None else self._nat_traversal.statistics

    @property
    def port(self) -> int:
        """The port of IKE."""
        port: int = self._ports[0][0].getsockname()[1]
        return port

    @property
    def working(self) -> int:
        """How many workers are at work."""
        return sum(running is not None and running.working for running in self._running)

    async def all_at_work(self) -> None:
        """Wait until all workers have been at work at the same time once."""
        await self._all_work.wait()

    @property
    def process_ids(self) -> list[int]:
        """Of the workers that run."""
        return [running.process.pid for running in self._running if running is not None]

    def readers(self) -> dict[int, Reader]:
        """See :class:`control.daemon.ike_traffic.IkeTraffic`; what workers say is read anyway."""
        sock = self._nat_traversal
        return {} if sock is None else {sock.fileno(): lambda now, wall: self._read_esp(sock, now, wall)}

    def take_waited_s(self) -> float:
        """See :class:`control.daemon.ike_traffic.IkeTraffic`."""
        busy_s, self._endpoint.busy_s = self._endpoint.busy_s, 0.0
        return busy_s

    def give_esp_to_kernel(self) -> None:
        """See :class:`control.daemon.ike_traffic.IkeTraffic`."""
        if self._nat_traversal is not None:
            self._nat_traversal.give_esp_to_kernel()

    def send(self) -> None:
        """Send the workers their commands; those of a worker that is being started again wait."""
        for index, running in enumerate(self._running):
            if running is None:
                continue
            commands = self._endpoint.commands(index)
            if commands:
                running.unsent += b"".join(frame(m.COMMANDS.encode(command)) for command in commands)
                self._write(index, running)

    def close(self) -> None:
        """End the workers and close the sockets."""
        self._stack.close()

    async def describe(self) -> None:
        """Have the endpoint's IKE SAs be what the workers' are now; those of a worker that does not answer stay."""
        query = max(self._queries, default=0) + 1
        asked = {index for index, running in enumerate(self._running) if running is not None}
        if not asked:
            return
        done = self._loop.create_future()
        self._queries[query] = (asked, done)
        for index in asked:
            self._endpoint.command(index, m.Describe(query))
        self.send()
        try:
            await asyncio.wait_for(done, _DESCRIBING_TIMEOUT_S)
        except TimeoutError:
            _LOG.warning("IKE workers %s do not answer", sorted(asked))
        finally:
            del self._queries[query]

    # Their lives

    def _start(self, index: int) -> None:
        with ExitStack() as ours, ExitStack() as its:
            channel, its_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            its.enter_context(its_channel)
            ours.enter_context(channel)
            questions, its_questions = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            its.enter_context(its_questions)
            ours.enter_context(questions)
            descriptors = [
                its_channel.fileno(),
                its_questions.fileno(),
                *(group[index].fileno() for group in self._ports),
            ]
            # -P: the daemon's own source, whatever else lies in the working directory.
            command = [sys.executable, "-P", "-m", "control.daemon.ike_worker", *map(str, descriptors)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            process = subprocess.Popen(command, pass_fds=descriptors, stdin=subprocess.DEVNULL, env=environment)
            ours.pop_all()
        channel.setblocking(False)
        questions.setblocking(False)
        now = self._loop.time()
        running = self._running[index] = _Running(process, channel, questions, now, now)
        self._loop.add_reader(channel.fileno(), self._read_reports, index, running)
        self._loop.add_reader(questions.fileno(), self._read_question, index, running)
        running.unsent += frame(self._start_of(index))
        # What was assigned so far is in that; commands wait from now on.
        self._write(index, running)

    def _lost(self, index: int, running: _Running) -> None:
        if self._running[index] is not running:
            return
        self._running[index] = None
        self._forget(running)
        lived_s = self._loop.time() - running.started_at
        delay_s = 0.0 if lived_s >= _HEALTHY_AFTER_S else self._delays[index]
        self._lengthen_delay(index, delay_s)
        _LOG.error(
            "IKE worker %d (process %d) has ended with status %d; another one follows in %g s",
            index,
            running.process.pid,
            running.process.returncode,
            delay_s,
        )
        for query, (asked, _) in list(self._queries.items()):
            self._answered(query, index, asked)
        bereft = self._endpoint.lost(index)
        self._agent.process_ike_events(self._loop.time())
        self._waiting[index] = self._loop.call_later(delay_s, self._restart, index)
        self._bereft(bereft)
        self._changed()

    def _restart(self, index: int) -> None:
        del self._waiting[index]
        try:
            self._start(index)
        except OSError as error:  # no memory or no more processes, which may be why the last one has ended
            delay_s = self._delays[index]
            self._lengthen_delay(index, delay_s)
            _LOG.error("IKE worker %d cannot be started: %s; tried again in %g s", index, error, delay_s)
            self._waiting[index] = self._loop.call_later(delay_s, self._restart, index)
            return
        self.restarts += 1
        self._changed()

    def _lengthen_delay(self, index: int, delay_s: float) -> None:
        """For what fails next, after it has been tried again in ``delay_s`` seconds."""
        self._delays[index] = min(max(_RESTART_DELAY_S, delay_s * 2), _LONGEST_RESTART_DELAY_S)

    def _forget(self, running: _Running) -> None:
        for sock in (running.channel, running.questions):
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
        running.close()

    def _stop(self) -> None:
        for timer in self._waiting.values():
            timer.cancel()
        for running in filter(None, self._running):
            self._forget(running)
        self._running = [None] * len(self._running)

    def _close_ports(self) -> None:
        for group in self._ports:
            for sock in group:
                sock.close()

    # Their channels

    def _read_esp(self, sock: NatTraversalSocket, now: float, wall: float) -> None:
        for arrival in sock.arrivals():
            if arrival.content is UdpContent.ESP:
                receive_esp_in_udp(self._agent, arrival, now, wall)

    def _read_reports(self, index: int, running: _Running) -> None:
        piece = _read(running.channel, _PIECE)
        if piece is None:
            return
        if not piece:
            self._lost(index, running)
            return
        try:
            installed = [self._receive(index, m.REPORTS.decode(data)) for data in running.unframer.feed(piece)]
        except (*m.Malformed, ValueError):  # it has read what strangers sent, and is not itself any more
            self._lost(index, running)
            return
        running.working = True
        if self.working == len(self._running):
            self._all_work.set()
        self._agent.process_ike_events(self._loop.time())
        for reply in installed:
            if reply is not None:
                self._endpoint.command(index, reply)
        self._changed()

    def _receive(self, index: int, message: m.FromWorker) -> m.Installed | None:
        if isinstance(message, m.Described) and message.is_last and message.query in self._queries:
            self._answered(message.query, index, self._queries[message.query][0])
        return self._endpoint.receive(index, message)

    def _answered(self, query: int, index: int, asked: set[int]) -> None:
        asked.discard(index)
        done = self._queries[query][1]
        if not asked and not done.done():
            done.set_result(None)

    def _read_question(self, index: int, running: _Running) -> None:
        question = _read(running.questions, _QUESTION_SIZE)
        if question is None:
            return
        if not question:
            self._lost(index, running)
            return
        try:
            reply = answer(m.QUESTIONS.decode(question), self._policy, self._agent.directory)
        except m.Malformed:
            self._lost(index, running)
            return
        running.questions.send(m.ANSWERS.encode(reply))
        self._changed()

    def _write(self, index: int, running: _Running) -> None:
        try:
            sent = running.channel.send(running.unsent)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            return  # reading tells that it is dead
        del running.unsent[:sent]
        now = self._loop.time()
        if sent or not running.unsent:
            running.taken_at = now
        elif running.working and now - running.taken_at > _HUNG_AFTER_S:
            # What it is to do must not pile up for ever, nor its share of the nodes wait.
            _LOG.error("IKE worker %d has read nothing for %.0f s", index, now - running.taken_at)
            self._lost(index, running)
            return
        if running.unsent:
            self._loop.add_writer(running.channel.fileno(), self._write, index, running)
        else:
            self._loop.remove_writer(running.channel.fileno())


def _read(channel: socket.socket, size: int) -> bytes | None:
    """What has come; nothing from a worker that is dead, None if there is nothing to read yet."""
    try:
        return channel.recv(size)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""
