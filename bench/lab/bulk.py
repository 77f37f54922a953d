"""A bulk TCP transfer whose content is checked: `python -m bench.lab.bulk receive|send`.

`receive` listens on one port of every address and, per connection, prints a JSON line with bytes, seconds and
whether the content was what the sender generates; `send` sends and prints the same for its side.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import socket
import sys
import time
from collections.abc import Sequence

_CHUNK = 1 << 16
_TIMEOUT_S = 90.0


def content(seed: int = 1) -> bytes:
    """One chunk of incompressible, reproducible content; a transfer repeats it."""
    return hashlib.shake_256(seed.to_bytes(4)).digest(_CHUNK)


def send(address: str, port: int, size: int, timeout_s: float = _TIMEOUT_S) -> dict[str, object]:
    """Send `size` bytes and wait until the peer confirms that it has all of them."""
    chunk = content()
    started = time.monotonic()
    with socket.create_connection((address, port), timeout=timeout_s) as connection:
        connected = time.monotonic()
        left = size
        while left > 0:
            part = chunk[: min(left, _CHUNK)]
            connection.sendall(part)
            left -= len(part)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").readline()
    seconds = time.monotonic() - started
    confirmed = json.loads(answer) if answer else {}
    return {
        "bytes": size,
        "seconds": seconds,
        "connect_s": connected - started,
        "intact": confirmed.get("bytes") == size and confirmed.get("intact") is True,
    }


def receive_one(connection: socket.socket) -> dict[str, object]:
    """Take one transfer, answer with a JSON line, and return what it said."""
    expected = hashlib.sha256()
    actual = hashlib.sha256()
    chunk, total = content(), 0
    buffer = bytearray(_CHUNK)
    started = time.monotonic()
    while count := connection.recv_into(buffer):
        actual.update(memoryview(buffer)[:count])
        _extend_expected(expected, chunk, total, count)
        total += count
    result: dict[str, object] = {
        "bytes": total,
        "seconds": time.monotonic() - started,
        "intact": actual.digest() == expected.digest(),
    }
    connection.sendall(json.dumps(result).encode() + b"\n")
    return result


def _extend_expected(digest: hashlib._Hash, chunk: bytes, offset: int, count: int) -> None:
    start = offset % _CHUNK
    while count > 0:
        part = chunk[start : start + count]
        digest.update(part)
        count -= len(part)
        start = 0


def receive_forever(port: int) -> None:
    """Serve transfers, one after the other, on every address of the namespace."""
    with socket.create_server(("::", port), family=socket.AF_INET6, backlog=4) as server:
        print(json.dumps({"event": "listening", "port": port}), flush=True)
        while True:
            connection, peer = server.accept()
            with connection:
                connection.settimeout(_TIMEOUT_S)
                try:
                    result = receive_one(connection)
                except OSError as error:
                    result = {"error": str(error)}
                print(json.dumps({"event": "received", "peer": peer[0], **result}), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.lab.bulk", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    receiver = commands.add_parser("receive")
    receiver.add_argument("--port", type=int, required=True)
    sender = commands.add_parser("send")
    sender.add_argument("address")
    sender.add_argument("--port", type=int, required=True)
    sender.add_argument("--bytes", type=int, required=True)
    options = parser.parse_args(arguments)
    if options.command == "receive":
        receive_forever(options.port)
    try:
        result = send(options.address, options.port, options.bytes)
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    print(json.dumps(result), flush=True)
    return 0 if result["intact"] else 1


if __name__ == "__main__":
    sys.exit(main())
