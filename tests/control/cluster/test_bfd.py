"""Which of what bfdd says means that a peer died."""

from __future__ import annotations

import json
import struct
import sys
from ipaddress import IPv6Address

import pytest

from control.cluster.bfd import BfdProtocolError, BfdWatch

PEER, OTHER = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:a3::1")
EXPIRED, SIGNALED = 1, 3


def message(content: object, kind: int = 4, version: int = 1) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack(">IHBB", len(text), 0, kind, version) + text


def state(name: str, diagnostic: int = 0, peer: object = PEER) -> bytes:
    return message({"op": "status", "peer-address": str(peer), "state": name, "diagnostics": diagnostic})


def test_all_states_are_asked_for() -> None:
    assert BfdWatch.request() == struct.pack(">IHBB", 8, 1, 4, 1) + (1).to_bytes(8, sys.byteorder)


@pytest.mark.parametrize(
    ("before", "after", "failed"),
    [
        (state("up"), state("down", EXPIRED), [PEER]),
        (state("up"), state("down", 2), [PEER]),
        (state("up"), state("down", SIGNALED), []),  # it said goodbye, or does not hear us
        (state("up"), state("adm-down", 7), []),
        (state("up"), state("down", 5), []),
        (state("down", EXPIRED), state("down", EXPIRED), []),
        (state("init"), state("down", EXPIRED), []),
        (b"", state("down", EXPIRED), []),  # it was dead when the watch began
        (state("up", peer=OTHER), state("down", EXPIRED), []),
        (state("up", peer="192.0.2.1"), state("down", EXPIRED, peer="192.0.2.1"), []),
    ],
)
def test_a_peer_has_failed_if_it_was_up_and_is_silent(before: bytes, after: bytes, failed: list[IPv6Address]) -> None:
    watch = BfdWatch()
    watch.receive(before)
    assert watch.receive(after) == failed


def test_messages_may_come_in_any_pieces_and_of_any_kind() -> None:
    watch = BfdWatch()
    said = message({"status": "ok"}, kind=1) + state("up") + message({"op": "add"}) + state("down", EXPIRED)
    failed = [peer for octet in said for peer in watch.receive(bytes((octet,)))]
    assert failed == [PEER]
    assert BfdWatch().receive(said + state("up") + state("down", EXPIRED)) == [PEER, PEER]


@pytest.mark.parametrize(
    "said",
    [
        message({"op": "status"}, version=2),
        struct.pack(">IHBB", 1 << 20, 0, 4, 1),
        message(b"{"),
        message([1]),
        message({"op": "status"}),
        state("up", peer="nowhere"),
        message({"op": "status", "peer-address": str(PEER), "state": "up", "diagnostics": None}),
    ],
)
def test_what_makes_no_sense_is_refused(said: bytes) -> None:
    with pytest.raises(BfdProtocolError):
        BfdWatch().receive(said)
