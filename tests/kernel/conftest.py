"""Runs the tests of this folder that are marked `kernel` inside Debian's kernel, all of one session in one machine.

Here on the host they are only collected: the first of them starts the machine, in which pytest runs the same tests, and
what it reports there is reported here. In the machine (GUEST) they are ordinary tests, run as root.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.kernel.ipsec_wire import Wire

GUEST = "HOMEAGENT_GUEST"
IN_GUEST = GUEST in os.environ
TIME_LIMIT_S = 1100.0
REPORTS_KEY = pytest.StashKey[dict[str, list[pytest.TestReport]]]()
CONSOLE_KEY = pytest.StashKey[str]()


def _why_no_machine() -> str | None:
    """Returns what this machine lacks for starting another, or None."""
    for program, package in (
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("mke2fs", "e2fsprogs"),
        ("depmod", "kmod"),
        ("busybox", "busybox-static"),
    ):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"needs {program} of Debian's {package}: run `make setup`"
    if os.geteuid() != 0:
        return "needs root to copy this system's programs: run `sudo make test`"
    return None


def _kernel_items(items: list[pytest.Item]) -> list[pytest.Item]:
    return [item for item in items if item.get_closest_marker("kernel")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips these tests where no machine can be started, with the reason and the remedy."""
    if IN_GUEST or not (ours := _kernel_items(items)):
        return
    reason = _why_no_machine()
    for item in ours:
        # The first waits for the machine, in which every test has its own limit.
        item.add_marker(pytest.mark.timeout(0))
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """On the host: reports what became of the test in the machine instead of running it."""
    if IN_GUEST or not item.get_closest_marker("kernel") or item.get_closest_marker("skip"):
        return None
    stash = item.session.stash
    if REPORTS_KEY not in stash:
        _run_in_machine(item.session)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in stash[REPORTS_KEY].get(item.nodeid) or [_missing(item, stash[CONSOLE_KEY])]:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _run_in_machine(session: pytest.Session) -> None:
    from bench.machine.errors import MachineError
    from bench.machine.qemu import run
    from tests.kernel.programs import compile_ahead

    compile_ahead()
    names = [item.nodeid for item in _kernel_items(session.items)]
    # The conftest.py above is for the host; so are plugins that a machine this slow had better not import.
    options = ["-q", "-p", "no:cacheprovider", "--confcutdir=tests/kernel", f"--rootdir={session.config.rootpath}"]
    reports: dict[str, list[pytest.TestReport]] = {}
    try:
        outcome = run(
            ["python3", "-m", "pytest", *options, *names], environment={GUEST: "1"}, time_limit_s=TIME_LIMIT_S
        )
    except MachineError as error:
        session.stash[REPORTS_KEY], session.stash[CONSOLE_KEY] = {}, f"{error}\n"
        return
    for data in outcome.reports:
        report = session.config.hook.pytest_report_from_serializable(config=session.config, data=data)
        reports.setdefault(report.nodeid, []).append(_without_skip(report))
    session.stash[REPORTS_KEY], session.stash[CONSOLE_KEY] = reports, outcome.console


def _without_skip(report: pytest.TestReport) -> pytest.TestReport:
    """Everything a test needs is in the machine: there is nothing to skip for."""
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in the machine: {report.longrepr}"
    return report


def _missing(item: pytest.Item, console: str) -> pytest.TestReport:
    last = "\n".join(console.splitlines()[-60:])
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed",
        longrepr=f"the machine did not report on this test; the end of its console:\n{last}",
        when="call",
    )


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Wire]:
    """A wire for the tests of one file."""
    from tests.kernel.ipsec_wire import Wire

    made = Wire()
    yield made
    made.close()


@pytest.fixture
def wire(shared_wire: Wire) -> Iterator[Wire]:
    """The wire without security associations, of which nothing is to remain."""
    yield shared_wire
    shared_wire.disconnect()
    assert shared_wire.channel.states() == []
    assert shared_wire.channel.policies() == []
    assert shared_wire.ipsec.statistics == {}


if IN_GUEST:

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(report: pytest.TestReport) -> None:
        """In the machine: sends every report to the host at once."""
        from bench.machine.guest import REPORTS

        data: dict[str, Any] = CONFIG[0].hook.pytest_report_to_serializable(config=CONFIG[0], report=report)
        with open(REPORTS, "w", encoding="utf-8") as reports:
            reports.write(json.dumps(data) + "\n")

    CONFIG: list[pytest.Config] = []

    def pytest_configure(config: pytest.Config) -> None:
        """Remembers what the hook above needs."""
        CONFIG.append(config)
        sys.path.insert(0, str(Path(__file__).parents[2]))
