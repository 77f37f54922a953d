"""Home Test (RFC 6275 section 6.1.5)."""

from __future__ import annotations

from typing import ClassVar

from control.mobility.messages.return_routability import TestMessage
from control.mobility.numbers import MobilityHeaderType


class HomeTest(TestMessage, frozen=True):
    """A correspondent node's answer to a Home Test Init message."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.HOME_TEST
