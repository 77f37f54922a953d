"""The control socket: rows, ends, errors, and clients that misbehave."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from control import control_socket
from control.control_socket import Arguments, CommandError, ControlServer, Reply, Row, ask


async def bindings(arguments: Arguments, reply: Reply) -> Row:
    for number in range(arguments.get("count", 2)):
        await reply.row({"home_address": IPv6Address(number + 1)})
    return {"bindings": arguments.get("count", 2)}


async def refuse(arguments: Arguments, reply: Reply) -> Row:
    raise CommandError("there is no home agent ha9", "See `homeagent status`.")


async def broken(arguments: Arguments, reply: Reply) -> Row:
    raise RuntimeError("our own fault")


async def endless(arguments: Arguments, reply: Reply) -> Row:
    try:
        await reply.row({"event": "started"})
        await asyncio.Event().wait()
    finally:
        ENDED.append(True)
    return {}


ENDED: list[bool] = []
COMMANDS = {"bindings": bindings, "refuse": refuse, "broken": broken, "endless": endless}


def with_server(path: Path, use: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        server = ControlServer(path, COMMANDS)
        await server.start()
        try:
            await use()
        finally:
            await server.close()

    asyncio.run(run())


def in_client(path: Path, command: str, arguments: Arguments | None = None) -> tuple[list[Row], Row]:
    rows, done = [], {}

    async def use() -> None:
        def talk() -> None:
            with ask(path, command, arguments) as answer:
                rows.extend(answer)
                done.update(answer.done)

        await asyncio.to_thread(talk)

    with_server(path, use)
    return rows, done


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


def test_rows_and_what_comes_at_the_end(path: Path) -> None:
    assert in_client(path, "bindings") == ([{"home_address": "::1"}, {"home_address": "::2"}], {"bindings": 2})


def test_many_rows(path: Path) -> None:
    rows, done = in_client(path, "bindings", {"count": 5000})
    assert len(rows) == done["bindings"] == 5000


def test_a_command_refuses(path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        in_client(path, "refuse")
    assert caught.value.message == "there is no home agent ha9"
    assert caught.value.remedy == "See `homeagent status`."


def test_an_unknown_command(path: Path) -> None:
    with pytest.raises(CommandError, match=r"no command 'explode'\. It has bindings, broken, endless, refuse\."):
        in_client(path, "explode")


def test_a_fault_of_the_daemon_is_logged_and_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(CommandError, match="the daemon failed to answer"):
        in_client(path, "broken")
    assert "our own fault" in caplog.text


def test_only_its_user_may_connect_and_it_is_removed_at_the_end(path: Path) -> None:
    async def use() -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    with_server(path, use)
    assert not path.exists()


def test_a_client_that_leaves_ends_its_command(path: Path) -> None:
    ENDED.clear()

    async def use() -> None:
        def talk() -> None:
            with ask(path, "endless", timeout_s=None) as answer:
                assert next(iter(answer)) == {"event": "started"}

        await asyncio.to_thread(talk)
        while not ENDED:
            await asyncio.sleep(0.01)

    with_server(path, use)


def test_closing_the_server_ends_running_commands(path: Path) -> None:
    ENDED.clear()
    begun: list[Row] = []
    errors: list[CommandError] = []

    async def run() -> None:
        server = ControlServer(path, COMMANDS)
        await server.start()

        def talk() -> None:
            try:
                rows = iter(ask(path, "endless", timeout_s=None))
                begun.append(next(rows))
                list(rows)
            except CommandError as error:
                errors.append(error)

        client = asyncio.create_task(asyncio.to_thread(talk))
        while not begun:
            await asyncio.sleep(0.01)
        await server.close()
        await client

    asyncio.run(run())
    assert ENDED
    assert "ended the connection" in errors[0].message


@pytest.mark.parametrize(
    "request_line",
    [
        b"\n",
        b"{}\n",
        b"[]\n",
        b'{"command": 4}\n',
        b"\xff\xfe\n",
        b'{"command": "status", "arguments": []}\n',
        b"x" * 2_000_000,
    ],
)
def test_what_is_no_request_is_answered_as_such(path: Path, request_line: bytes) -> None:
    answers: list[bytes] = []

    async def use() -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(request_line)
        answers.append(await reader.readline())
        writer.close()

    with_server(path, use)
    assert answers[0].startswith(b'{"error":{"message":"not a request (')


def test_too_many_clients_are_turned_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "_MAX_CLIENTS", 1)

    async def use() -> None:
        first = ask(path, "endless", timeout_s=None)
        with first:
            iterator = iter(first)
            await asyncio.to_thread(next, iterator)
            with pytest.raises(CommandError, match="clients are connected already"):
                await asyncio.to_thread(list, ask(path, "bindings"))

    with_server(path, use)


def test_a_client_that_does_not_read_is_dropped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "_READ_WITHIN_S", 0.05)
    dropped = []

    async def waits_for_its_reader(arguments: Arguments, reply: Reply) -> Row:
        try:
            return await bindings(arguments, reply)
        except BaseException as error:
            dropped.append(error)
            raise

    async def run() -> None:
        server = ControlServer(path, {"bindings": waits_for_its_reader})
        await server.start()
        with ask(path, "bindings", {"count": 1_000_000}):
            while not dropped or server._clients:
                await asyncio.sleep(0.01)
        await server.close()

    asyncio.run(run())


def test_the_socket_of_a_killed_daemon_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    assert in_client(path, "bindings")[1] == {"bindings": 2}


def test_the_socket_of_a_living_daemon_is_left_alone(path: Path) -> None:
    async def use() -> None:
        with pytest.raises(CommandError, match="another daemon listens on"):
            await ControlServer(path, COMMANDS).start()
        assert path.exists()

    with_server(path, use)


def test_a_socket_that_was_never_started_is_removed(path: Path) -> None:
    async def run() -> None:
        server = ControlServer(path, COMMANDS)
        server.bind()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await server.close()

    asyncio.run(run())
    assert not path.exists()


def test_a_socket_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"cannot be made \(.*\)\. Set \[control\] socket"):
        asyncio.run(ControlServer(tmp_path / "file" / "control.sock", {}).start())


def test_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no daemon listens on .*\. Start it with `homeagent serve`"):
        ask(tmp_path / "control.sock", "status")


def test_a_daemon_that_is_silent(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        with pytest.raises(CommandError, match="does not answer"):
            list(ask(tmp_path / "control.sock", "status", timeout_s=0.05))


def test_a_user_without_the_right(tmp_path: Path) -> None:
    error = control_socket._unreachable(tmp_path, PermissionError(13, "Permission denied"))
    assert error.remedy == "Run the command as root."
