"""What a home agent tells whoever watches it: one vocabulary for the timeline, the log and the metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum

from msgspec import field

from control.records import Record


class TimelineEvent(StrEnum):
    """Kinds of things that happen, in the order of a rebootstrap."""

    LEASE_ACQUIRED = "lease-acquired"
    LEASE_LAPSED = "lease-lapsed"
    LEASE_LOST = "lease-lost"
    NODES_CLAIMED = "nodes-claimed"
    IKE_SA_INIT_SENT = "ike-sa-init-sent"
    IKE_ESTABLISHED = "ike-established"
    HOME_AGENT_SWITCH_SENT = "home-agent-switch-sent"
    BINDING_UPDATE = "binding-update"
    RECOVERED = "recovered"
    FIRST_PACKET = "first-packet"
    ATTEMPT_FAILED = "attempt-failed"
    GIVEN_UP = "given-up"
    DEREGISTERED = "deregistered"
    BINDING_EXPIRED = "binding-expired"
    TAKEOVER_FINISHED = "takeover-finished"
    DRAIN_FINISHED = "drain-finished"
    IKE_REFUSED = "ike-refused"
    CHILD_REFUSED = "child-refused"
    IKE_CLOSED = "ike-closed"
    BINDING_REFUSED = "binding-refused"
    NODE_DISMISSED = "node-dismissed"
    CLOCK_DIFFERS = "clock-differs"


class Happening(Record, frozen=True):
    """One entry of the timeline.

    Attributes:
        event: its kind.
        node: the IKE identity of the node it is about, None when it is about none.
        detail: further facts, ready for JSON; never secrets.
    """

    event: TimelineEvent
    node: str | None = None
    detail: dict[str, object] = field(default_factory=dict)


def line_of(event: str, node: str | None, detail: Mapping[str, object]) -> str:
    """An entry of the timeline for people: one line whatever peers have put into it, with words that ``grep`` finds."""
    pairs = (f"{key}={_word(value)}" for key, value in detail.items())
    return " ".join([event, *([] if node is None else [_word(node)]), *pairs])


def _word(value: object) -> str:
    """As it is if it is one word of printable characters, else in quotes with escapes."""
    text = str(value)
    return text if text and text.isprintable() and " " not in text and '"' not in text else json.dumps(text)
