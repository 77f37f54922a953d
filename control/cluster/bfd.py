"""What FRR's bfdd says of its sessions on its control socket (`bfdd --bfdctl`), and when that means that a peer died.

Each message is a header (length of the text, identifier, type, version) and JSON. A client that asks for peers' states
is told all of them, and then every change.
"""

from __future__ import annotations

import json
import sys
from enum import IntEnum
from ipaddress import IPv6Address, ip_address
from struct import Struct
from typing import Any

_HEADER = Struct(">IHBB")  # length of what follows, identifier, type, version
_VERSION = 1
_NOTIFY = 4
_PEER_STATES = 1
_LONGEST = 1 << 16
_REQUEST_ID = 1


class Diagnostic(IntEnum):
    """Why a session went down (RFC 5880 section 4.1), so far as it matters here."""

    DETECTION_TIME_EXPIRED = 1
    ECHO_FAILED = 2


class BfdProtocolError(Exception):
    """What is behind the socket does not speak as bfdd does."""


class BfdWatch:
    """One connection to bfdd, without the socket.

    A peer has failed when its session was up and nothing came from it any more. One that says goodbye, because its
    session was shut down, or that hears nothing from this side, is alive.

    Attributes:
        states: what was said last of each peer, such as ``up``.
    """

    def __init__(self) -> None:
        self.states: dict[IPv6Address, str] = {}
        self._buffer = b""

    @staticmethod
    def request() -> bytes:
        """What to send first: the wish to be told the states of all peers."""
        wanted = _PEER_STATES.to_bytes(8, sys.byteorder)
        return _HEADER.pack(len(wanted), _REQUEST_ID, _NOTIFY, _VERSION) + wanted

    def receive(self, data: bytes) -> list[IPv6Address]:
        """Take what came from the socket; returns the peers that have failed.

        Raises:
            BfdProtocolError: it makes no sense.
        """
        self._buffer += data
        failed: list[IPv6Address] = []
        while len(self._buffer) >= _HEADER.size:
            length, _, kind, version = _HEADER.unpack_from(self._buffer)
            if version != _VERSION or length > _LONGEST:
                raise BfdProtocolError(f"a message of version {version} and {length} bytes")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            text, self._buffer = self._buffer[_HEADER.size : end], self._buffer[end:]
            if kind == _NOTIFY:
                failed += self._note(_parse(text))
        return failed

    def _note(self, message: dict[str, Any]) -> list[IPv6Address]:
        if message.get("op") != "status":
            return []
        try:
            peer = ip_address(message["peer-address"])
            state, diagnostic = str(message["state"]), int(message["diagnostics"])
        except (KeyError, TypeError, ValueError):
            raise BfdProtocolError(f"{str(message)[:200]} is no state of a peer") from None
        if not isinstance(peer, IPv6Address):
            return []
        before, self.states[peer] = self.states.get(peer), state
        return [peer] if before == "up" and state == "down" and diagnostic in tuple(Diagnostic) else []


def _parse(text: bytes) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise BfdProtocolError(f"{text[:200]!r} is no JSON object")
    return message
