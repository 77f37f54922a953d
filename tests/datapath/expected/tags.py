"""802.1Q tags: a frame is judged without its tag, and what is not sent elsewhere has it again."""

from __future__ import annotations

from tests.datapath.expected.site import Check, Expected

_TYPE = b"\x81\0"


def tag_of(sent: bytes) -> bytes:
    """The tag at the beginning, empty if there is none."""
    return sent[12:16] if sent[12:14] == _TYPE and len(sent) >= 18 else b""


def identifier_of(tag: bytes) -> int:
    """The VLAN; 0 for none."""
    return int.from_bytes(tag[2:], "big") & 0xFFF


def without(tag: bytes, frame: bytes) -> bytes:
    return frame[:12] + frame[12 + len(tag) :]


def with_tag(tag: bytes, expected: Expected) -> Expected:
    """Of what goes to the kernel or back where it came from. What is sent elsewhere has the tag of its own way."""
    return {
        reason: _tagged(tag, outcome) if reason.verdict.name in ("PASS", "REPLY") else outcome
        for reason, outcome in expected.items()
    }


def _tagged(tag: bytes, outcome: bytes | Check | None) -> bytes | Check | None:
    if outcome is None or not tag:
        return outcome
    if isinstance(outcome, bytes):
        return outcome[:12] + tag + outcome[12:]
    check = outcome

    def is_right_and_has_the_tag(came: bytes) -> None:
        assert came[12:16] == tag
        check(without(tag, came))

    return is_right_and_has_the_tag
