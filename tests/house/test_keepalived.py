"""The example for keepalived, run by Debian's: the one that is left takes over when the other dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces

DEPLOY = Path(__file__).parents[2] / "deploy" / "keepalived"
RECORDER = '#!/bin/sh\necho "$@" >> {record}\n'


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    names = [f"hatest-vrrp{side}-{os.getpid()}" for side in (1, 2)]
    for name in names:
        run("ip", "netns", "add", name)
    try:
        link = ("type", "veth", "peer", "name", "core0", "netns", names[1])
        run("ip", "-n", names[0], "link", "add", "core0", *link)
        for name in names:
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", "core0", "addrgenmode", "eui64")
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.core0.accept_dad=0")
            run("ip", "-n", name, "link", "set", "core0", "up")
        yield names[0], names[1]
    finally:
        for name in names:
            run("ip", "netns", "delete", name)


@contextmanager
def keepalived(namespace: str, directory: Path, configuration: str) -> Iterator[subprocess.Popen[bytes]]:
    directory.mkdir()
    file = directory / "keepalived.conf"
    file.write_text(configuration)
    command = ["ip", "netns", "exec", namespace, "keepalived", "--dont-fork", "--log-console", "--vrrp"]
    command += ["--use-file", str(file), "--pid", str(directory / "pid"), "--vrrp_pid", str(directory / "vrrp.pid")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment(directory.parent))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def environment(directory: Path) -> dict[str, str]:
    return {"HOMEAGENT": str(directory / "homeagent"), "HOMEAGENT_CONFIG": "/etc/ha.toml"}


def test_the_backup_takes_over_when_the_master_is_gone(tmp_path: Path) -> None:
    assert shutil.which("keepalived"), "apt-get install keepalived"
    record, command = tmp_path / "record", tmp_path / "homeagent"
    command.write_text(RECORDER.format(record=record))
    command.chmod(0o755)
    example = (DEPLOY / "keepalived.conf").read_text()
    backup = example.replace("/usr/libexec/homeagent/homeagent-notify", str(DEPLOY / "homeagent-notify"))
    assert backup != example
    # keepalived trusts no script that others than root can write; a checkout may be such a place.
    backup = backup.replace("enable_script_security\n", "")
    # Ten a second are missed on a machine that is busy with other tests; what counts is three of them.
    assert "advert_int 0.1" in backup
    backup = backup.replace("advert_int 0.1", "advert_int 1.5")
    master = re.sub(r"\n    notify .*", "", backup).replace("state BACKUP", "state MASTER")
    master = master.replace("priority 100", "priority 200")
    with two_hosts() as (first, second), ExitStack() as stack:
        alive = stack.enter_context(keepalived(first, tmp_path / "ha1", master))
        stack.enter_context(keepalived(second, tmp_path / "ha2", backup))
        log = tmp_path / "ha1" / "log"
        wait_until(lambda: "Entering MASTER STATE" in log.read_text(), "ha1 did not become master")
        wait_until(lambda: "Entering BACKUP STATE" in (tmp_path / "ha2" / "log").read_text(), "ha2 is no backup")
        time.sleep(3)  # two advertisements: the backup stays one
        assert not record.exists()
        child = int((tmp_path / "ha1" / "vrrp.pid").read_text())
        alive.kill()  # first the parent, which would start the child again
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        wait_until(lambda: record.exists() and record.stat().st_size, (tmp_path / "ha2" / "log").read_text)
        assert record.read_text() == "takeover ha1 --config /etc/ha.toml --json\n"
