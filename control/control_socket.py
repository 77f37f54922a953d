"""The local control socket: how ``homeagent status`` and the other commands talk to the daemon.

One request per connection over a Unix stream socket, one JSON object per line each way::

    > {"command": "bindings", "arguments": {}}
    < {"row": {"home_address": "2001:db8:100::11", ...}}       any number of these, as they come
    < {"done": {"bindings": 1}}                                or {"error": {"message": "...", "remedy": "..."}}

The daemon keeps answering its mobile nodes whatever a client does: lines, clients and the time a client may take to
read are bounded, and a client that closes the connection, or its writing half, ends its command.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

_log = logging.getLogger(__name__)

Row = dict[str, Any]
Arguments = Mapping[str, Any]

MAX_LINE = 1 << 20
_MAX_CLIENTS = 64
_REQUEST_WITHIN_S = 10.0
_READ_WITHIN_S = 30.0


class CommandError(Exception):
    """Why a command cannot be carried out.

    Attributes:
        message: what is wrong, without full stop.
        remedy: what to do, a sentence.
    """

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}. {remedy}")


class Request(msgspec.Struct, frozen=True):
    """What a client asks for."""

    command: str
    arguments: dict[str, Any] = {}


# --- the daemon's side ----------------------------------------------------------------------------------------------


class Reply:
    """The way back to one client, given to each command."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def row(self, row: Mapping[str, Any]) -> None:
        """Sends one row; waits for a client that reads slowly.

        Raises:
            ConnectionError: the client is gone, or has not read for half a minute.
        """
        await self._send({"row": row})

    async def _send(self, line: Mapping[str, Any]) -> None:
        self._writer.write(msgspec.json.encode(line, enc_hook=str) + b"\n")
        try:
            await asyncio.wait_for(self._writer.drain(), _READ_WITHIN_S)
        except TimeoutError:
            raise ConnectionAbortedError("the client does not read") from None


Command = Callable[[Arguments, Reply], Awaitable[Row]]
"""Carries a command out: sends rows through the reply, returns what "done" carries, raises CommandError."""


