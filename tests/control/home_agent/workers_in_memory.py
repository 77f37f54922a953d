"""Workers without processes, for engines in memory: every message between daemon and workers as bytes."""

from __future__ import annotations

import random
from dataclasses import replace

from control.home_agent.directory import NodeDirectory
from control.home_agent.policy import HomeAgentPolicy
from control.ike_workers import messages as m
from control.ike_workers.remote_endpoint import RemoteEndpoint
from control.ike_workers.steering import spi_shaper, worker_of
from control.ike_workers.worker import IkeWorker, WorkerSpis
from control.ike_workers.worker_policy import WorkerPolicy, answer
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.message import ZERO_SPI, parse_header
from control.ikev2.policy import IkeConfiguration
from control.ipsec.spi_sequence import SpiSequence


class WorkersInMemory(RemoteEndpoint):
    """A RemoteEndpoint with its workers; datagrams are steered as the kernel would."""

    def __init__(
        self,
        configuration: IkeConfiguration,
        policy: HomeAgentPolicy,
        directory: NodeDirectory,
        copy_directory,
        randomness: random.Random,
        workers: int = 2,
    ) -> None:
        super().__init__(configuration, workers)
        self.policy, self.directory = policy, directory
        self.copy_directory = copy_directory
        self.randomness = randomness
        self.datagrams = []
        self.questions = []
        self.now = 0.0
        directory.observe = lambda *assignment: self.command_all(m.Assigned(*assignment))
        self.running = [self.start(index) for index in range(workers)]

    def start(self, index: int) -> IkeWorker:
        directory = self.copy_directory()
        for identity, home_address in self.directory.assignments().items():
            directory.adopt(identity, home_address)
        spis = WorkerSpis(SpiSequence(self.randomness.randbytes), index, self.workers)
        policy = WorkerPolicy(HomeAgentPolicy(self.policy._address, directory), directory, self.ask)
        shaped = replace(self.configuration, shape_spi=spi_shaper(index, self.workers))
        endpoint = IkeEndpoint(shaped, policy, self.randomness.randbytes, spis.allocate)
        return IkeWorker(endpoint, directory, spis, endpoint.use_certificates)

    def kill(self, index: int) -> list[str]:
        """As SIGKILL would; the nodes that have lost their IKE SAs."""
        self.running[index] = self.start(index)
        return self.lost(index)

    def ask(self, question: m.Question) -> m.Answer:
        question = m.QUESTIONS.decode(m.QUESTIONS.encode(question))
        self.questions.append(question)
        return m.ANSWERS.decode(m.ANSWERS.encode(answer(question, self.policy, self.directory)))

    def pump(self) -> None:
        """Everything that the two sides have for each other."""
        for index, worker in enumerate(self.running):
            for command in self.commands(index):
                worker.obey(m.COMMANDS.decode(m.COMMANDS.encode(command)), self.now)
            worker.collect(0.0, with_statistics=True)
            for message in worker.messages():
                installed = self.receive(index, m.REPORTS.decode(m.REPORTS.encode(message)))
                if installed is not None:
                    self.command(index, installed)
            self.datagrams += worker.datagrams_to_send()

    def receive_datagrams(self, arrivals, now) -> None:
        self.now = now
        for arrival in arrivals:
            header = parse_header(arrival[0])
            ours = header.initiator_spi
            if header.is_initiator and header.responder_spi != ZERO_SPI:
                ours = header.responder_spi
            self.running[worker_of(ours, self.workers)].receive_datagrams([arrival], now)

    def datagrams_to_send(self):
        self.pump()
        datagrams, self.datagrams = self.datagrams, []
        return datagrams

    def events(self):
        self.pump()
        return super().events()

    def next_timer(self):
        times = [worker.next_timer() for worker in self.running]
        return min((time for time in times if time is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self.now = now
        for worker in self.running:
            worker.handle_timer(now)
