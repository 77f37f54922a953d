"""One IKE security association: what it knows, its life and what the application can do with it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec.structs import replace

from control.ikev2.address import Datagram, IpAddress, SocketAddress
from control.ikev2.child import ChildRequest, ChildSa
from control.ikev2.cipher import MessageCipher
from control.ikev2.environment import Environment
from control.ikev2.events import ChildClosed, ChildEstablished, IkeClosed, IkeEstablished, IkeFailed, PeerAddressChanged
from control.ikev2.exchange_manager import ExchangeManager
from control.ikev2.exchanges.create_child import CreateChildExchange
from control.ikev2.exchanges.informational import DeleteChildExchange, DeleteIkeExchange, LivenessExchange
from control.ikev2.exchanges.mobike import Mobike
from control.ikev2.exchanges.rekey_child import RekeyChildExchange
from control.ikev2.exchanges.rekey_ike import RekeyIkeExchange
from control.ikev2.fragmentation import PartialMessage, drop_expired_fragments, drop_fragments, seal_fragments
from control.ikev2.handshake import Handshake
from control.ikev2.lifetimes import Lifetimes, next_deadline
from control.ikev2.message import ZERO_SPI, Header, encrypted_prefix
from control.ikev2.nat import NatDetection, encapsulation_of, note_origin
from control.ikev2.payload_chain import EncodedChain, encode_payload_chain
from control.ikev2.payloads import ConfigurationPayload, Identity, Payload
from control.ikev2.proposals import IkeSuite
from control.ikev2.redirect import Gateway, RedirectExchange
from control.ikev2.states import Role, State, Trigger, next_state
from control.ikev2.succession import IkeRekeying, adopt_rival


class NotEstablished(RuntimeError):
    """The caller asked for something that only an established IKE SA can do."""


class IkeSa:
    """An IKE SA; made by :class:`control.ikev2.endpoint.IkeEndpoint` only.

    Attributes:
        environment: what it shares with the endpoint's other SAs.
        role: whether this side began.
        is_initiator: the same, without a comparison for every message.
        state: see State.
        uses_fragments: whether both sides take messages in fragments.
        takes_redirects: whether the peer has begun and can be sent to another gateway.
        partial_messages: messages of which fragments are missing: of the peer's request (False), of its answer (True).
        local_spi: 8 bytes, this side's SPI.
        remote_spi: 8 bytes, the peer's SPI, zero until known.
        local: address requests are sent from.
        remote: address requests are sent to; see :meth:`move`.
        mobike: what MOBIKE knows, None where it is not in force.
        nat: which side is behind a NAT, None if one of them does not look for NATs.
        local_identity: who this side is.
        remote_identity: the authenticated identity of the peer, None before.
        peer_configuration: the CP payload of the peer's IKE_AUTH.
        suite: the negotiated algorithms, None before.
        children: child SAs by this side's inbound SPI.
        context: whatever the application wants to keep with it.
        handshake_started_at: when IKE_SA_INIT was sent or received.
        established_at: when both sides were authenticated, None before.
        last_heard_at: when the last authentic message came, None before the first.
        last_sent_at: when the last datagram was handed out, None before the first.
        exchanges: message identifiers and retransmission.
        cipher: protects messages, None before there are keys.
        sk_d: the key that child keys are derived from.
        lifetimes: when it and its children are rekeyed.
        superseded: inbound SPIs of children that others, the values, have taken the place of and that are about to go.
        rekeying: this side's rekeying of it that is not answered yet, else None.
        predecessor: in state UNDECIDED the SA whose place it may take, else None.
        handshake: material of the handshake, None once it is over.
        expires_at: when a half-open or lingering SA is dropped, else infinity.
        looked_at: of the timer heap.
    """

    __slots__ = (
        "_close_reason",
        "_half_open_key",
        "children",
        "cipher",
        "context",
        "environment",
        "established_at",
        "exchanges",
        "expires_at",
        "handshake",
        "handshake_started_at",
        "is_initiator",
        "last_heard_at",
        "last_sent_at",
        "lifetimes",
        "local",
        "local_identity",
        "local_spi",
        "looked_at",
        "mobike",
        "nat",
        "partial_messages",
        "peer_configuration",
        "predecessor",
        "rekeying",
        "remote",
        "remote_identity",
        "remote_spi",
        "role",
        "sk_d",
        "state",
        "suite",
        "superseded",
        "takes_redirects",
        "uses_fragments",
    )

    def __init__(
        self,
        environment: Environment,
        role: Role,
        local: SocketAddress,
        remote: SocketAddress,
        now: float,
        handshake: Handshake | None,
    ) -> None:
        self.environment = environment
        self.role = role
        self.is_initiator = role is Role.INITIATOR
        self.state = State.IDLE
        self.local_spi = environment.new_ike_spi()
        self.remote_spi = ZERO_SPI
        self.local = local
        self.remote = remote
        self.local_identity: Identity = environment.configuration.local_identity
        self.remote_identity: Identity | None = None
        self.peer_configuration: ConfigurationPayload | None = None
        self.suite: IkeSuite | None = None
        self.children: dict[int, ChildSa] = {}
        self.context: object = None
        self.handshake_started_at = now
        self.established_at: float | None = None
        self.last_heard_at: float | None = None
        self.last_sent_at: float | None = None
        self.nat: NatDetection | None = None
        self.mobike: Mobike | None = None
        self.exchanges = ExchangeManager(self)
        self.cipher: MessageCipher | None = None
        self.uses_fragments = False
        self.takes_redirects = False
        self.partial_messages: dict[bool, PartialMessage] = {}
        self.sk_d = b""
        self.lifetimes = Lifetimes(environment)
        self.superseded: dict[int, int] = {}
        self.rekeying: IkeRekeying | None = None
        self.predecessor: IkeSa | None = None
        self.handshake = handshake
        self.expires_at = math.inf
        self.looked_at = math.inf
        self._half_open_key: tuple[SocketAddress, bytes] | None = None
        self._close_reason: str | None = None
        environment.by_spi[self.local_spi] = self

    def __repr__(self) -> str:
        return f"<IkeSa {self.local_spi.hex()} {self.role.value} {self.state.value} {self.remote}>"

    # What the application asks for

    @property
    def local_address(self) -> IpAddress:
        """This side's address."""
        return self.local.address

    @property
    def remote_address(self) -> IpAddress:
        """The peer's address."""
        return self.remote.address

    @property
    def initiator_spi(self) -> bytes:
        """The SPI of the side that began."""
        return self.local_spi if self.is_initiator else self.remote_spi

    @property
    def responder_spi(self) -> bytes:
        """The SPI of the side that answered."""
        return self.remote_spi if self.is_initiator else self.local_spi

    @property
    def is_established(self) -> bool:
        """Whether both sides are authenticated and neither has ended it."""
        return self.state is State.ESTABLISHED

    def create_child(self, request: ChildRequest, now: float) -> None:
        """Ask for a further child SA; ChildEstablished or ChildFailed follows."""
        self._require_established()
        self.exchanges.submit(CreateChildExchange(request), now)

    def delete_child(self, child: ChildSa | int, now: float) -> None:
        """Close a child SA, given itself or its inbound SPI; ChildClosed follows at once. Unknown ones are ignored."""
        spi = child if isinstance(child, int) else child.inbound_spi
        removed = self.remove_child(spi, "deleted")
        if removed is not None and self.is_established:
            self.exchanges.submit(DeleteChildExchange(spi, removed.outbound_spi), now)

    def rekey_child(self, child: ChildSa | int, now: float) -> None:
        """Put a new child SA in the place of one; ChildEstablished with ``replaces`` and then ChildClosed follow."""
        self._require_established()
        found = self.children.get(child if isinstance(child, int) else child.inbound_spi)
        if found is not None:
            self.exchanges.submit(RekeyChildExchange(self, found), now)

    def replace_child(self, child: ChildSa, now: float) -> None:
        """Rekey a child SA before its time, unless that is under way or done."""
        self.lifetimes.rekey_child_early(self, child.inbound_spi, now)

    def rekey(self, now: float) -> None:
        """Put a new IKE SA in the place of this one: IkeRekeyed follows; what the peer refuses is tried again."""
        self._require_established()
        self.exchanges.submit(RekeyIkeExchange(), now)

    def probe_liveness(self, now: float) -> None:
        """Ask the peer for a sign of life: PeerAlive follows, or IkeClosed("timeout").

        Any request serves as well, so nothing is sent while one is under way.
        """
        self._require_established()
        if self.exchanges.is_idle:
            self.exchanges.submit(LivenessExchange(), now)

    def redirect(self, gateway: Gateway, now: float) -> bool:
        """Send the peer to another gateway (RFC 5685 section 5), if it can be sent; returns whether it can."""
        self._require_established()
        if self.takes_redirects:
            self.exchanges.submit(RedirectExchange(gateway), now)
        return self.takes_redirects

    def heard(self, now: float) -> None:
        """Note a sign of life that the application has seen: an authentic packet on a child SA (section 2.4)."""
        # That only puts the next probe off: the timer may go on as it is set and find nothing to do.
        self.last_heard_at = now

    def move(
        self,
        now: float,
        *,
        local: SocketAddress | None = None,
        remote: SocketAddress | None = None,
        children: bool = True,
    ) -> bool:
        """Send requests from another address or to another one from now on, the one under way at once.

        Answers go to where a request came from, as ever. Its children's packets go that way too, if they
        are in UDP; without ``children`` only once :meth:`take_children_along` is called. Returns whether anything has
        changed.
        """
        before = (self.local, self.remote)
        self.local, self.remote = local or self.local, remote or self.remote
        if (self.local, self.remote) == before:
            return False
        if children:
            self.take_children_along(before[1])
        self.environment.count("moved")
        self.exchanges.repeat_at_new_address(now)
        return True

    def take_children_along(self, previous: SocketAddress) -> None:
        """Have the packets of its children go where the IKE SA goes; ``previous`` is where the peer was."""
        encapsulation = encapsulation_of(self)
        if encapsulation is not None:
            for spi, child in self.children.items():
                self.children[spi] = replace(child, encapsulation=encapsulation)
        if self.remote != previous and self.state is State.ESTABLISHED:
            self.environment.emit(self, PeerAddressChanged(previous))

    def heard_from(self, local: SocketAddress, remote: SocketAddress, now: float) -> None:
        """Note where an authentic and new packet on a child SA, in UDP, came to and from: the peer may be there now."""
        note_origin(self, (local, remote), now)

    def delete(self, now: float) -> None:
        """Close the IKE SA and its children.

        ChildClosed follows at once for each child, IkeClosed when the peer has answered or does not. An SA that is
        not established yet is abandoned.
        """
        if self.state is not State.ESTABLISHED:
            self.abandon(now)
            return
        self.terminate("deleted", now)

    def abandon(self, now: float) -> None:
        """Forget the IKE SA and its children at once, without a word to the peer."""
        if self.state in (State.INIT_SENT, State.AUTH_SENT, State.HALF_OPEN):
            self.fail("abandoned", now=now)
        elif self.state is State.ESTABLISHED:
            self.close("abandoned", now=now)
        elif self.state in (State.CLOSING, State.UNDECIDED, State.OBSOLETE):
            self.finish_closing(now)

    def _require_established(self) -> None:
        if self.state is not State.ESTABLISHED:
            raise NotEstablished(f"the IKE SA is {self.state.value}")

    # Its life, driven by the exchanges

    def change(self, trigger: Trigger) -> None:
        """Move to the state the table says."""
        self.state = next_state(self.state, trigger)

    def enter_half_open(self, now: float) -> None:
        """Begin to count as a stranger's SA, for a limited time."""
        self.change(Trigger.ANSWER_INIT)
        self._half_open_key = (self.remote, self.remote_spi)
        self.environment.half_open.add(*self._half_open_key, self)
        self.expires_at = now + self.environment.configuration.half_open_lifetime_s

    def establish(
        self, peer: Identity, configuration: ConfigurationPayload | None, now: float, *, initial_contact: bool = False
    ) -> None:
        """Both sides are authenticated."""
        environment = self.environment
        self.change(Trigger.AUTHENTICATED)
        self._leave_half_open()
        self.expires_at = math.inf
        self.handshake = None
        self.remote_identity = peer
        self.peer_configuration = configuration
        self.established_at = now
        self.lifetimes.begin_ike(now)
        environment.enlist(self, peer)
        environment.emit(self, IkeEstablished(peer, configuration, initial_contact))
        environment.statistics["established"] += 1

    def add_child(self, child: ChildSa, now: float, replaces: ChildSa | None = None) -> None:
        """A child SA was agreed, in the place of ``replaces`` if that is given."""
        self.children[child.inbound_spi] = child
        self.lifetimes.begin_child(child.inbound_spi, now)
        if replaces is not None:
            self.supersede(replaces, child)
        self.environment.emit(self, ChildEstablished(child, replaces))

    def supersede(self, older: ChildSa, newer: ChildSa) -> None:
        """``newer`` has taken the place of ``older``, which one of the sides is about to delete."""
        self.superseded[older.inbound_spi] = newer.inbound_spi

    def remove_child(self, inbound_spi: int, reason: str) -> ChildSa | None:
        """A child SA is over; one that it had taken the place of is in force again."""
        child = self.children.pop(inbound_spi, None)
        if child is not None:
            newer = self.superseded.pop(inbound_spi, None)
            for older in [spi for spi, successor in self.superseded.items() if successor == inbound_spi]:
                del self.superseded[older]
                if newer is not None:
                    self.superseded[older] = newer
            self.lifetimes.end_child(inbound_spi)
            self.environment.emit(self, ChildClosed(child, reason if newer is None else "rekeyed"))
        return child

    def fail(
        self, reason: str, detail: str = "", *, now: float, linger: bool = False, claimed: Identity | None = None
    ) -> None:
        """The handshake came to nothing; with ``linger`` the refusal stays to be repeated."""
        self._report_failure(reason, detail, claimed)
        self.end(now, linger=linger)

    def refuse(self, exchange: DeleteIkeExchange, reason: str, detail: str, now: float) -> None:
        """The handshake came to nothing and the peer, which believes otherwise, is told by ``exchange``."""
        self._report_failure(reason, detail)
        self.begin_closing(now, exchange)

    def close(self, reason: str, *, now: float, linger: bool = False) -> None:
        """The established SA is over and the peer knows, or cannot be told."""
        self._close_children()
        self.environment.emit(self, IkeClosed(reason))
        self.end(now, linger=linger)

    def begin_closing(self, now: float, exchange: DeleteIkeExchange | None = None) -> None:
        """Tell the peer that the SA is over, by ``exchange`` if it has something special to say."""
        self.change(Trigger.CLOSE)
        self._close_children()
        self.exchanges.take_queue()
        self.exchanges.submit(exchange or DeleteIkeExchange(), now)

    def terminate(self, reason: str, now: float) -> None:
        """Close the established SA for ``reason``, of which the application and the peer are told."""
        if self.state is State.ESTABLISHED:
            self._close_reason = reason
            self.begin_closing(now)

    def finish_closing(self, now: float, *, linger: bool = False) -> None:
        """The peer knows that the SA is over, or does not answer."""
        if self._close_reason is not None:
            self.environment.emit(self, IkeClosed(self._close_reason))
        self.end(now, linger=linger)

    def peer_unresponsive(self, now: float) -> None:
        """The peer did not answer a request."""
        if self.state in (State.CLOSING, State.OBSOLETE):
            self.finish_closing(now)
        elif self.state is State.ESTABLISHED and self.rekeying is not None and self.rekeying.has_rival:
            adopt_rival(self, self.rekeying, now)
        elif self.state is State.ESTABLISHED:
            self.close("timeout", now=now)
        else:
            hint = self.handshake.hint if self.handshake is not None else None
            self.fail(hint or "timeout", "the peer does not answer" if hint is None else "", now=now)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if now >= self.expires_at:
            if self.state is State.HALF_OPEN:
                self.environment.count("half-open-expired")
                self.fail("timeout", "no valid IKE_AUTH came", now=now)
            else:
                self.end(now)
        else:
            drop_expired_fragments(self, now)
            self.exchanges.handle_timer(now)
            if self.state is State.ESTABLISHED:
                self.lifetimes.handle(self, now)
        self.reschedule()

    def reschedule(self) -> None:
        """Tell the timer heap when this SA wants attention next, wherever that may be sooner than before."""
        deadline = next_deadline(self)
        if deadline < self.looked_at:
            self.environment.timers.bring_forward(self, deadline)

    def _report_failure(self, reason: str, detail: str, claimed: Identity | None = None) -> None:
        self.environment.emit(self, IkeFailed(reason, detail, claimed))
        self.environment.count(f"failed-{reason}")

    def _close_children(self) -> None:
        for spi in list(self.children):
            self.remove_child(spi, "ike-closed")

    def _leave_half_open(self) -> None:
        if self._half_open_key is not None:
            self.environment.half_open.remove(*self._half_open_key)
            self._half_open_key = None

    def end(self, now: float, *, linger: bool = False) -> None:
        """Forget the SA; with ``linger`` its last answer stays to be repeated."""
        if self.rekeying is not None:
            self.rekeying.drop(now)
            self.rekeying = None
        self.environment.delist(self)
        self.handshake = None
        self.exchanges.abandon()
        drop_fragments(self)
        if linger:
            # A stranger's SA goes on counting against the limit of half-open ones while it lingers.
            self.change(Trigger.LINGER)
            self.expires_at = now + self.environment.configuration.linger_s
            return
        self.change(Trigger.FORGET)
        self._leave_half_open()
        if self.cipher is not None:
            self.cipher.idle()
        self.exchanges.release()
        self.environment.by_spi.pop(self.local_spi, None)
        self.environment.timers.remove(self)

    # Messages

    def send(self, datagrams: Iterable[bytes], local: SocketAddress, remote: SocketAddress, now: float) -> None:
        """Hand out datagrams of this SA for sending."""
        for datagram in datagrams:
            self.environment.outbox.append(Datagram(datagram, local, remote))
        self.last_sent_at = now

    def header(self, exchange: int, message_id: int, *, is_response: bool) -> Header:
        """The header of a message from this side."""
        if self.is_initiator:
            return Header(self.local_spi, self.remote_spi, exchange, True, is_response, message_id)
        return Header(self.remote_spi, self.local_spi, exchange, False, is_response, message_id)

    def protect(self, header: Header, payloads: tuple[Payload, ...]) -> tuple[bytes, ...]:
        """The datagrams of a protected message: several if it is large and the peer takes fragments."""
        return self.seal(header, encode_payload_chain(payloads))

    def seal(self, header: Header, encoded: EncodedChain) -> tuple[bytes, ...]:
        """The same, of payloads that are encoded already."""
        cipher = self.cipher
        if cipher is None:
            raise NotEstablished("there are no keys yet")
        first_type, chain = encoded
        body_size = cipher.body_size(len(chain))
        prefix = encrypted_prefix(header, first_type, body_size)
        if self.uses_fragments and len(prefix) + body_size > (most := self.environment.configuration.fragment_size):
            return seal_fragments(cipher, header, first_type, chain, most)
        return (prefix + cipher.seal(chain, prefix),)
