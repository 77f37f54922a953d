"""What every exchange this side begins has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import NotifyPayload, Payload, ReceivedPayloads

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

NONCE_SIZE = 32
"""Bytes of this side's nonces: at least half the key size of every supported PRF (RFC 7296 section 2.10)."""

FATAL_ERRORS = frozenset(
    (NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, NotifyType.INVALID_SYNTAX, NotifyType.AUTHENTICATION_FAILED)
)
"""Errors that end an IKE SA without a Delete payload (RFC 7296 section 2.21.2)."""


class Exchange(Protocol):
    """One request of this side and what to do with its answer."""

    @property
    def exchange_type(self) -> ExchangeType:
        """The type in the header."""
        ...

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """The payloads of the request; None if there is nothing to ask any more."""
        ...

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """Take the peer's authentic answer."""
        ...


class ChildMaking:
    """An exchange of this side from which a child SA may come.

    Attributes:
        closed_spis: the peer's SPIs that it has closed while the request was under way and that this side did not know;
            the latest, if they are many.
    """

    __slots__ = ("closed_spis",)

    def __init__(self) -> None:
        self.closed_spis: tuple[bytes, ...] = ()


def slug(error: NotifyPayload) -> str:
    """The name of an error for counters and events."""
    if isinstance(error.type, NotifyType):
        return error.type.name.lower().replace("_", "-")
    return f"error-{error.type}"
