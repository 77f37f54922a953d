"""CI allows no skip: tests/conftest.py turns each into a failure, wherever it is raised."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SKIPS = {
    "in the test": "import pytest\ndef test_it():\n    pytest.skip('no kernel')\n",
    "by a mark": "import pytest\n@pytest.mark.skip(reason='no kernel')\ndef test_it():\n    pass\n",
    "for the module": "import pytest\npytest.skip('no kernel', allow_module_level=True)\n",
}


def run_pytest(folder: Path, source: str, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (folder / "test_sample.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_sample.py"],
        cwd=folder,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS.keys())
def test_a_skip_fails_in_ci(tmp_path: Path, source: str) -> None:
    result = run_pytest(tmp_path, source, ci="true")
    assert result.returncode != 0
    assert "CI allows no skip" in result.stdout
    assert "no kernel" in result.stdout


def test_a_skip_stays_a_skip_elsewhere(tmp_path: Path) -> None:
    result = run_pytest(tmp_path, SKIPS["in the test"], ci="")
    assert result.returncode == 0
    assert "1 skipped" in result.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.xfail\ndef test_it():\n    assert False\n"
    result = run_pytest(tmp_path, source, ci="true")
    assert result.returncode == 0, result.stdout
    assert "1 xfailed" in result.stdout
