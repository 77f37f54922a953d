"""IKE_SA_INIT: algorithms, nonces and the key exchange, in the clear (RFC 7296 sections 1.2, 2.6 and 2.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.address import SocketAddress
from control.ikev2.choices import IkeChoice, choose_ike
from control.ikev2.dh import InvalidPublicValue
from control.ikev2.environment import Environment
from control.ikev2.errors import UnsupportedCriticalPayload
from control.ikev2.events import IkeRedirected
from control.ikev2.exchanges.auth import AuthExchange
from control.ikev2.exchanges.base import NONCE_SIZE, slug
from control.ikev2.exchanges.eap_auth import EapAuthExchange
from control.ikev2.handshake import Handshake
from control.ikev2.message import ZERO_SPI, Header, Message, ReceivedMessage, encode_message, parse_message
from control.ikev2.nat import detect, detection_payloads, float_to_nat_traversal_port
from control.ikev2.numbers import DiffieHellmanGroup, ExchangeType, NotifyType, PayloadType
from control.ikev2.payloads import (
    EncodedPayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    ReceivedPayloads,
    SecurityAssociationPayload,
)
from control.ikev2.payloads.key_exchange import encoded_key_exchange
from control.ikev2.redirect import (
    SUPPORTED,
    RedirectStage,
    other_gateway,
    redirect_payload,
    redirected_from_payload,
    redirected_to,
    takes_redirects,
)
from control.ikev2.security import use_shared_secret
from control.ikev2.states import Role, State, Trigger
from control.records import MutableRecord
from control.wire import WireError

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

_MAX_COOKIE = 64
_MAX_RESTARTS = 6


class InitExchange:
    """This side begins an IKE SA.

    Args:
        group: the group to try first.
    """

    __slots__ = ("_cookie", "_group", "_restarts")

    exchange_type = ExchangeType.IKE_SA_INIT

    def __init__(self, group: DiffieHellmanGroup) -> None:
        self._group = group
        self._cookie: bytes | None = None
        self._restarts = 0

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange. Nonce and SPI stay the same when it is sent anew, so that a cookie stays good."""
        environment, handshake = sa.environment, sa.handshake
        if handshake is None:
            return None
        if not handshake.initiator_nonce:
            handshake.initiator_nonce = environment.random(NONCE_SIZE)
        if handshake.key_pair is None or handshake.key_pair.group is not self._group:
            handshake.key_pair = environment.key_pairs.take(self._group)
        cookie = () if self._cookie is None else (NotifyPayload(NotifyType.COOKIE, data=self._cookie),)
        return (
            *cookie,
            environment.ike_offer.payload,
            encoded_key_exchange(self._group, handshake.key_pair.public),
            (PayloadType.NONCE, handshake.initiator_nonce),
            *detection_payloads(environment, sa.local_spi + ZERO_SPI, sa.local, sa.remote),
            environment.signature_hashes,
            *environment.fragmentation_supported,
            *_redirection(environment, handshake),
        )

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange: the keys are there, IKE_AUTH follows."""
        sa.change(Trigger.SEND_AUTH)
        float_to_nat_traversal_port(sa)
        peer = sa.handshake.eap_peer if sa.handshake is not None else None
        sa.exchanges.submit(AuthExchange() if peer is None else EapAuthExchange(peer), now)

    def take_cookie(self, sa: IkeSa, cookie: bytes, now: float) -> None:
        """Return the cookie the responder asks to see."""
        if not 0 < len(cookie) <= _MAX_COOKIE or cookie == self._cookie:
            sa.environment.count("dropped-useless-cookie")
            return
        self._cookie = cookie
        self._restart(sa, now)

    def take_group(self, sa: IkeSa, error: NotifyPayload, now: float) -> None:
        """Use the group the responder prefers, if this side has offered it."""
        try:
            wanted = error.key_exchange_group()
        except WireError:
            wanted = DiffieHellmanGroup.NONE
        offered = {group for proposal in sa.environment.configuration.ike_proposals for group in proposal.groups}
        group = next((group for group in offered if group == wanted), None)
        if group is None or group is self._group:
            sa.environment.count("dropped-useless-group")
            return
        self._group = group
        self._restart(sa, now)

    def _restart(self, sa: IkeSa, now: float) -> None:
        self._restarts += 1
        if self._restarts <= _MAX_RESTARTS:
            sa.exchanges.restart(now)
        else:
            sa.environment.count("dropped-endless-restart")


def _redirection(environment: Environment, handshake: Handshake) -> tuple[Payload, ...]:
    """Whether this side can be redirected, or who has redirected it (RFC 5685 section 3)."""
    if handshake.redirected_from is not None:
        return (redirected_from_payload(handshake.redirected_from),)
    return (SUPPORTED,) if environment.configuration.follow_redirects else ()


class OpenedInitResponse(MutableRecord):
    """An answer to this side's IKE_SA_INIT, read. Nothing of it is authentic.

    Attributes:
        sa: the IKE SA.
        exchange: what it completes.
        message: what it says.
        data: the datagram.
        way: the addresses it came to and from.
    """

    sa: IkeSa
    exchange: InitExchange
    message: ReceivedMessage
    data: bytes
    way: tuple[SocketAddress, SocketAddress]

    def read(self) -> None:
        """Nothing: what is in the clear was read when it came, lest an answer that is none be kept."""

    def take(self, now: float) -> None:
        """Go on with IKE_AUTH, or try again as the answer says.

        Whatever is wrong with it is ignored: the right answer may still come (RFC 7296 section 2.21.1).
        """
        sa, exchange, handshake = self.sa, self.exchange, self.sa.handshake
        if handshake is None or sa.exchanges.current is not exchange:
            sa.environment.count("dropped-unexpected-response")
            return
        payloads = self.message.payloads
        key_exchange = payloads.first(KeyExchangePayload)
        if key_exchange is not None and self.message.header.responder_spi != ZERO_SPI:
            self._take_answer(handshake, key_exchange, now)
            return
        cookie = payloads.notification(NotifyType.COOKIE)
        wrong_group = payloads.notification(NotifyType.INVALID_KE_PAYLOAD)
        redirect = payloads.notification(NotifyType.REDIRECT)
        refusal = payloads.error
        if cookie is not None:
            exchange.take_cookie(sa, cookie.data, now)
        elif wrong_group is not None:
            exchange.take_group(sa, wrong_group, now)
        elif redirect is not None:
            _take_redirect(sa, handshake, redirect, now)
        elif refusal is not None:
            handshake.hint = slug(refusal)
            sa.exchanges.hasten_failure()
        else:
            sa.environment.count("dropped-incomplete-response")

    def _take_answer(self, handshake: Handshake, key_exchange: KeyExchangePayload, now: float) -> None:
        """Use what the responder has agreed to."""
        sa, environment, key_pair = self.sa, self.sa.environment, handshake.key_pair
        payloads = self.message.payloads
        answer = payloads.first(SecurityAssociationPayload)
        nonce = payloads.first(NoncePayload)
        if answer is None or nonce is None or key_pair is None:
            environment.count("dropped-incomplete-response")
            return
        suite = environment.ike_offer.accepted(answer)
        group = key_pair.group
        if suite is None or suite.group is not group or key_exchange.group != group:
            handshake.hint = "bad-proposal-chosen"
            sa.exchanges.hasten_failure()
            return
        try:
            secret = key_pair.exchange(key_exchange.data)
        except InvalidPublicValue as error:
            environment.count(f"dropped-{error.reason}")
            return
        handshake.init_request, handshake.init_response = sa.exchanges.request_datagrams[0], self.data
        sa.exchanges.end_current()
        sa.remote_spi = self.message.header.responder_spi
        handshake.responder_nonce = nonce.nonce
        handshake.peer_hashes = _signature_hashes(payloads)
        sa.uses_fragments = bool(_agreed_fragmentation(environment, payloads))
        sa.nat = detect(environment, payloads, sa.local_spi + sa.remote_spi, *self.way)
        use_shared_secret(sa, handshake, suite, secret)
        self.exchange.complete(sa, payloads, now)


def open_response(
    sa: IkeSa, header: Header, data: bytes, local: SocketAddress, remote: SocketAddress, _now: float
) -> OpenedInitResponse | None:
    """An answer to this side's IKE_SA_INIT, read; None if there is nothing more to do about it."""
    exchange = sa.exchanges.awaited(header.message_id, ExchangeType.IKE_SA_INIT)
    if sa.state is not State.INIT_SENT or not isinstance(exchange, InitExchange):
        sa.environment.count("dropped-unexpected-response")
        return None
    try:
        message = parse_message(data, header)
    except WireError as error:
        sa.environment.count(f"dropped-{error.reason}")
        return None
    return OpenedInitResponse(sa, exchange, message, data, (local, remote))


