"""Care-of Test (RFC 6275 section 6.1.6)."""

from __future__ import annotations

from typing import ClassVar

from control.mobility.messages.return_routability import TestMessage
from control.mobility.numbers import MobilityHeaderType


class CareOfTest(TestMessage, frozen=True):
    """A correspondent node's answer to a Care-of Test Init message."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.CARE_OF_TEST
