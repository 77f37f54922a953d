"""What happens to a protected message: window, decryption, dispatch, answer (RFC 7296 sections 2.1 to 2.3 and 2.21).

In two steps, so that the endpoint can take the first one for all messages that have come before the second one for any:
opening, which changes nothing, and taking, which looks once more whether the message is still wanted.
"""

from __future__ import annotations

from collections.abc import Callable

from control.ikev2.address import SocketAddress
from control.ikev2.cipher import ProtectionError
from control.ikev2.errors import UnsupportedCriticalPayload
from control.ikev2.exchanges import auth_request, child_sa_request, informational, mobike, rekey_ike
from control.ikev2.exchanges.base import Exchange
from control.ikev2.fragmentation import OpenedMessage, drop_fragments, take_fragment
from control.ikev2.message import Header, split_encrypted
from control.ikev2.nat import note_origin
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payload_chain import parse_payloads
from control.ikev2.payloads import NotifyPayload, Payload, ReceivedPayloads
from control.ikev2.sa import IkeSa
from control.ikev2.states import State
from control.records import MutableRecord
from control.wire import WireError

Answer = Callable[[IkeSa, ReceivedPayloads, float], tuple[Payload, ...]]

_ANSWERS: dict[tuple[State, int], Answer] = {
    (State.HALF_OPEN, ExchangeType.IKE_AUTH): auth_request.answer,
    (State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA): child_sa_request.answer,
    (State.ESTABLISHED, ExchangeType.INFORMATIONAL): informational.answer,
    (State.CLOSING, ExchangeType.CREATE_CHILD_SA): child_sa_request.answer,
    (State.CLOSING, ExchangeType.INFORMATIONAL): informational.answer,
    (State.UNDECIDED, ExchangeType.CREATE_CHILD_SA): child_sa_request.answer,
    (State.UNDECIDED, ExchangeType.INFORMATIONAL): rekey_ike.answer_undecided,
    (State.OBSOLETE, ExchangeType.CREATE_CHILD_SA): child_sa_request.answer,
    (State.OBSOLETE, ExchangeType.INFORMATIONAL): informational.answer,
}
_UNREAD = ReceivedPayloads()


class _Opened(MutableRecord):
    """A decrypted message.

    Attributes:
        sa: the IKE SA.
        opened: the message.
        way: the addresses it came to and from.
        payloads: its contents, or what is wrong with them, once they are read.
    """

    sa: IkeSa
    opened: OpenedMessage
    way: tuple[SocketAddress, SocketAddress]
    payloads: ReceivedPayloads | WireError = _UNREAD

    def read(self) -> None:
        """Parse its contents."""
        try:
            self.payloads = parse_payloads(self.opened.first_type, self.opened.chain)
        except WireError as error:
            self.payloads = error


class OpenedRequest(_Opened, kw_only=True):
    """A decrypted request.

    Attributes:
        header: its header.
    """

    header: Header

    def take(self, now: float) -> None:
        """Answer it."""
        sa, header, exchanges, environment = self.sa, self.header, self.sa.exchanges, self.sa.environment
        answer = _answer_to(sa, header.exchange)
        if answer is None or header.message_id != exchanges.expected_id:
            environment.count("dropped-unexpected-request")
            return
        if sa.partial_messages:
            drop_fragments(sa, of_responses=False)
        sa.last_heard_at = now
        note_origin(sa, self.way, now)
        response, is_fatal = self._answered(answer, now)
        encoded = sa.protect(sa.header(header.exchange, header.message_id, is_response=True), response)
        exchanges.answered(self.opened.datagram, encoded)
        sa.send(encoded, *self.way, now)
        if is_fatal:
            _end(sa, now)
        sa.reschedule()

    def _answered(self, answer: Answer, now: float) -> tuple[tuple[Payload, ...], bool]:
        """The payloads of the answer, and whether they end the IKE SA."""
        sa, request, environment = self.sa, self.payloads, self.sa.environment
        try:
            if isinstance(request, WireError):
                raise request
            response = answer(sa, request, now)
            if self.header.exchange == ExchangeType.INFORMATIONAL:
                response = (*response, *mobike.answer(sa, request, *self.way, now))
        except UnsupportedCriticalPayload as error:
            environment.count("refused-unsupported-critical-payload")
            refusal = NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data=bytes((error.payload_type,)))
            return (refusal,), sa.state is State.HALF_OPEN
        except WireError as error:
            environment.count(f"refused-{error.reason}")
            return (NotifyPayload(NotifyType.INVALID_SYNTAX),), True
        return response, False


