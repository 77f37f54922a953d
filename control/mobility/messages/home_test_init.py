"""Home Test Init (RFC 6275 section 6.1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from control.mobility.messages.return_routability import TestInitMessage
from control.mobility.numbers import MobilityHeaderType


@dataclass(frozen=True, slots=True)
class HomeTestInit(TestInitMessage):
    """Starts the return routability procedure by way of the home agent."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.HOME_TEST_INIT
