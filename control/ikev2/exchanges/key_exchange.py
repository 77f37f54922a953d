"""The key exchange inside CREATE_CHILD_SA (RFC 7296 section 1.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from control.ikev2.dh import InvalidPublicValue, KeyPair, is_supported
from control.ikev2.numbers import DiffieHellmanGroup
from control.ikev2.payloads import KeyExchangePayload, NotifyPayload, Payload, ReceivedPayloads
from control.ikev2.payloads.key_exchange import encoded_key_exchange
from control.wire import WireError

if TYPE_CHECKING:
    from control.ikev2.environment import Environment


def shared_secret(key_pair: KeyPair | None, payloads: ReceivedPayloads) -> bytes:
    """The secret that follows from the peer's answer, empty without a key exchange.

    Raises:
        InvalidPublicValue: the answer holds no usable public value of the group.
    """
    answer = None if key_pair is None else payloads.first(KeyExchangePayload)
    if key_pair is None or answer is None:
        return b""
    if answer.group != key_pair.group:
        raise InvalidPublicValue(f"group {answer.group}")
    return key_pair.exchange(answer.data)


def answer_key_exchange(
    environment: Environment, group: DiffieHellmanGroup | None, key_exchange: KeyExchangePayload | None
) -> tuple[bytes, tuple[Payload, ...]]:
    """The shared secret and the KE payload of the answer; nothing of both without a group.

    Raises:
        InvalidPublicValue: the request holds no usable public value.
    """
    if group is None or key_exchange is None or not is_supported(group):
        return b"", ()
    key_pair = environment.key_pairs.take(group)
    return key_pair.exchange(key_exchange.data), (encoded_key_exchange(group, key_pair.public),)


def wanted_group(error: NotifyPayload, offered: Iterable[DiffieHellmanGroup]) -> DiffieHellmanGroup | None:
    """The group an INVALID_KE_PAYLOAD asks for, None unless this side has offered it."""
    try:
        wanted = error.key_exchange_group()
    except WireError:
        return None
    return next((group for group in offered if group == wanted), None)
