"""Cookies for strangers at little cost: their IKE_SA_INIT requests are not parsed as long as everybody needs a cookie.

Under a flood this is what most datagrams get. Only the nonce is looked for, which the cookie depends on; whatever is
unusual is left to the whole parser.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.address import SocketAddress
from control.ikev2.cookies import COOKIE_SIZE
from control.ikev2.message import HEADER_SIZE, ZERO_SPI, Header, Message, encode_message
from control.ikev2.numbers import ExchangeType, NotifyType, PayloadType
from control.ikev2.payload_chain import PAYLOAD_HEADER_SIZE
from control.ikev2.payloads import NotifyPayload

if TYPE_CHECKING:
    from control.ikev2.environment import Environment

_FIRST_REQUEST = ZERO_SPI + bytes((PayloadType.SECURITY_ASSOCIATION, 0x20, ExchangeType.IKE_SA_INIT, 0x08, 0, 0, 0, 0))
"""A first request from byte 8 of the header on: no responder's SPI, an SA payload, version 2.0, from the initiator."""
_MOST_PAYLOADS = 8
_NONCE_SIZES = range(16, 257)
_ANSWER = encode_message(
    Message(
        Header(ZERO_SPI, ZERO_SPI, ExchangeType.IKE_SA_INIT, False, True, 0),
        (NotifyPayload(NotifyType.COOKIE, data=bytes(COOKIE_SIZE)),),
    )
)[len(ZERO_SPI) : -COOKIE_SIZE]


def answer_with_cookie(
    environment: Environment, data: bytes, local: SocketAddress, remote: SocketAddress, now: float
) -> bool:
    """Ask the sender of a first IKE_SA_INIT request for a cookie, if everybody is asked.

    Returns:
        False if the datagram has to be looked at properly: it may be something else, be malformed, bear a cookie (which
        precedes the other payloads) or repeat a request that was answered.
    """
    if data[8:24] != _FIRST_REQUEST or not environment.half_open.everybody_needs_a_cookie(now):
        return False
    spi = data[:8]
    if int.from_bytes(data[24:28], "big") != len(data) or environment.half_open.get(remote, spi) is not None:
        return False
    nonce = _nonce(data)
    if nonce is None:
        return False
    environment.count("received-ike-sa-init-request")
    environment.count("cookies-sent")
    environment.send(spi + _ANSWER + environment.cookies.bake(nonce, remote, spi, now), local, remote)
    return True


def _nonce(data: bytes) -> bytes | None:
    """The data of the first nonce payload of a request that begins with an SA payload, if it is easily found."""
    kind, offset = int(PayloadType.SECURITY_ASSOCIATION), HEADER_SIZE
    for _ in range(_MOST_PAYLOADS):
        header = data[offset : offset + PAYLOAD_HEADER_SIZE]
        size = int.from_bytes(header[2:], "big")
        if len(header) < PAYLOAD_HEADER_SIZE or size < PAYLOAD_HEADER_SIZE or offset + size > len(data):
            return None
        if kind == PayloadType.NONCE:
            nonce = data[offset + PAYLOAD_HEADER_SIZE : offset + size]
            return nonce if len(nonce) in _NONCE_SIZES else None
        kind, offset = header[0], offset + size
    return None
