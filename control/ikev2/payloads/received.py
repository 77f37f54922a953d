"""The payloads of a message that came."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import compress
from operator import is_
from typing import TYPE_CHECKING, Any, TypeVar

from control.ikev2.numbers import FIRST_STATUS_NOTIFICATION
from control.ikev2.payloads.notify import NotifyPayload

if TYPE_CHECKING:
    from control.ikev2.payloads import ReceivedPayload

_is_notification = partial(is_, NotifyPayload)
_Wanted = TypeVar("_Wanted", bound="ReceivedPayload")


class ReceivedPayloads(tuple["ReceivedPayload", ...]):
    """Payloads in the order of the message.

    Attributes:
        notifications: the Notify payloads among them, in the same order.
    """

    def __init__(self, payloads: Iterable[ReceivedPayload] = ()) -> None:
        members: tuple[Any, ...] = self
        classes = [*map(type, members)]
        # Backwards, so that the first of a class is the one that stays.
        self._first: dict[type, Any] = dict(zip(reversed(classes), reversed(members), strict=True))
        self.notifications: tuple[NotifyPayload, ...] = ()
        if NotifyPayload in self._first:
            self.notifications = tuple(compress(members, map(_is_notification, classes)))

    def first(self, wanted: type[_Wanted]) -> _Wanted | None:
        """The first payload of a class, None if there is none."""
        found: _Wanted | None = self._first.get(wanted)
        return found

    def notification(self, kind: int) -> NotifyPayload | None:
        """The first notification of a type, None if there is none."""
        for each in self.notifications:
            if each.type == kind:
                return each
        return None

    @property
    def error(self) -> NotifyPayload | None:
        """The first notification of an error, None if there is none."""
        for each in self.notifications:
            if each.type < FIRST_STATUS_NOTIFICATION:
                return each
        return None