def _take_redirect(sa: IkeSa, handshake: Handshake, redirect: NotifyPayload, now: float) -> None:
    stage = RedirectStage.INIT
    gateway = redirected_to(sa.environment, redirect, stage, handshake.initiator_nonce)
    if gateway is not None:
        sa.environment.emit(sa, IkeRedirected(gateway, stage))
        sa.fail("redirected", str(gateway), now=now)


def _signature_hashes(payloads: ReceivedPayloads) -> frozenset[int] | None:
    listed = payloads.notification(NotifyType.SIGNATURE_HASH_ALGORITHMS)
    if listed is None:
        return None
    try:
        return frozenset(listed.hash_algorithms())
    except WireError:
        return frozenset()


def _agreed_fragmentation(environment: Environment, payloads: ReceivedPayloads) -> tuple[EncodedPayload, ...]:
    """What the responder says if both sides want to use fragments (RFC 7383 section 2.3), nothing otherwise."""
    if payloads.notification(NotifyType.FRAGMENTATION_SUPPORTED) is None:
        return ()
    return environment.fragmentation_supported


def answer(
    environment: Environment,
    make_sa: type[IkeSa],
    header: Header,
    data: bytes,
    local: SocketAddress,
    remote: SocketAddress,
    now: float,
) -> None:
    """Answer a stranger's IKE_SA_INIT request.

    An SA is made only for a request that is complete, acceptable and, under load, bears a cookie.
    """
    try:
        message = parse_message(data, header)
    except UnsupportedCriticalPayload as error:
        environment.count("dropped-unsupported-critical-payload")
        if environment.stranger_replies.take(now):
            notify = NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data=bytes((error.payload_type,)))
            _reply(environment, header, notify, local, remote)
        return
    except WireError as error:
        environment.count(f"dropped-{error.reason}")
        return
    payloads = message.payloads
    offer = payloads.first(SecurityAssociationPayload)
    key_exchange = payloads.first(KeyExchangePayload)
    nonce = payloads.first(NoncePayload)
    if offer is None or key_exchange is None or nonce is None:
        environment.count("dropped-incomplete-request")
        return
    if not _is_welcome(environment, message, nonce.nonce, local, remote, now):
        return
    choice = choose_ike(environment.configuration.ike_proposals, offer, key_exchange.group)
    if choice is None:
        environment.count("refused-no-proposal-chosen")
        _reply(environment, header, NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN), local, remote)
        return
    if choice.suite.group != key_exchange.group:
        environment.count("refused-invalid-ke-payload")
        _reply(environment, header, NotifyPayload.invalid_ke_payload(choice.suite.group), local, remote)
        return
    gateway = other_gateway(environment, None) if takes_redirects(payloads) else None
    if gateway is not None:
        environment.count("redirects-sent")
        _reply(environment, header, redirect_payload(gateway, nonce.nonce), local, remote)
        return
    key_pair = environment.key_pairs.take(choice.suite.group)
    try:
        secret = key_pair.exchange(key_exchange.data)
    except InvalidPublicValue as error:
        environment.count(f"dropped-{error.reason}")
        return
    sa = make_sa(environment, Role.RESPONDER, local, remote, now, Handshake())
    own = encoded_key_exchange(key_pair.group, key_pair.public)
    _accept(sa, message, data, choice, own, nonce.nonce, secret, now)


