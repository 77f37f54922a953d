"""Redirecting peers to another gateway (RFC 5685): the notifications, when to redirect, and what follows."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import Identity, NotifyPayload, Payload, ReceivedPayloads, encoded
from control.wire import WireError

if TYPE_CHECKING:
    from control.ikev2.environment import Environment
    from control.ikev2.sa import IkeSa

Gateway = IPv6Address | IPv4Address | str
"""A gateway by address or by DNS name."""

Redirection = Callable[[Identity | None, int], Gateway | None]
"""Where a peer is to go instead, None to serve it.

Called with its authenticated identity, or None for a stranger's IKE_SA_INIT, and the number of IKE SAs with others.
"""

_IPV4, _IPV6, _FQDN = 1, 2, 3
_HEADER_SIZE = 2
_LARGEST_NAME = 255
SUPPORTED = encoded(NotifyPayload(NotifyType.REDIRECT_SUPPORTED))
"""What an initiator sends that can be redirected."""


class RedirectStage(Enum):
    """When a peer was redirected."""

    INIT = "init"
    """By the answer to IKE_SA_INIT, which nobody has authenticated."""
    AUTH = "auth"
    """By the authenticated answer to IKE_AUTH."""
    SESSION = "session"
    """In the middle of a session."""


def redirect_payload(gateway: Gateway, nonce: bytes = b"") -> NotifyPayload:
    """REDIRECT (section 9.2); ``nonce`` is the initiator's, in the answer to IKE_SA_INIT only."""
    return NotifyPayload(NotifyType.REDIRECT, data=_encode(gateway) + nonce)


def redirected_from_payload(gateway: Gateway) -> NotifyPayload:
    """REDIRECTED_FROM (section 9.3)."""
    return NotifyPayload(NotifyType.REDIRECTED_FROM, data=_encode(gateway))


def parse_gateway(data: bytes) -> tuple[Gateway, bytes]:
    """The gateway in a notification's data, and the nonce behind it.

    Raises:
        WireError: ``truncated``, ``bad-length``, ``unknown-gateway-type`` or ``bad-name``.
    """
    if len(data) < _HEADER_SIZE or len(data) < _HEADER_SIZE + data[1]:
        raise WireError("truncated", "gateway identity")
    kind, end = data[0], _HEADER_SIZE + data[1]
    identity, rest = data[_HEADER_SIZE:end], data[end:]
    if kind in (_IPV4, _IPV6):
        if len(identity) != (4 if kind == _IPV4 else 16):
            raise WireError("bad-length", f"gateway address of {len(identity)} bytes")
        return (IPv4Address(identity) if kind == _IPV4 else IPv6Address(identity)), rest
    if kind != _FQDN:
        raise WireError("unknown-gateway-type", str(kind))
    if not identity or not all(0x21 <= byte < 0x7F for byte in identity):
        raise WireError("bad-name", "gateway name")
    return identity.decode("ascii"), rest


def _encode(gateway: Gateway) -> bytes:
    if isinstance(gateway, IPv6Address):
        kind, identity = _IPV6, gateway.packed
    elif isinstance(gateway, IPv4Address):
        kind, identity = _IPV4, gateway.packed
    else:
        kind, identity = _FQDN, gateway.encode("ascii")[:_LARGEST_NAME]
    return bytes((kind, len(identity))) + identity


# The gateway that redirects


def takes_redirects(payloads: ReceivedPayloads) -> bool:
    """Whether a request of IKE_SA_INIT says that its sender can be redirected (section 3)."""
    kinds = (NotifyType.REDIRECT_SUPPORTED, NotifyType.REDIRECTED_FROM)
    return any(payloads.notification(kind) is not None for kind in kinds)


def other_gateway(environment: Environment, peer: Identity | None) -> Gateway | None:
    """Where a peer that takes redirects has to go instead."""
    decide = environment.configuration.redirection
    if decide is None:
        return None
    others = len(environment.by_spi) - len(environment.half_open) - (peer is not None)
    return decide(peer, others)


class RedirectExchange:
    """Tells the peer of an established IKE SA to go to another gateway (section 5)."""

    __slots__ = ("_gateway",)

    exchange_type = ExchangeType.INFORMATIONAL

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        return (redirect_payload(self._gateway),)

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange: the peer deletes the SA when it has found its way."""
        sa.environment.count("redirects-acknowledged")


# The initiator that is redirected


def redirected_to(
    environment: Environment, notification: NotifyPayload, stage: RedirectStage, nonce: bytes = b""
) -> Gateway | None:
    """Where a REDIRECT sends this side; None if it is not to be followed.

    Args:
        environment: of the SA.
        notification: REDIRECT.
        stage: when it came.
        nonce: this side's, which an answer to IKE_SA_INIT has to repeat.
    """
    if not environment.configuration.follow_redirects:
        environment.count("redirects-not-followed")
        return None
    try:
        gateway, repeated = parse_gateway(notification.data)
    except WireError as error:
        environment.count(f"redirect-{error.reason}")
        return None
    if stage is RedirectStage.INIT and not (nonce and hmac.compare_digest(repeated, nonce)):
        environment.count("redirect-wrong-nonce")
        return None
    environment.count("redirected")
    return gateway
