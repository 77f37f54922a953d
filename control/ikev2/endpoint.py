"""The IKEv2 endpoint: every IKE SA of a daemon or node, found by SPI. It does no input or output of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable

from control.eap.peer import EapPeer
from control.ikev2.address import Datagram, SocketAddress
from control.ikev2.certificates import CertificateValidator
from control.ikev2.child import ChildRequest
from control.ikev2.dh import KeyPairPool, is_supported
from control.ikev2.environment import Environment
from control.ikev2.errors import UnsupportedMajorVersion
from control.ikev2.events import Event
from control.ikev2.exchange_manager import begin_requests
from control.ikev2.exchanges import init
from control.ikev2.first_look import answer_with_cookie
from control.ikev2.fragmentation import MIN_FRAGMENT_SIZE
from control.ikev2.handshake import Handshake
from control.ikev2.message import ZERO_SPI, Header, Message, encode_message, parse_header
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import ConfigurationPayload, Identity, NotifyPayload
from control.ikev2.policy import CertificateMaterial, IkeConfiguration, PeerPolicy
from control.ikev2.reception import OpenedRequest, OpenedResponse, open_request, open_response, repeat_response
from control.ikev2.redirect import Gateway
from control.ikev2.sa import IkeSa
from control.ikev2.states import Role, Trigger
from control.wire import WireError

_MAJOR_VERSION = 2
_IKE_SA_INIT = ExchangeType.IKE_SA_INIT
_INIT_REQUEST = (_IKE_SA_INIT, False)
_RECEIVED_SLUGS: dict[tuple[int, bool], str] = {
    (exchange, is_response): f"received-{exchange.name.lower().replace('_', '-')}-{kind}"
    for exchange in ExchangeType
    for is_response, kind in ((False, "request"), (True, "response"))
}
Opened = init.OpenedInitResponse | OpenedRequest | OpenedResponse


class IkeEndpoint:
    """Takes datagrams and times, gives datagrams, events and the time of the next timer.

    Args:
        configuration: settings of all SAs.
        policy: what the application decides.
        random: source of random bytes, fit for keys.
        allocate_spi: gives SPIs for inbound ESP that are not in use.
        certificates: checks peers' certificates; None makes one from the configuration's trust anchors. Endpoints with
            the same anchors may share one.

    Raises:
        ValueError: the configuration names a Diffie-Hellman group that is not supported, or too small fragments.
    """

    def __init__(
        self,
        configuration: IkeConfiguration,
        policy: PeerPolicy,
        random: Callable[[int], bytes],
        allocate_spi: Callable[[], int],
        certificates: CertificateValidator | None = None,
    ) -> None:
        groups = {group for proposal in configuration.ike_proposals for group in proposal.groups}
        groups |= {group for proposal in configuration.esp_proposals for group in proposal.groups}
        for group in groups:
            if not is_supported(group):
                raise ValueError(f"Diffie-Hellman group {group.name} is not supported")
        if configuration.fragment_size and configuration.fragment_size < MIN_FRAGMENT_SIZE:
            raise ValueError(f"fragments of {configuration.fragment_size} bytes, less than {MIN_FRAGMENT_SIZE}")
        self._environment = Environment(configuration, policy, random, allocate_spi, certificates)

    def __len__(self) -> int:
        """How many IKE SAs there are, half-open and lingering ones included."""
        return len(self._environment.by_spi)

    @property
    def configuration(self) -> IkeConfiguration:
        """The settings."""
        return self._environment.configuration

    def use_certificates(self, material: CertificateMaterial) -> None:
        """Authenticate with other certificates from now on; the IKE SAs there are stay."""
        self._environment.use_certificates(material)

    @property
    def statistics(self) -> Counter[str]:
        """Counters by slug."""
        return self._environment.statistics

    @property
    def key_pairs(self) -> KeyPairPool:
        """Key pairs made in advance; refill it when there is nothing else to do."""
        return self._environment.key_pairs

    def make_key_pairs(self, number: int) -> None:
        """Make up to that many of them, while there is nothing else to do."""
        self._environment.key_pairs.refill(number)

    @property
    def certificates(self) -> CertificateValidator:
        """The certificates seen; validating a known peer's chain in advance spares the work in a burst."""
        return self._environment.certificates

    @property
    def half_open(self) -> int:
        """How many IKE SAs strangers have begun and not completed."""
        return len(self._environment.half_open)

    def sas(self) -> Collection[IkeSa]:
        """All IKE SAs; a view that changes with them."""
        return self._environment.by_spi.values()

    def sas_with(self, peer: Identity) -> tuple[IkeSa, ...]:
        """The established IKE SAs with an authenticated identity, oldest first."""
        return tuple(self._environment.by_peer.get(peer, ()))

    def connect(
        self,
        local: SocketAddress,
        remote: SocketAddress,
        now: float,
        *,
        first_child: ChildRequest,
        remote_identity: Identity | None = None,
        configuration: ConfigurationPayload | None = None,
        initial_contact: bool = False,
        init_tries: int | None = None,
        redirected_from: Gateway | None = None,
        eap: EapPeer | None = None,
        context: object = None,
    ) -> IkeSa:
        """Begin an IKE SA; IkeEstablished or IkeFailed follows.

        Args:
            local: address to send from.
            remote: address of the peer.
            now: monotonic seconds.
            first_child: the child SA to make along with it.
            remote_identity: whom to reach, sent as IDr and demanded of the peer; needed for a shared key. None accepts
                whoever has a certificate and the policy's approval.
            configuration: the CP payload to send: an unsolicited CFG_REPLY or a CFG_REQUEST.
            initial_contact: tell the peer that this side knows of no other SAs with it.
            init_tries: how often IKE_SA_INIT is sent before the peer counts as gone; None: as often as any request.
            eap: what this side proves itself with instead of a shared key or certificate; the peer needs a certificate.
            redirected_from: the gateway that has sent this side to ``remote`` (RFC 5685).
            context: kept as ``IkeSa.context``.
        """
        handshake = Handshake(
            remote_identity=remote_identity,
            first_child=first_child,
            configuration=configuration,
            initial_contact=initial_contact,
            init_tries=init_tries,
            redirected_from=redirected_from,
            eap_peer=eap,
        )
        sa = IkeSa(self._environment, Role.INITIATOR, local, remote, now, handshake)
        sa.context = context
        sa.change(Trigger.SEND_INIT)
        sa.exchanges.submit(init.InitExchange(self._environment.ike_offer.proposals[0].groups[0]), now)
        return sa

    def receive_datagram(self, data: bytes, local: SocketAddress, remote: SocketAddress, now: float) -> None:
        """Take a UDP payload; see :meth:`receive_datagrams`."""
        self.receive_datagrams(((data, local, remote),), now)

    def receive_datagrams(self, arrivals: Iterable[tuple[bytes, SocketAddress, SocketAddress]], now: float) -> None:
        """Take UDP payloads that have come together; never raises for whatever they hold.

        All of them are opened before any is acted upon, except that an IKE SA takes its own one after the other.

        Args:
            arrivals: each without a non-ESP marker, with the addresses it came to and from.
            now: monotonic seconds.
        """
        by_spi, opened = self._environment.by_spi, dict[bytes, Opened]()
        for data, local, remote in arrivals:
            header = self._screen(data, local, remote, now)
            if header is None:
                continue
            # This side's SPI is the one that the sender did not choose.
            local_spi, remote_spi = header.initiator_spi, header.responder_spi
            if header.is_initiator:
                local_spi, remote_spi = remote_spi, local_spi
            if local_spi in opened:
                _take(opened, now)
            sa = by_spi.get(local_spi)
            if (
                sa is None
                or sa.is_initiator is header.is_initiator
                or (sa.remote_spi != remote_spi and header.exchange != _IKE_SA_INIT)
            ):
                self._refuse_unknown_spi(header, local, remote, now)
                continue
            if not header.is_response:
                message: Opened | None = open_request(sa, header, data, local, remote, now)
            elif header.exchange == _IKE_SA_INIT:
                message = init.open_response(sa, header, data, local, remote, now)
            else:
                message = open_response(sa, header, data, local, remote, now)
            if message is not None:
                opened[local_spi] = message
            else:
                sa.reschedule()  # it may be a fragment, which is not kept for ever
        _take(opened, now)

    def _screen(self, data: bytes, local: SocketAddress, remote: SocketAddress, now: float) -> Header | None:
        """The header of a message for an IKE SA; what is for none is dealt with here."""
        environment = self._environment
        if data[8:16] == ZERO_SPI and answer_with_cookie(environment, data, local, remote, now):
            return None
        try:
            header = parse_header(data)
        except UnsupportedMajorVersion as error:
            self._refuse_version(error, local, remote, now)
            return None
        except WireError as error:
            environment.count(f"dropped-{error.reason}")
            return None
        kind = header.exchange, header.is_response
        environment.statistics[_RECEIVED_SLUGS.get(kind, "received-unknown-exchange")] += 1
        if kind == _INIT_REQUEST:
            self._receive_init_request(header, data, local, remote, now)
            return None
        return header

    def datagrams_to_send(self) -> list[Datagram]:
        """The datagrams to send, each returned once."""
        begin_requests(self._environment)
        datagrams, self._environment.outbox = self._environment.outbox, []
        return datagrams

    def events(self) -> list[tuple[IkeSa, Event]]:
        """What has happened, in order, each event returned once.

        Requests that are due begin if there is nothing to tell but what comes of that. Whoever asks until there is
        nothing more has all that was asked for meanwhile begin at once.
        """
        if not self._environment.event_queue:
            begin_requests(self._environment)
        events, self._environment.event_queue = self._environment.event_queue, []
        return events

    def next_timer(self) -> float | None:
        """When handle_timer wants to be called next, None for never."""
        begin_requests(self._environment)
        return self._environment.timers.next_deadline()

    def handle_timer(self, now: float) -> None:
        """Repeat requests and drop what has expired."""
        while (sa := self._environment.timers.pop_due(now)) is not None:
            sa.handle_timer(now)

    def _receive_init_request(
        self, header: Header, data: bytes, local: SocketAddress, remote: SocketAddress, now: float
    ) -> None:
        environment = self._environment
        known = environment.half_open.get(remote, header.initiator_spi)
        if known is not None:
            if known.exchanges.is_repetition(data):
                repeat_response(known, local, remote, now)
            else:
                environment.count("dropped-duplicate-spi")
        elif header.message_id == 0 and header.is_initiator and not any(header.responder_spi):
            init.answer(environment, IkeSa, header, data, local, remote, now)
        else:
            environment.count("dropped-bad-initiation")

    def _refuse_unknown_spi(self, header: Header, local: SocketAddress, remote: SocketAddress, now: float) -> None:
        """A request for an SA this side has forgotten may be told so (RFC 7296 section 2.21.4)."""
        self._environment.count("dropped-unknown-spi")
        if not header.is_response:
            self._answer_stranger(header, NotifyType.INVALID_IKE_SPI, local, remote, now)

    def _refuse_version(
        self, error: UnsupportedMajorVersion, local: SocketAddress, remote: SocketAddress, now: float
    ) -> None:
        self._environment.count(f"dropped-{error.reason}")
        if error.major_version > _MAJOR_VERSION and not error.header.is_response:
            self._answer_stranger(error.header, NotifyType.INVALID_MAJOR_VERSION, local, remote, now)

    def _answer_stranger(
        self, request: Header, notify: NotifyType, local: SocketAddress, remote: SocketAddress, now: float
    ) -> None:
        if not self._environment.stranger_replies.take(now):
            return
        header = Header(
            request.initiator_spi,
            request.responder_spi,
            request.exchange,
            not request.is_initiator,
            True,
            request.message_id,
        )
        self._environment.send(encode_message(Message(header, (NotifyPayload(notify),))), local, remote)


def _take(opened: dict[bytes, Opened], now: float) -> None:
    for message in opened.values():
        message.read()
    for message in opened.values():
        message.take(now)
    opened.clear()