def _is_welcome(
    environment: Environment,
    message: ReceivedMessage,
    nonce: bytes,
    local: SocketAddress,
    remote: SocketAddress,
    now: float,
) -> bool:
    """Whether there is room for one more half-open SA; when it gets tight, strangers have to return a cookie."""
    if not environment.half_open.has_room(remote.address):
        environment.count("dropped-half-open-limit")
        return False
    if not environment.half_open.needs_cookie(remote.address, now):
        return True
    spi = message.header.initiator_spi
    returned = message.payloads.notification(NotifyType.COOKIE)
    if returned is not None:
        if environment.cookies.check(returned.data, nonce, remote, spi, now):
            environment.count("cookies-accepted")
            return True
        environment.count("cookies-refused")
    environment.count("cookies-sent")
    cookie = NotifyPayload(NotifyType.COOKIE, data=environment.cookies.bake(nonce, remote, spi, now))
    _reply(environment, message.header, cookie, local, remote)
    return False


def _accept(
    sa: IkeSa,
    message: ReceivedMessage,
    data: bytes,
    choice: IkeChoice,
    key_exchange: EncodedPayload,
    nonce: bytes,
    secret: bytes,
    now: float,
) -> None:
    environment, handshake = sa.environment, sa.handshake
    if handshake is None:
        return
    sa.remote_spi = message.header.initiator_spi
    handshake.initiator_nonce = nonce
    handshake.responder_nonce = environment.random(NONCE_SIZE)
    handshake.peer_hashes = _signature_hashes(message.payloads)
    handshake.init_request = data
    fragmentation = _agreed_fragmentation(environment, message.payloads)
    sa.uses_fragments = bool(fragmentation)
    sa.takes_redirects = takes_redirects(message.payloads)
    spis = sa.remote_spi + sa.local_spi
    sa.nat = detect(environment, message.payloads, sa.remote_spi + ZERO_SPI, sa.local, sa.remote)
    payloads: tuple[Payload, ...] = (
        choice.payload,
        key_exchange,
        (PayloadType.NONCE, handshake.responder_nonce),
        *(() if sa.nat is None else detection_payloads(environment, spis, sa.local, sa.remote)),
        *environment.certificate_request,
        *(() if handshake.peer_hashes is None else (environment.signature_hashes,)),
        *fragmentation,
    )
    header = sa.header(ExchangeType.IKE_SA_INIT, message.header.message_id, is_response=True)
    response = handshake.init_response = encode_message(Message(header, payloads))
    use_shared_secret(sa, handshake, choice.suite, secret)
    sa.enter_half_open(now)
    sa.exchanges.answered(data, (response,))
    sa.send((response,), sa.local, sa.remote, now)
    sa.reschedule()


def _reply(
    environment: Environment, request: Header, notify: NotifyPayload, local: SocketAddress, remote: SocketAddress
) -> None:
    """Answer a stranger in the clear, without keeping anything."""
    header = Header(request.initiator_spi, request.responder_spi, request.exchange, False, True, request.message_id)
    environment.send(encode_message(Message(header, (notify,))), local, remote)
