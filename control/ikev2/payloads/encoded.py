"""Payloads that are to be sent, encoded already: most are the same each time, or nothing but bytes at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from control.ikev2.payloads import KnownPayload

EncodedPayload = tuple[int, bytes]
"""The type and the body of a payload to be sent; never the outcome of parsing.

An ordinary tuple, for that takes a tenth of the time of an object with names.
"""


def encoded(payload: KnownPayload) -> EncodedPayload:
    """The payload, encoded now."""
    return payload.payload_type, payload.to_wire()
