"""The payloads of a message that came, found without going through them again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar, cast

from control.ikev2.numbers import FIRST_STATUS_NOTIFICATION
from control.ikev2.payloads.notify import NotifyPayload

if TYPE_CHECKING:
    from control.ikev2.payloads import Payload

_Wanted = TypeVar("_Wanted", bound="Payload")


class ReceivedPayloads(tuple["Payload", ...]):
    """Payloads in the order of the message."""

    _by_class: dict[type, Payload]
    _notifications: dict[int, NotifyPayload]

    def __new__(cls, payloads: Iterable[Payload]) -> ReceivedPayloads:
        """Index ``payloads``."""
        self = super().__new__(cls, payloads)
        by_class: dict[type, Payload] = {}
        notifications: dict[int, NotifyPayload] = {}
        for payload in self:
            if payload.__class__ is NotifyPayload:
                notifications.setdefault(payload.type, payload)
            else:
                by_class.setdefault(payload.__class__, payload)
        self._by_class = by_class
        self._notifications = notifications
        return self

    def first(self, wanted: type[_Wanted]) -> _Wanted | None:
        """The first payload of a class other than NotifyPayload, None if there is none."""
        return cast("_Wanted | None", self._by_class.get(wanted))

    def notification(self, kind: int) -> NotifyPayload | None:
        """The first notification of a type, None if there is none."""
        return self._notifications.get(kind)

    @property
    def error(self) -> NotifyPayload | None:
        """The first notification of an error, None if there is none."""
        for kind, notification in self._notifications.items():
            if kind < FIRST_STATUS_NOTIFICATION:
                return notification
        return None
