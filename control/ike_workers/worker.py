"""A worker: a whole IKEv2 endpoint that obeys the daemon's commands and reports what happens, without I/O."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from control.home_agent.directory import NodeDirectory
from control.home_agent.refusals import REFUSALS_PER_S
from control.ike_workers import messages as m
from control.ike_workers.certificates import unpack
from control.ikev2 import events as ike
from control.ikev2.address import Datagram, SocketAddress
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.nat import encapsulation_of
from control.ikev2.policy import CertificateMaterial
from control.ikev2.rate_limit import TokenBucket
from control.ikev2.sa import IkeSa
from control.ipsec.spi_sequence import SpiSequence

_DESCRIBED_AT_ONCE = 200


class WorkerSpis:
    """SPIs for inbound ESP that no other worker gives: each has those that leave its own index as a remainder."""

    def __init__(self, sequence: SpiSequence, worker: int, workers: int) -> None:
        self.in_use: set[int] = set()
        self._sequence = sequence
        self._worker = worker
        self._workers = workers

    def allocate(self) -> int:
        """The next one."""
        return self._sequence.next(self)

    def __contains__(self, spi: object) -> bool:
        return not isinstance(spi, int) or spi % self._workers != self._worker or spi in self.in_use


class IkeWorker:
    """One worker."""

    def __init__(
        self,
        endpoint: IkeEndpoint,
        directory: NodeDirectory,
        spis: WorkerSpis,
        use_certificates: Callable[[CertificateMaterial], None],
    ) -> None:
        """There are no IKE SAs yet.

        Args:
            endpoint: has all of them.
            directory: a copy of the daemon's.
            spis: what the endpoint takes SPIs for ESP from.
            use_certificates: has the endpoint and its policy authenticate with others.
        """
        self._endpoint = endpoint
        self._use_certificates = use_certificates
        self._directory = directory
        self._spis = spis
        self._by_number: dict[int, IkeSa] = {}
        self._numbers: dict[IkeSa, int] = {}
        self._predecessors: dict[int, int] = {}
        self._next_number = 1
        self._next_report = 0
        self._held: dict[int, list[Datagram]] = {}
        self._outbox: list[Datagram] = []
        # The first one says no more than that this worker is at work.
        self._messages: list[m.FromWorker] = [m.Report([], 0, None, None, 0.0)]
        self._now = 0.0
        self._refusals = TokenBucket(REFUSALS_PER_S)
        self._reported_half_open = 0
        self._reported_statistics: Counter[str] = Counter()

    # Inputs

    def receive_datagrams(self, arrivals: Iterable[tuple[bytes, SocketAddress, SocketAddress]], now: float) -> None:
        """Take UDP payloads that have come together, without markers."""
        self._now = now
        self._endpoint.receive_datagrams(arrivals, now)

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        self._now = now
        self._endpoint.handle_timer(now)

    def obey(self, command: m.Command, now: float) -> None:
        """Do what the daemon wants; IKE SAs that are gone meanwhile are passed over."""
        match command:
            case m.Connect():
                self._connect(command, now)
            case m.MakeKeyPairs(up_to=up_to):
                self._endpoint.make_key_pairs(up_to)
            case m.Assigned(identity=identity, home_address=home_address):
                self._directory.adopt(identity, home_address)
            case m.Authorise(nodes=packed):
                nodes = pickle.loads(packed)
                self._directory.replace(nodes, self._directory.compare(nodes))
            case m.UseCertificates():
                self._use_certificates(unpack(command))
            case m.Installed(report=report):
                self._outbox += self._held.pop(report, ())
            case m.Describe(query=query):
                self._messages += self._describe(query)
            case _:
                sa = self._by_number.get(command.number)
                if sa is not None:
                    self._change(sa, command, now)

    # Outputs

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called, None for never."""
        return self._endpoint.next_timer()

    def collect(self, busy_s: float, *, with_statistics: bool) -> None:
        """Make a report of what has happened, if anything has.

        What a peer is to learn of a new child SA stays here until the daemon has put that to work: the peer's first
        packet must not be there before.

        Args:
            busy_s: see :class:`control.ike_workers.messages.Report`.
            with_statistics: report counters that have changed.
        """
        happened = list(self._translated())
        datagrams = self._endpoint.datagrams_to_send()
        number = None
        if any(isinstance(each, m.ChildAgreed) for each in happened):
            number = self._next_report = self._next_report + 1
            self._held[number] = datagrams
        else:
            self._outbox += datagrams
        statistics = None
        if with_statistics and self._endpoint.statistics != self._reported_statistics:
            self._reported_statistics = self._endpoint.statistics.copy()
            statistics = dict(self._reported_statistics)
        half_open = self._endpoint.half_open
        if happened or statistics is not None or half_open != self._reported_half_open:
            self._reported_half_open = half_open
            self._messages.append(m.Report(happened, half_open, number, statistics, busy_s))

    def messages(self) -> list[m.FromWorker]:
        """For the daemon, drained; they have to leave before the datagrams."""
        messages, self._messages = self._messages, []
        return messages

    def datagrams_to_send(self) -> list[Datagram]:
        """For the peers, drained."""
        datagrams, self._outbox = self._outbox, []
        return datagrams

    # Commands

    def _connect(self, command: m.Connect, now: float) -> None:
        sa = self._endpoint.connect(
            m.unpack_end(command.local),
            m.unpack_end(command.remote),
            now,
            first_child=command.first_child,
            remote_identity=command.remote_identity,
            configuration=command.configuration,
            initial_contact=command.initial_contact,
            init_tries=command.init_tries,
        )
        self._know(sa, command.number)

    def _change(
        self,
        sa: IkeSa,
        command: m.CreateChild | m.DeleteChild | m.ReplaceChild | m.Delete | m.Abandon | m.Move | m.Heard | m.HeardFrom,
        now: float,
    ) -> None:
        match command:
            case m.CreateChild(request=request):
                if sa.is_established:
                    sa.create_child(request, now)
            case m.DeleteChild(inbound_spi=inbound_spi):
                sa.delete_child(inbound_spi, now)
            case m.ReplaceChild(inbound_spi=inbound_spi):
                sa.lifetimes.rekey_child_early(sa, inbound_spi, now)
            case m.Delete():
                sa.delete(now)
            case m.Abandon():
                sa.abandon(now)
            case m.Move(remote=remote):
                sa.move(now, remote=m.unpack_end(remote))
            case m.Heard(at=at):
                sa.heard(at)
            case m.HeardFrom(local=local, remote=remote):
                sa.heard_from(m.unpack_end(local), m.unpack_end(remote), now)

    def _describe(self, query: int) -> Iterator[m.Described]:
        known = [(number, sa) for sa, number in self._numbers.items() if sa.is_established]
        for start in range(0, max(1, len(known)), _DESCRIBED_AT_ONCE):
            end = start + _DESCRIBED_AT_ONCE
            yield m.Described(query, [_description(*each) for each in known[start:end]], is_last=end >= len(known))

    # Events

    def _translated(self) -> Iterator[m.Happened]:
        while events := self._endpoint.events():
            for sa, event in events:
                yield from self._translate(sa, event)

    def _translate(self, sa: IkeSa, event: ike.Event) -> Iterator[m.Happened]:
        match event:
            case ike.IkeEstablished(initial_contact=initial_contact):
                yield m.Established(self._number_of(sa), _view(sa), initial_contact)
            case ike.ChildEstablished(child=child, replaces=replaces):
                self._spis.in_use.add(child.inbound_spi)
                older = None if replaces is None else replaces.inbound_spi
                yield m.ChildAgreed(self._number_of(sa), m.pack_child(child), older)
            case ike.ChildFailed(name=name, reason=reason, detail=detail):
                yield m.ChildRefused(self._number_of(sa), name, reason, detail)
            case ike.ChildClosed(child=child, reason=reason):
                self._spis.in_use.discard(child.inbound_spi)
                yield m.ChildGone(self._number_of(sa), child.inbound_spi, reason)
            case ike.PeerAddressChanged(previous=previous):
                flow = m.pack_encapsulation(encapsulation_of(sa))
                yield m.Moved(self._number_of(sa), _view(sa), m.pack_end(previous), flow)
            case ike.IkeRekeyed(successor=successor):
                if (number := self._forget(sa)) is not None:
                    successor_number = self._number_of(successor)
                    # Commands that were under way still name the predecessor.
                    self._by_number[number] = successor
                    self._predecessors[successor_number] = number
                    yield m.Rekeyed(number, successor_number, _view(successor))
            case ike.IkeFailed(reason=reason, detail=detail, claimed=claimed):
                if (number := self._forget(sa)) is not None:
                    yield m.Failed(number, reason, detail)
                elif reason != "timeout" and self._refusals.take(self._now):
                    # The daemon knows nothing of strangers that have not proved who they are. Of those that tried
                    # it is told, but not of every one in a flood.
                    ends = m.pack_end(sa.local), m.pack_end(sa.remote)
                    yield m.StrangerRefused(0, *ends, reason, detail, claimed)
            case ike.IkeClosed(reason=reason):
                if (number := self._forget(sa)) is not None:
                    yield m.Closed(number, reason)

    def _number_of(self, sa: IkeSa) -> int:
        number = self._numbers.get(sa)
        if number is None:
            number, self._next_number = self._next_number, self._next_number + 2
            self._know(sa, number)
        return number

    def _know(self, sa: IkeSa, number: int) -> None:
        self._numbers[sa] = number
        self._by_number[number] = sa

    def _forget(self, sa: IkeSa) -> int | None:
        number = self._numbers.pop(sa, None)
        if number is not None:
            del self._by_number[number]
            self._by_number.pop(self._predecessors.pop(number, number), None)
        return number


def _view(sa: IkeSa) -> m.View:
    return m.View(
        role=sa.role.value,
        state=sa.state.value,
        initiator_spi=sa.initiator_spi,
        responder_spi=sa.responder_spi,
        local=m.pack_end(sa.local),
        remote=m.pack_end(sa.remote),
        local_identity=sa.local_identity,
        remote_identity=sa.remote_identity,
        nat=sa.nat,
        mobike=sa.mobike is not None,
        suite=None if sa.suite is None else str(sa.suite),
        established_at=sa.established_at,
        last_heard_at=sa.last_heard_at,
    )


def _description(number: int, sa: IkeSa) -> m.Description:
    return m.Description(number, _view(sa), sa.lifetimes.ike, dict(sa.lifetimes.children), dict(sa.superseded))
