"""What happens to a protected message: window, decryption, dispatch, answer (RFC 7296 sections 2.1 to 2.3 and 2.21)."""

from __future__ import annotations

from collections.abc import Callable

from control.ikev2.address import SocketAddress
from control.ikev2.cipher import ProtectionError
from control.ikev2.errors import UnsupportedCriticalPayload
from control.ikev2.exchanges import auth_request, child_sa_request, informational, mobike, rekey_ike
from control.ikev2.fragmentation import OpenedMessage, drop_fragments, take_fragment
from control.ikev2.message import Header, parse_payloads, split_encrypted
from control.ikev2.nat import note_origin
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import NotifyPayload, Payload, ReceivedPayloads
from control.ikev2.sa import IkeSa
from control.ikev2.states import State
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


def receive_request(
    sa: IkeSa, header: Header, data: bytes, local: SocketAddress, remote: SocketAddress, now: float
) -> None:
    """Take a protected request for ``sa``; a repeated one gets the same answer again without any cryptography."""
    exchanges, environment = sa.exchanges, sa.environment
    if header.message_id != exchanges.expected_id:
        if header.message_id == exchanges.expected_id - 1 and _is_repetition(sa, data):
            repeat_response(sa, local, remote, now)
        else:
            environment.count("dropped-unexpected-message-id")
        return
    answer = _answer_to(sa, header.exchange)
    if answer is None:
        environment.count("dropped-unexpected-request")
        return
    opened = _open(sa, header, data, now)
    if opened is None:
        return
    if sa.partial_messages:
        drop_fragments(sa, of_responses=False)
    sa.last_heard_at = now
    note_origin(sa, local, remote, now)
    is_fatal = False
    try:
        request = parse_payloads(opened.first_type, opened.chain)
        response = answer(sa, request, now)
        if header.exchange == ExchangeType.INFORMATIONAL:
            response = (*response, *mobike.answer(sa, request, local, remote, now))
    except UnsupportedCriticalPayload as error:
        environment.count("refused-unsupported-critical-payload")
        refusal = NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data=bytes((error.payload_type,)))
        response = (refusal,)
        is_fatal = sa.state is State.HALF_OPEN
    except WireError as error:
        environment.count(f"refused-{error.reason}")
        response = (NotifyPayload(NotifyType.INVALID_SYNTAX),)
        is_fatal = True
    encoded = sa.protect(sa.header(header.exchange, header.message_id, is_response=True), response)
    exchanges.answered(opened.datagram, encoded)
    sa.send(encoded, local, remote, now)
    if is_fatal:
        _end(sa, now)


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


def receive_response(
    sa: IkeSa, header: Header, data: bytes, local: SocketAddress, remote: SocketAddress, now: float
) -> None:
    """Take a protected answer for ``sa``."""
    exchanges, environment = sa.exchanges, sa.environment
    exchange = exchanges.awaited(header.message_id, header.exchange)
    if exchange is None:
        environment.count("dropped-unexpected-response")
        return
    opened = _open(sa, header, data, now)
    if opened is None:
        return
    if sa.partial_messages:
        drop_fragments(sa, of_responses=True)
    sa.last_heard_at = now
    exchanges.end_current()
    note_origin(sa, local, remote, now)
    try:
        payloads = parse_payloads(opened.first_type, opened.chain)
    except WireError as error:
        # The peer and this side do not understand each other: clean up rather than guess (section 2.21).
        environment.count(f"bad-response-{error.reason}")
        _give_up(sa, now)
        return
    exchange.complete(sa, payloads, now)
    exchanges.advance(now)


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