def open_request(
    sa: IkeSa, header: Header, data: bytes, local: SocketAddress, remote: SocketAddress, now: float
) -> OpenedRequest | None:
    """A protected request for ``sa``, opened; a repeated one gets the same answer again without any cryptography.

    None if there is nothing more to do about it.
    """
    exchanges, environment = sa.exchanges, sa.environment
    if header.message_id != exchanges.expected_id:
        if header.message_id == exchanges.expected_id - 1 and _is_repetition(sa, data):
            repeat_response(sa, local, remote, now)
        else:
            environment.count("dropped-unexpected-message-id")
        return None
    if _answer_to(sa, header.exchange) is None:
        environment.count("dropped-unexpected-request")
        return None
    opened = _open(sa, header, data, now)
    return None if opened is None else OpenedRequest(sa, opened, (local, remote), header=header)


def _answer_to(sa: IkeSa, exchange: int) -> Answer | None:
    """What answers a request of this kind now; other exchanges have to wait for IKE_AUTH, unless that takes rounds."""
    if sa.state is State.HALF_OPEN and exchange == ExchangeType.INFORMATIONAL:
        in_rounds = sa.handshake is not None and sa.handshake.eap is not None
        return auth_request.answer_informational if in_rounds else None
    return _ANSWERS.get((sa.state, exchange))


def _is_repetition(sa: IkeSa, data: bytes) -> bool:
    """Whether the peer asks for the answer to its previous request once more (RFC 7383 section 2.6.1).

    The request may come divided otherwise than before, as a peer looks for the size that gets through: what counts is
    an authentic first fragment.
    """
    if sa.exchanges.is_repetition(data):
        return True
    if sa.cipher is None or not sa.uses_fragments:
        return False
    try:
        encrypted = split_encrypted(data)
        if encrypted.fragment is None or encrypted.fragment.number != 1:
            return False
        sa.cipher.open(encrypted.body, encrypted.associated_data)
    except (WireError, ProtectionError):
        return False
    return True


def repeat_response(sa: IkeSa, local: SocketAddress, remote: SocketAddress, now: float) -> None:
    """Send the answer to the peer's last request once more."""
    if sa.exchanges.last_response is not None:
        sa.environment.count("responses-repeated")
        sa.send(sa.exchanges.last_response, local, remote, now)


class OpenedResponse(_Opened, kw_only=True):
    """A decrypted answer.

    Attributes:
        exchange: what it completes.
    """

    exchange: Exchange

    def take(self, now: float) -> None:
        """Complete the exchange."""
        sa, payloads, exchanges = self.sa, self.payloads, self.sa.exchanges
        if exchanges.current is not self.exchange:
            sa.environment.count("dropped-unexpected-response")
            return
        if sa.partial_messages:
            drop_fragments(sa, of_responses=True)
        sa.last_heard_at = now
        exchanges.end_current()
        note_origin(sa, self.way, now)
        if isinstance(payloads, WireError):
            # The peer and this side do not understand each other: clean up rather than guess (section 2.21).
            sa.environment.count(f"bad-response-{payloads.reason}")
            _give_up(sa, now)
        else:
            self.exchange.complete(sa, payloads, now)
            exchanges.advance(now)
        sa.reschedule()


def open_response(
    sa: IkeSa, header: Header, data: bytes, local: SocketAddress, remote: SocketAddress, now: float
) -> OpenedResponse | None:
    """A protected answer for ``sa``, opened; None if there is nothing more to do about it."""
    exchange = sa.exchanges.awaited(header.message_id, header.exchange)
    if exchange is None:
        sa.environment.count("dropped-unexpected-response")
        return None
    opened = _open(sa, header, data, now)
    return None if opened is None else OpenedResponse(sa, opened, (local, remote), exchange=exchange)


def _open(sa: IkeSa, header: Header, data: bytes, now: float) -> OpenedMessage | None:
    """The decrypted message, None if it is not authentic, or a fragment of it is missing."""
    if sa.cipher is None:
        sa.environment.count("dropped-unexpected-encryption")
        return None
    try:
        encrypted = split_encrypted(data, header)
        if encrypted.fragment is not None:
            return take_fragment(sa, encrypted, encrypted.fragment, data, now)
        chain = sa.cipher.open(encrypted.body, encrypted.associated_data)
        return OpenedMessage(encrypted.first_inner_type, chain, data)
    except (WireError, ProtectionError) as error:
        sa.environment.count(f"dropped-{error.reason}")
        return None


def _end(sa: IkeSa, now: float) -> None:
    """This side has answered with an error that ends the IKE SA."""
    if sa.state is State.HALF_OPEN:
        sa.fail("invalid-syntax", "malformed IKE_AUTH", now=now, linger=True)
    elif sa.state is State.ESTABLISHED:
        sa.close("invalid-syntax", now=now, linger=True)
    elif sa.state in (State.CLOSING, State.UNDECIDED, State.OBSOLETE):
        sa.finish_closing(now, linger=True)


def _give_up(sa: IkeSa, now: float) -> None:
    if sa.state is State.AUTH_SENT:
        sa.fail("invalid-syntax", "malformed answer", now=now)
    elif sa.state is State.ESTABLISHED:
        sa.delete(now)
    elif sa.state in (State.CLOSING, State.OBSOLETE):
        sa.finish_closing(now)
