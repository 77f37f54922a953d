"""docs/interoperability.md lists the tests with strongSwan and the collisions that there are, all of them passed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "interoperability.md"
_MARKS = re.compile(r"mark\.(interop|collision)\b")
_RESULT = re.compile(r" (?P<result>[^|]+) \|$")


def rows(text: str) -> dict[str, str]:
    """The lines of both tables by all they hold but the result."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return {_RESULT.sub("", line): _RESULT.search(line)["result"] for line in lines}  # type: ignore[index]


@pytest.fixture(scope="module")
def defined(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("interoperability") / "document.md"
    files = [str(file) for file in sorted(ROOT.glob("tests/**/test_*.py")) if _MARKS.search(file.read_text())]
    select = ["--collect-only", "-q", "-m", "interop or collision", "--write-interoperability", str(path)]
    subprocess.run([sys.executable, "-m", "pytest", *select, *files], cwd=ROOT, check=True, capture_output=True)
    return rows(path.read_text())


def test_the_document_lists_what_the_tests_define(defined: dict[str, str]) -> None:
    written = rows(DOCUMENT.read_text())
    assert len(defined) > 60
    assert written.keys() == defined.keys(), "run `make interop`"


def test_everything_in_it_has_passed() -> None:
    results = {row: result for row, result in rows(DOCUMENT.read_text()).items() if result != "result"}
    counted = {row: re.fullmatch(r"(\d+) of (\d+) passed", result) for row, result in results.items()}
    whole = {row for row, count in counted.items() if count and count[1] == count[2]}
    assert {row: result for row, result in results.items() if result != "passed" and row not in whole} == {}
