"""Debian's Redis server in a directory of its own, on a UNIX socket: stopped, killed, started again, emptied."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

from bench.lab.errors import LabError
from control.cluster.redis_address import RedisAddress

_START_S = 60.0


class RedisServer:
    """One server; a context manager.

    Attributes:
        socket: the UNIX socket it listens on.
        port: TCP port of the loopback it listens on, 0 for none.
    """

    def __init__(self, directory: Path, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        """Not started yet.

        Args:
            directory: for its data, log and socket.
            port: TCP port to listen on as well, 0 for none.
            options: more of redis-server's command line.
        """
        self.socket = directory / "redis.sock"
        self.port = port
        self._directory = directory
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> RedisAddress:
        """For a RedisStore."""
        return RedisAddress.parse(self.url)

    @property
    def url(self) -> str:
        """For a configuration."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}"

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it with what is on its disk, and wait until it answers.

        Raises:
            LabError: it is not installed, or does not answer.
        """
        program = shutil.which("redis-server")
        if program is None:
            raise LabError("redis-server is missing: apt-get install redis-server")
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self._directory), "--logfile", str(self._directory / "redis.log")]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
        command += ["--repl-diskless-sync-delay", "0"]
        self._process = subprocess.Popen([*command, *self._options])
        self._wait()

    def kill(self) -> None:
        """SIGKILL: as when its host dies."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def empty(self) -> None:
        """Delete everything, as a careless operator would."""
        self.command("FLUSHALL")

    def command(self, *parts: str) -> str:
        """What `redis-cli PARTS` says.

        Raises:
            LabError: it failed.
        """
        done = subprocess.run(
            ["redis-cli", "-s", str(self.socket), *parts], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LabError(f"redis-cli {parts[0]}: {done.stderr or done.stdout}")
        return done.stdout.strip()

    def _wait(self) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if self.socket.exists():
                try:
                    if self.command("PING") == "PONG":
                        return
                except LabError:
                    pass
            time.sleep(0.02)
        raise LabError(f"redis-server does not answer; its log is {self._directory / 'redis.log'}")
