"""Care-of Test (RFC 6275 section 6.1.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from control.mobility.messages.return_routability import TestMessage
from control.mobility.numbers import MobilityHeaderType


@dataclass(frozen=True, slots=True)
class CareOfTest(TestMessage):
    """A correspondent node's answer to a Care-of Test Init message."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.CARE_OF_TEST
