from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.lab.errors import LabError
from bench.lab.streams import ControlStream, FileFollower, JsonLines, control_request


def test_lines_may_arrive_in_pieces_and_other_output_is_passed_over() -> None:
    lines = JsonLines()
    assert lines.feed(b'{"a": 1}\nnot json\n[1]\n{"b"') == [{"a": 1}]
    assert lines.feed(b": 2}\n") == [{"b": 2}]


def test_follower_returns_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "events"
    follower = FileFollower(path)
    assert follower.read() == []
    path.write_text('{"event": "one"}\n{"event"')
    assert follower.read() == [{"event": "one"}]
    with path.open("a") as file:
        file.write(': "two"}\n')
    assert follower.read() == [{"event": "two"}]
    with pytest.raises(LabError, match="three"):
        follower.wait_for("three", 0.05)


def test_what_follows_what_was_waited_for_is_read_next(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text('{"event": "one"}\n{"event": "two"}\n{"event": "three"}\n{"event": "two"}\n')
    follower = FileFollower(path)
    assert follower.wait_for("two", 1.0) == {"event": "two"}
    assert follower.wait_for("two", 1.0) == {"event": "two"}
    assert follower.read() == []
    follower = FileFollower(path)
    follower.wait_for("two", 1.0)
    assert [row["event"] for row in follower.read()] == ["three", "two"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """Answers each connection with the lines that its "arguments" ask for."""
    path = tmp_path / "control.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as reader:
                request = json.loads(reader.readline())
                for line in request["arguments"]["answer"]:
                    connection.sendall(json.dumps(line).encode() + b"\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield path
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


def test_rows_and_done(daemon: Path) -> None:
    answer = [{"row": {"n": 1}}, {"row": {"n": 2}}, {"done": {"count": 2}}]
    assert control_request(daemon, "sas", {"answer": answer}) == ([{"n": 1}, {"n": 2}], {"count": 2})


def test_refusal_and_lost_connection_are_errors(daemon: Path, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no such thing"):
        control_request(daemon, "sas", {"answer": [{"error": {"message": "no such thing", "remedy": "none"}}]})
    with pytest.raises(LabError, match="before the end"):
        control_request(daemon, "sas", {"answer": [{"row": {}}]})
    with pytest.raises(LabError, match="absent"):
        ControlStream(tmp_path / "absent", "status")
