"""The example for FRR, run by Debian's: a silent home agent is taken over from, one that says goodbye is not."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from control.control_socket import Arguments, ControlServer, Reply, Row
from tests.units import WATCH_BFD, restricted
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces

EXAMPLE = Path(__file__).parents[2] / "deploy" / "frr" / "frr.conf"
BFDD = Path("/usr/lib/frr/bfdd")
ADDRESSES = ("2001:db8:a1::1", "2001:db8:a2::1")
CONFIGURATION = """
[home_agent]
name = "ha2"
address = "2001:db8:a2::1"
identity = "ha2.example.org"
home_prefixes = ["2001:db8:100::/64"]
[datapath]
interfaces = ["lo"]
[control]
socket = "{socket}"
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def two_hosts() -> Iterator[list[str]]:
    """Two namespaces, each with the address of a home agent, that know the way to each other's."""
    names = [f"hatest-bfd{side}-{os.getpid()}" for side in (1, 2)]
    for name in names:
        run("ip", "netns", "add", name)
    try:
        run("ip", "-n", names[0], "link", "add", "core0", "type", "veth", "peer", "name", "core0", "netns", names[1])
        for side, name in enumerate(names):
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "addr", "add", f"{ADDRESSES[side]}/128", "dev", "lo")
            run("ip", "-n", name, "addr", "add", f"2001:db8:c::{side + 1}/64", "dev", "core0", "nodad")
            run("ip", "-n", name, "link", "set", "core0", "up")
            run("ip", "-n", name, "route", "add", ADDRESSES[1 - side], "via", f"2001:db8:c::{2 - side}")
        yield names
    finally:
        for name in names:
            run("ip", "netns", "delete", name)


def vtysh(sockets: Path, command: str) -> None:
    run("vtysh", "--vty_socket", str(sockets), "-c", "configure", "-c", "bfd", "-c", "profile homeagent", "-c", command)


@contextmanager
def process(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        started = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield started
    finally:
        started.kill()
        started.wait(PATIENCE_S)


class StandIn:
    """The daemon of ha2, as far as its control socket."""

    def __init__(self, path: Path) -> None:
        self.taken_over: list[object] = []
        self._server = ControlServer(path, {"status": self._status, "takeover": self._takeover})

    async def _status(self, arguments: Arguments, reply: Reply) -> Row:
        return {"peers": [{"home_agent": "ha1", "address": ADDRESSES[0]}]}

    async def _takeover(self, arguments: Arguments, reply: Reply) -> Row:
        self.taken_over.append(arguments["home_agent"])
        await reply.row({})
        await asyncio.Event().wait()
        return {}

    @contextmanager
    def running(self) -> Iterator[None]:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._server.start(), loop).result(PATIENCE_S)
            yield
            asyncio.run_coroutine_threadsafe(self._server.close(), loop).result(PATIENCE_S)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


def wait(condition: Callable[[], bool], logs: Path) -> None:
    wait_until(condition, lambda: "\n".join(log.read_text() for log in logs.glob("*.log")))


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """Where other users can go, too."""
    with TemporaryDirectory(prefix="hatest-bfd-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_silent_home_agent_is_taken_over_from(folder_for_all: Path) -> None:
    assert BFDD.exists(), "apt-get install frr"
    tmp_path = folder_for_all
    # A peer that is not heard for 0.3 s may well live on a machine that is busy with other tests.
    example, slowed = re.subn(r"-interval 100$", "-interval 1000", EXAMPLE.read_text(), flags=re.MULTILINE)
    assert slowed == 2
    mirrored = example.replace(ADDRESSES[0], "other").replace(ADDRESSES[1], ADDRESSES[0]).replace("other", ADDRESSES[1])
    configuration = tmp_path / "homeagent.toml"
    configuration.write_text(CONFIGURATION.format(socket=tmp_path / "control.sock"))
    daemon = StandIn(tmp_path / "control.sock")
    with two_hosts() as names, ExitStack() as stack:

        def bfdd(side: int) -> subprocess.Popen[bytes]:
            name = f"ha{side + 1}"
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)  # bfdd runs as a user of its own
            (folder / "frr.conf").write_text((mirrored, example)[side])
            command = ["ip", "netns", "exec", names[side], str(BFDD), "--config_file", str(folder / "frr.conf")]
            command += ["--bfdctl", str(folder / "bfdd.sock"), "--pid_file", str(folder / "pid"), "--vty_port", "0"]
            command += ["--vty_socket", str(folder), "--socket", str(folder / "zserv"), "--log", "stdout"]
            return stack.enter_context(process(tmp_path / f"{name}.log", *command))

        stack.enter_context(daemon.running())
        log = tmp_path / "watch.log"
        watch = [*restricted(WATCH_BFD), sys.executable, "-m", "control", "watch-bfd", "--config", str(configuration)]
        stack.enter_context(process(log, *watch, "--socket", str(tmp_path / "ha2" / "bfdd.sock")))
        wait(lambda: "cannot be watched" in log.read_text(), tmp_path)  # bfdd may come later
        bfdd(1)
        first = bfdd(0)

        def said(state: str) -> Callable[[], bool]:
            return lambda: log.read_text().splitlines()[-1:] == [f"{ADDRESSES[0]} is {state}"]

        wait(said("up"), tmp_path)
        vtysh(tmp_path / "ha1", "shutdown")  # says goodbye: the home agent beside it lives
        wait(said("down"), tmp_path)
        vtysh(tmp_path / "ha1", "no shutdown")
        wait(said("up"), tmp_path)
        assert daemon.taken_over == []
        first.kill()
        wait(lambda: bool(daemon.taken_over), tmp_path)
        assert daemon.taken_over == ["ha1"]
