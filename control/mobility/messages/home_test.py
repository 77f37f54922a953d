"""Home Test (RFC 6275 section 6.1.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from control.mobility.messages.return_routability import TestMessage
from control.mobility.numbers import MobilityHeaderType


@dataclass(frozen=True, slots=True)
class HomeTest(TestMessage):
    """A correspondent node's answer to a Home Test Init message."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.HOME_TEST