class ControlServer:
    """Listens on the control socket and hands requests to commands."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path = path
        self._commands = dict(commands)
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    def bind(self) -> None:
        """Makes the socket, at which nobody is answered before :meth:`start`.

        Raises:
            CommandError: another daemon listens there, or the socket cannot be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._listener = self._bind()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CommandError(
                f"the control socket {self._path} cannot be made ({reason})",
                "Set [control] socket to a path that this user may create.",
            ) from None

    async def start(self) -> None:
        """Begins to listen; only this user (and root) may connect.

        Raises:
            CommandError: as :meth:`bind`, which it does if nobody has.
        """
        if self._listener is None:
            self.bind()
        self._server = await asyncio.start_unix_server(self._accept, sock=self._listener, limit=MAX_LINE)

    async def close(self) -> None:
        """Stops listening, ends running commands and removes the socket."""
        if self._listener is None:
            return
        if self._server is not None:
            self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._listener.close()
        self._server = self._listener = None
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def _bind(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The mode is right from the first moment on: between bind and a chmod others could connect.
        mask = os.umask(0o177)
        try:
            try:
                listener.bind(str(self._path))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                self._remove_stale()
                listener.bind(str(self._path))
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(mask)
        return listener

    def _remove_stale(self) -> None:
        """Removes the socket that a killed daemon left behind; a living one keeps it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(self._path))
            except (ConnectionRefusedError, FileNotFoundError):
                self._path.unlink(missing_ok=True)
                return
            except TimeoutError:
                pass
        raise CommandError(
            f"another daemon listens on {self._path}", "Stop it, or set another [control] socket for this one."
        )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        reply = Reply(writer)
        try:
            if len(self._clients) > _MAX_CLIENTS:
                raise CommandError(f"{_MAX_CLIENTS} clients are connected already", "Close one of them.")
            await self._serve(await _read_request(reader), reader, reply)
        except CommandError as error:
            await _send_quietly(reply, {"error": {"message": error.message, "remedy": error.remedy}})
        except (ConnectionError, asyncio.CancelledError):
            pass
        except Exception:
            _log.exception("a control command failed")
            await _send_quietly(
                reply, {"error": {"message": "the daemon failed to answer", "remedy": "Its log says why."}}
            )
        finally:
            self._clients.discard(task)
            writer.close()

    async def _serve(self, request: Request, reader: asyncio.StreamReader, reply: Reply) -> None:
        command = self._commands.get(request.command)
        if command is None:
            known = ", ".join(sorted(self._commands))
            raise CommandError(f"the daemon has no command {request.command!r}", f"It has {known}.")
        work = asyncio.ensure_future(command(request.arguments, reply))
        # A client has nothing more to say: the only thing to be read is that it has gone, which ends its command.
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await reply._send({"done": work.result()})
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> Request:
    try:
        line = await asyncio.wait_for(reader.readline(), _REQUEST_WITHIN_S)
        return msgspec.json.decode(line, type=Request)
    except TimeoutError:
        raise CommandError("no request came", "Send one JSON object and a line feed.") from None
    except ValueError as error:
        raise CommandError(f"not a request ({error})", 'Send {"command": "status", "arguments": {}}.') from None


async def _send_quietly(reply: Reply, line: Mapping[str, Any]) -> None:
    with contextlib.suppress(ConnectionError):
        await reply._send(line)


# --- the client's side ----------------------------------------------------------------------------------------------


class Answer:
    """The rows of an answer, as they come.

    Attributes:
        done: what the daemon said at the end; empty until all rows were read.
    """

    def __init__(self, connection: socket.socket, path: Path) -> None:
        self.done: Row = {}
        self._connection = connection
        self._path = path

    def __iter__(self) -> Iterator[Row]:
        with self._connection, self._connection.makefile("rb") as lines:
            while True:
                message = self._next(lines.readline)
                if "row" in message:
                    yield message["row"]
                elif "done" in message:
                    self.done = message["done"]
                    return
                else:
                    error = message.get("error", {})
                    raise CommandError(str(error.get("message", "an answer of no known form")), error.get("remedy", ""))

    def _next(self, readline: Callable[[], bytes]) -> dict[str, Any]:
        try:
            line = readline()
            if line:
                return msgspec.json.decode(line, type=dict[str, Any])
        except TimeoutError:
            raise CommandError(
                "the daemon does not answer", "Look at its log, and whether it is stopped or overloaded."
            ) from None
        except (OSError, msgspec.DecodeError):
            pass
        raise CommandError(
            f"the daemon behind {self._path} ended the connection", "Look at its log, and whether it still runs."
        )

    def close(self) -> None:
        """Ends the command early."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def ask(path: Path, command: str, arguments: Arguments | None = None, timeout_s: float | None = 10.0) -> Answer:
    """Sends a command to the daemon.

    Args:
        path: its control socket.
        command: name of the command.
        arguments: what the command takes.
        timeout_s: longest wait for each line of the answer; None for a stream that may be silent for long.

    Raises:
        CommandError: no daemon can be reached. Reading the answer raises it for what the daemon refuses.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s if timeout_s is not None else 10.0)
        connection.connect(str(path))
        connection.sendall(msgspec.json.encode(Request(command, dict(arguments or {}))) + b"\n")
        connection.settimeout(timeout_s)
    except OSError as error:
        connection.close()
        raise _unreachable(path, error) from None
    return Answer(connection, path)


def _unreachable(path: Path, error: OSError) -> CommandError:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return CommandError(
            f"no daemon listens on {path}", "Start it with `homeagent serve`, or name its configuration with --config."
        )
    if isinstance(error, PermissionError):
        return CommandError(f"{path} may not be opened by this user", "Run the command as root.")
    reason = (error.strerror or str(error)).lower()
    return CommandError(f"the daemon behind {path} cannot be reached ({reason})", "Look whether it still runs.")
