"""Care-of Test Init (RFC 6275 section 6.1.4)."""

from __future__ import annotations

from typing import ClassVar

from control.mobility.messages.return_routability import TestInitMessage
from control.mobility.numbers import MobilityHeaderType


class CareOfTestInit(TestInitMessage, frozen=True):
    """Starts the return routability procedure straight from the care-of address."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.CARE_OF_TEST_INIT
