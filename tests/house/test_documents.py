"""What the documents point at exists, and what exists is in its index."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
_LINK = re.compile(r"\]\((?!https?://)([^)#]+)")
_CODE = re.compile(r"`([^`\n]+)`")
_FOLDERS = ("bench/", "bpf/", "control/", "datapath/", "deploy/", "docs/", "tests/")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_exist(document: Path) -> None:
    text = document.read_text()
    links = {(document.parent / target).resolve() for target in _LINK.findall(text)}
    named = {
        ROOT / name for name in _CODE.findall(text) if name.startswith(_FOLDERS) and re.fullmatch(r"[\w./-]+", name)
    }
    # A layer is named without suffix: `control/metrics` is control/metrics.py.
    missing = [path for path in links | named if not path.exists() and not path.with_suffix(".py").exists()]
    assert missing == []


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for decision in sorted(folder.glob("[0-9]*.md")):
        number, title = re.match(r"# (\d+)\. (.+)\n", decision.read_text()).groups()  # type: ignore[union-attr]
        assert decision.name.startswith(f"{int(number):04}-")
        assert f"{number}. [{title}]({decision.name})" in index


def test_every_folder_of_the_control_plane_is_in_the_table_of_layers() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("## Layers") : text.index("## Where to look first")]
    packages = {path.parent.name for path in (ROOT / "control").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "control").glob("*.py") if not path.stem.startswith("__")}
    for name in packages | modules:
        assert f"`control/{name}`" in table, name


def test_commands_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    command = [sys.executable, "-m", "control", "--help"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in set(re.findall(r"`homeagent ([a-z-]+)", text)):
        assert re.search(rf"^  {name} ", known, re.MULTILINE), name


def test_the_makefile_lists_its_targets() -> None:
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "test", "bench", "lint", "format"):
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target
