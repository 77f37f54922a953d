"""How the benches take numbers and files, and how they end."""

from __future__ import annotations

import io
import json
import signal
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from bench import datapath as datapath_bench
from bench import demo, failover, flood, ike
from bench.command_line import exit_status, keep, number, percentage, positive, result_file
from bench.lab.errors import LabError, LabInterrupted
from datapath.errors import DatapathError


@pytest.mark.parametrize(
    ("parse", "text", "complaint"),
    [
        (number(int, 1, 9), "10", "takes 1 to 9"),
        (number(int, 0), "-1", "takes 0 or more"),
        (number(float, 0, 9), "nan", "takes 0 to 9"),
        (percentage, "100", "takes 0 to less than 100"),
        (positive, "0", "takes a positive number"),
        (positive, "inf", "takes a positive number"),
        (result_file, "/nowhere/at/all.json", "no such directory"),
    ],
)
def test_what_cannot_be_is_refused(parse: Callable[[str], object], text: str, complaint: str) -> None:
    with pytest.raises(ArgumentTypeError, match=complaint):
        parse(text)


def test_what_can_be_is_taken(tmp_path: Path) -> None:
    assert [number(int, 1, 9)(text) for text in ("1", "9")] == [1, 9]
    assert (percentage("0"), percentage("99.5"), positive("0.1")) == (0.0, 99.5, 0.1)
    file = result_file(str(tmp_path / "result.json"))
    keep({"figure": 1}, file)
    assert json.loads(file.read_text()) == {"figure": 1}
    keep({}, None)


@pytest.mark.parametrize(
    ("ending", "status", "said"),
    [
        (LabInterrupted(signal.SIGTERM), 128 + 15, "Interrupted; everything was removed."),
        (LabError("no [bracket] there"), 1, "The bench could not be completed: no [bracket] there"),
        (DatapathError("not loaded"), 1, "The bench could not be completed: not loaded"),
    ],
)
def test_how_a_run_ends_before_its_time(ending: BaseException, status: int, said: str) -> None:
    def run() -> int:
        raise ending

    screen = io.StringIO()
    assert exit_status("The bench", Console(file=screen), run) == status
    assert screen.getvalue() == said + "\n"


def test_a_run_that_ends_says_itself_how() -> None:
    screen = io.StringIO()
    assert exit_status("The bench", Console(file=screen), lambda: 3) == 3
    assert screen.getvalue() == ""


@pytest.mark.parametrize("bench", [datapath_bench, demo, failover, flood, ike], ids=lambda bench: bench.__name__)
def test_every_bench_explains_itself(bench: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        bench.main(["--help"])  # type: ignore[attr-defined]
    assert left.value.code == 0
    assert f"usage: python -m {bench.__name__}" in capsys.readouterr().out  # type: ignore[attr-defined]
