"""Parts of strongSwan's vici protocol, as swanctl speaks it: swanctl itself starts too slowly to wait for something.

A packet is its length (4 bytes), its type and, for some types, a name; then a message of elements. Names have a length
of one byte, values one of two.
"""

from __future__ import annotations

import socket
from enum import IntEnum
from pathlib import Path
from typing import Any


class Packet(IntEnum):
    """Types of packets."""

    REQUEST = 0
    RESPONSE = 1
    REGISTER = 3
    CONFIRM = 5
    EVENT = 7


class Element(IntEnum):
    """Types of elements of a message."""

    SECTION_START = 1
    SECTION_END = 2
    KEY_VALUE = 3
    LIST_START = 4
    LIST_ITEM = 5
    LIST_END = 6


def stream(path: Path, command: str, event: str) -> list[dict[str, Any]]:
    """The messages of the events that a command without arguments causes."""
    messages: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as vici:
        vici.settimeout(60.0)
        vici.connect(str(path))
        _send(vici, Packet.REGISTER, event)
        assert _receive(vici)[0] == Packet.CONFIRM
        _send(vici, Packet.REQUEST, command)
        while (packet := _receive(vici))[0] == Packet.EVENT:
            messages.append(parse(packet[2 + packet[1] :]))
        assert packet[0] == Packet.RESPONSE, packet
    return messages


def request(path: Path, command: str, arguments: dict[str, str]) -> dict[str, Any]:
    """The answer to a command without events."""
    with socket.socket(socket.AF_UNIX) as vici:
        vici.settimeout(60.0)
        vici.connect(str(path))
        _send(vici, Packet.REQUEST, command, b"".join(_pair(*each) for each in arguments.items()))
        packet = _receive(vici)
    assert packet[0] == Packet.RESPONSE, packet
    return parse(packet[1:])


def _pair(key: str, value: str) -> bytes:
    return bytes((Element.KEY_VALUE, len(key))) + key.encode() + len(value).to_bytes(2, "big") + value.encode()


def _send(vici: socket.socket, kind: Packet, name: str, message: bytes = b"") -> None:
    packet = bytes((kind, len(name))) + name.encode() + message
    vici.sendall(len(packet).to_bytes(4, "big") + packet)


def _receive(vici: socket.socket) -> bytes:
    return _exactly(vici, int.from_bytes(_exactly(vici, 4), "big"))


def _exactly(vici: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = vici.recv(size - len(data))
        assert chunk, "charon has closed the connection"
        data += chunk
    return data


def parse(message: bytes) -> dict[str, Any]:
    """A message as dictionaries, lists and text."""
    top: dict[str, Any] = {}
    sections: list[Any] = [top]
    offset = 0

    def take(size_of_length: int) -> str:
        nonlocal offset
        start = offset + size_of_length
        offset = start + int.from_bytes(message[offset:start], "big")
        return message[start:offset].decode()

    while offset < len(message):
        kind = Element(message[offset])
        offset += 1
        if kind in (Element.SECTION_END, Element.LIST_END):
            sections.pop()
        elif kind is Element.LIST_ITEM:
            sections[-1].append(take(2))
        elif kind is Element.KEY_VALUE:
            key = take(1)
            sections[-1][key] = take(2)
        else:
            inner: Any = {} if kind is Element.SECTION_START else []
            sections[-1][take(1)] = inner
            sections.append(inner)
    return top
