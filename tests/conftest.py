"""What all tests share: Hypothesis profiles, the privilege check of `namespaces` tests, and no skips in CI."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.interop.report"]

IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false", "no"}

# Two cores shared with other work: a slow example is no defect, so there is no deadline. The examples are the same each
# time, so that whether a run passes is no matter of luck; `--hypothesis-profile search` tries others.
settings.register_profile("search", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("search"), derandomize=True, print_blob=True, max_examples=50)
settings.load_profile("same")


LABORATORY = Path(__file__).parent / "lab"
"""Of the files of this folder each takes up to minutes: begun last, one would keep all processors but one waiting."""


def _why_no_namespaces() -> str | None:
    """Returns what this machine or user lacks for tests in network namespaces, or None."""
    if os.geteuid() != 0:
        return "needs root for network namespaces and XDP: run `sudo make test`"
    try:
        import bcc  # noqa: F401
    except ImportError:
        return "needs Debian's python3-bpfcc in this environment: run `make setup`"
    if not os.path.ismount("/sys/fs/bpf"):
        return "needs the BPF file system on /sys/fs/bpf: run `make setup`"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Has the long tests begin first, and skips `namespaces` tests where they cannot run, with reason and remedy."""
    items.sort(key=lambda item: LABORATORY not in item.path.parents)
    if any(item.get_closest_marker("namespaces") for item in items) and (reason := _why_no_namespaces()):
        for item in items:
            if item.get_closest_marker("namespaces"):
                item.add_marker(pytest.mark.skip(reason=reason))


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure in CI; an expected failure (xfail), which also reports itself as skipped, stays."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"CI allows no skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Applies the no-skip rule to each test."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Applies the no-skip rule to whole modules (`importorskip`, `skip(allow_module_level=True)`)."""
    report = yield
    _refuse_skip(report)
    return report


class _FailuresAtOnce:
    """Writes each failure the moment it is known: CI that runs out of time ends before pytest's own summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.ensure_newline()
            self._terminal.write_line(f"FAILED {report.nodeid} ({report.when})")
            self._terminal.write_line(report.longreprtext)


@pytest.hookimpl(trylast=True)  # when there is a terminal to write to
def pytest_configure(config: pytest.Config) -> None:
    """In CI, failures are told at once."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if IN_CI and terminal is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_FailuresAtOnce(terminal))
