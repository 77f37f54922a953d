"""The endpoints of all workers, as one :class:`control.home_agent.key_exchange.KeyExchange`, without I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import cast

from control.ike_workers import messages as m
from control.ike_workers.certificates import pack
from control.ike_workers.remote_sa import RemoteIkeSa
from control.ikev2.address import Datagram, SocketAddress
from control.ikev2.child import ChildRequest
from control.ikev2.events import (
    ChildEstablished,
    ChildFailed,
    Event,
    IkeEstablished,
    IkeFailed,
    IkeRekeyed,
    PeerAddressChanged,
)
from control.ikev2.payloads.configuration import ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import CertificateMaterial, IkeConfiguration
from control.ikev2.sa import IkeSa
from control.ikev2.states import Role, State

WORKER_LOST = "worker-lost"
"""Why IKE SAs ended whose process did."""


@dataclass(slots=True)
class _Worker:
    """What is known of one.

    Attributes:
        sas: its IKE SAs by number.
        commands: not yet fetched.
        half_open: IKE SAs that strangers have begun there.
        statistics: its counters.
    """

    sas: dict[int, RemoteIkeSa] = field(default_factory=dict)
    commands: list[m.Command] = field(default_factory=list)
    half_open: int = 0
    statistics: Counter[str] = field(default_factory=Counter)


class RemoteEndpoint:
    """Spreads what the daemon begins over the workers, and gathers what happens there.

    Attributes:
        configuration: that of each worker's endpoint, but for its share of the limits.
        busy_s: the longest time that something had to wait in a worker since this was last set to 0.
    """

    def __init__(self, configuration: IkeConfiguration, workers: int) -> None:
        self.configuration = configuration
        self.busy_s = 0.0
        self._workers = [_Worker() for _ in range(workers)]
        self._of_the_dead: Counter[str] = Counter()
        self._turn = 0
        self._next_number = 0
        self._established: dict[str, set[RemoteIkeSa]] = {}
        self._events: list[tuple[RemoteIkeSa, Event]] = []

    def __len__(self) -> int:
        """How many IKE SAs are known here."""
        return sum(len(worker.sas) for worker in self._workers)

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    def use_certificates(self, material: CertificateMaterial) -> None:
        """Have all workers authenticate with other certificates from now on."""
        self.configuration = replace(
            self.configuration, credentials=material.credentials, trust_anchors=material.trust_anchors
        )
        self.command_all(pack(material))

    @property
    def statistics(self) -> Counter[str]:
        """Counters by slug, of all workers that there were."""
        return sum((worker.statistics for worker in self._workers), self._of_the_dead)

    @property
    def half_open(self) -> int:
        """How many IKE SAs strangers have begun and not completed."""
        return sum(worker.half_open for worker in self._workers)

    # What the home agent asks for

    def connect(
        self,
        local: SocketAddress,
        remote: SocketAddress,
        now: float,
        *,
        first_child: ChildRequest,
        remote_identity: Identity,
        configuration: ConfigurationPayload | None,
        initial_contact: bool,
        init_tries: int | None,
        context: object,
    ) -> RemoteIkeSa:
        """Begin an IKE SA in the worker whose turn it is; IkeEstablished or IkeFailed follows."""
        worker, self._turn = self._turn, (self._turn + 1) % len(self._workers)
        number, self._next_number = self._next_number, self._next_number + 2
        sa = RemoteIkeSa(self, worker, number, local, remote, self.configuration.local_identity)
        sa.context = context
        self._workers[worker].sas[number] = sa
        ends = m.pack_end(local), m.pack_end(remote)
        self.command(
            worker, m.Connect(number, *ends, first_child, remote_identity, configuration, initial_contact, init_tries)
        )
        return sa

    def receive_datagrams(self, arrivals: Iterable[tuple[bytes, SocketAddress, SocketAddress]], now: float) -> None:
        """Drop messages: those of workers' IKE SAs come to the workers."""
        self._of_the_dead["dropped-no-worker"] += sum(1 for _ in arrivals)

    def datagrams_to_send(self) -> list[Datagram]:
        """None: workers send by themselves."""
        return []

    def events(self) -> list[tuple[RemoteIkeSa, Event]]:
        """What has happened, in order, each event returned once."""
        events, self._events = self._events, []
        return events

    def make_key_pairs(self, number: int) -> None:
        """Make up to that many key pairs in advance, all workers together."""
        self.command_all(m.MakeKeyPairs(-(-number // len(self._workers))))

    def next_timer(self) -> float | None:
        """Never: workers have their own timers."""
        return None

    def handle_timer(self, now: float) -> None:
        """Do nothing."""

    # Between the daemon's process and those of the workers

    def command(self, worker: int, command: m.Command) -> None:
        """Have a worker do something."""
        self._workers[worker].commands.append(command)

    def command_all(self, command: m.Command) -> None:
        """Have every worker do something."""
        for worker in self._workers:
            worker.commands.append(command)

    def commands(self, worker: int) -> list[m.Command]:
        """What a worker is to do, drained."""
        commands, self._workers[worker].commands = self._workers[worker].commands, []
        return commands

    def receive(self, worker: int, message: m.FromWorker) -> m.Installed | None:
        """A worker tells something.

        Returns:
            What it waits for, to be sent once the events are dealt with.
        """
        known = self._workers[worker]
        if isinstance(message, m.Described):
            for description in message.descriptions:
                sa = known.sas.get(description.number)
                if sa is not None:
                    sa.describe(description)
            return None
        known.half_open = message.half_open
        self.busy_s = max(self.busy_s, message.busy_s)
        if message.statistics is not None:
            known.statistics = Counter(message.statistics)
        for happened in message.happened:
            self._happened(worker, happened)
        return None if message.number is None else m.Installed(message.number)

    def lost(self, worker: int) -> list[str]:
        """A worker is dead, and its IKE SAs with it; another one takes its place.

        Returns:
            The identities of the nodes that had an established IKE SA there.
        """
        dead, self._workers[worker] = self._workers[worker], _Worker()
        self._of_the_dead += dead.statistics
        bereft = [str(sa.remote_identity) for sa in dead.sas.values() if sa.is_established]
        for sa in dead.sas.values():
            sa.end(WORKER_LOST)
        return bereft

    def emit(self, sa: RemoteIkeSa, event: Event) -> None:
        """Queue an event."""
        self._events.append((sa, event))

    def forget(self, sa: RemoteIkeSa) -> None:
        """An IKE SA is over."""
        self._workers[sa.worker].sas.pop(sa.number, None)
        peer = str(sa.remote_identity)
        with_peer = self._established.get(peer, set())
        with_peer.discard(sa)
        if not with_peer:
            self._established.pop(peer, None)

    def _happened(self, worker: int, happened: m.Happened) -> None:
        if isinstance(happened, m.StrangerRefused):
            self._refused(worker, happened)
            return
        sas = self._workers[worker].sas
        sa = sas.get(happened.number)
        if sa is None:
            if not isinstance(happened, m.Established) or happened.number % 2 == 0:
                return  # of an IKE SA that was given up here meanwhile
            sa = sas[happened.number] = self._seen(worker, happened.number, happened.view)
        match happened:
            case m.Established(view=view, initial_contact=initial_contact):
                if initial_contact:
                    self._close_others(view, worker)
                sa.show(view)
                self._established.setdefault(str(sa.remote_identity), set()).add(sa)
                self.emit(sa, IkeEstablished(cast(Identity, sa.remote_identity), None))
            case m.ChildAgreed(child=packed, replaces=replaces):
                child = m.unpack_child(packed)
                older = None if replaces is None else sa.children.get(replaces)
                sa.children[child.inbound_spi] = child
                self.emit(sa, ChildEstablished(child, older))
            case m.ChildRefused(name=name, reason=reason, detail=detail):
                self.emit(sa, ChildFailed(name, reason, detail))
            case m.ChildGone(inbound_spi=inbound_spi, reason=reason):
                sa.drop_child(inbound_spi, reason)
            case m.Moved(view=view, previous=previous, encapsulation=encapsulation):
                if sa.is_established:
                    sa.show(view)
                    sa.reroute(encapsulation)
                    self.emit(sa, PeerAddressChanged(m.unpack_end(previous)))
            case m.Rekeyed(successor=number, view=view):
                self._rekeyed(sa, number, view)
            case m.Failed(reason=reason, detail=detail):
                sa.end(reason, detail)
            case m.Closed(reason=reason):
                sa.end(reason)

    def _refused(self, worker: int, refusal: m.StrangerRefused) -> None:
        ends = m.unpack_end(refusal.local), m.unpack_end(refusal.remote)
        sa = RemoteIkeSa(self, worker, refusal.number, *ends, self.configuration.local_identity)
        sa.role, sa.state = Role.RESPONDER, State.CLOSED
        self.emit(sa, IkeFailed(refusal.reason, refusal.detail, refusal.claimed))

    def _close_others(self, newer: m.View, worker: int) -> None:
        """The peer has lost all it knew; what this worker had of it, it has ended itself."""
        for older in list(self._established.get(str(newer.remote_identity), ())):
            if older.worker != worker:
                self.command(older.worker, m.Abandon(older.number))
                older.end("initial-contact")

    def _rekeyed(self, sa: RemoteIkeSa, number: int, view: m.View) -> None:
        successor = self._seen(sa.worker, number, view)
        successor.context, successor.children, sa.children = sa.context, sa.children, {}
        self.forget(sa)
        self._workers[sa.worker].sas[number] = successor
        self._established.setdefault(str(successor.remote_identity), set()).add(successor)
        if not sa.is_established:
            # What was to be closed has got a successor just before; the command to close it means that now.
            successor.state = sa.state
            successor.drop_children()
        # For its users, who know both as NodeIkeSa, this SA is as good as one of this process.
        self.emit(sa, IkeRekeyed(cast(IkeSa, successor)))

    def _seen(self, worker: int, number: int, view: m.View) -> RemoteIkeSa:
        ends = m.unpack_end(view.local), m.unpack_end(view.remote)
        sa = RemoteIkeSa(self, worker, number, *ends, view.local_identity)
        sa.show(view)
        return sa
