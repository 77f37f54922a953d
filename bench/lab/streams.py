"""Following JSON lines: a file another process appends to, and the daemon's control socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.lab.errors import LabError

JsonObject = dict[str, Any]


class JsonLines:
    """Splits bytes into the JSON objects of complete lines; other lines are passed over."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[JsonObject]:
        """The objects completed by `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        objects = []
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                objects.append(value)
        return objects


class FileFollower:
    """New JSON lines of a growing file, without waiting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines = JsonLines()
        self._unread: list[JsonObject] = []

    def read(self) -> list[JsonObject]:
        """What was appended since the last call; nothing while the file does not exist."""
        unread, self._unread = self._unread, []
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return unread
        self._offset += len(data)
        return unread + self._lines.feed(data)

    def wait_for(self, event: str, timeout_s: float) -> JsonObject:
        """The next object whose "event" is `event`; others before it are passed over.

        Raises:
            LabError: none came in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            rows = self.read()
            for number, row in enumerate(rows, 1):
                if row.get("event") == event:
                    self._unread = rows[number:]
                    return row
            time.sleep(0.02)
        raise LabError(f"no {event!r} in {self._path.name} within {timeout_s:g} s")


class ControlStream:
    """One command on a daemon's control socket, its rows read without waiting."""

    def __init__(self, path: Path, command: str, arguments: Mapping[str, object] | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30.0)
        try:
            self._socket.connect(str(path))
            request = {"command": command, "arguments": dict(arguments or {})}
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            self._socket.close()
            raise LabError(f"control socket {path}: {error.strerror or error}") from None
        self._lines = JsonLines()
        self.closed = False
        self.done: JsonObject | None = None

    def read(self, timeout_s: float = 0.0) -> list[JsonObject]:
        """Rows that have arrived, waiting up to `timeout_s` for the first; sets `done` and `closed` at the end.

        Raises:
            LabError: the daemon answered with an error.
        """
        rows: list[JsonObject] = []
        self._socket.settimeout(timeout_s)
        while not self.closed:
            try:
                data = self._socket.recv(65536)
            except (BlockingIOError, TimeoutError):
                break
            except ConnectionError:
                data = b""
            self._socket.settimeout(0.0)
            if not data:
                self.close()
            for line in self._lines.feed(data):
                self._take(line, rows)
        return rows

    def _take(self, line: JsonObject, rows: list[JsonObject]) -> None:
        if "error" in line:
            self.close()
            raise LabError(f"the daemon refused: {line['error']}")
        if "row" in line:
            rows.append(line["row"])
        if "done" in line:
            self.done = line["done"]
            self.close()

    def close(self) -> None:
        """Let the daemon go."""
        self.closed = True
        self._socket.close()


def control_request(
    path: Path, command: str, arguments: Mapping[str, object] | None = None, timeout_s: float = 60.0
) -> tuple[list[JsonObject], JsonObject]:
    """Run a command to its end: its rows and what "done" carried.

    Raises:
        LabError: no connection, an error answer, or no end in time.
    """
    stream = ControlStream(path, command, arguments)
    rows: list[JsonObject] = []
    deadline = time.monotonic() + timeout_s
    while not stream.closed:
        left = deadline - time.monotonic()
        if left <= 0:
            stream.close()
            raise LabError(f"{command}: no end within {timeout_s:g} s")
        rows += stream.read(left)
    if stream.done is None:
        raise LabError(f"{command}: the daemon closed the connection before the end")
    return rows, stream.done
