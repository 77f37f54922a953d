"""The payloads of a message that came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from control.ikev2.numbers import FIRST_STATUS_NOTIFICATION
from control.ikev2.payloads.notify import NotifyPayload

if TYPE_CHECKING:
    from control.ikev2.payloads import ReceivedPayload

_Wanted = TypeVar("_Wanted", bound="ReceivedPayload")


class ReceivedPayloads(tuple["ReceivedPayload", ...]):
    """Payloads in the order of the message.

    They are few and looked for seven times: an index of them takes longer to make than going through them.
    """

    __slots__ = ()

    def first(self, wanted: type[_Wanted]) -> _Wanted | None:
        """The first payload of a class, None if there is none."""
        payload: Any
        for payload in self:
            if payload.__class__ is wanted:
                found: _Wanted = payload
                return found
        return None

    def notification(self, kind: int) -> NotifyPayload | None:
        """The first notification of a type, None if there is none."""
        for payload in self:
            if payload.__class__ is NotifyPayload and payload.type == kind:
                return payload
        return None

    @property
    def error(self) -> NotifyPayload | None:
        """The first notification of an error, None if there is none."""
        for payload in self:
            if payload.__class__ is NotifyPayload and payload.type < FIRST_STATUS_NOTIFICATION:
                return payload
        return None
