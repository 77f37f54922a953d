"""Home Test Init (RFC 6275 section 6.1.3)."""

from __future__ import annotations

from typing import ClassVar

from control.mobility.messages.return_routability import TestInitMessage
from control.mobility.numbers import MobilityHeaderType


class HomeTestInit(TestInitMessage, frozen=True):
    """Starts the return routability procedure by way of the home agent."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.HOME_TEST_INIT
