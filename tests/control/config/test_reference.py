"""The reference page and the example file cannot lie: both are held to the structs that read the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from control.config import ConfigurationError, load_configuration, load_nodes
from control.config.load import fields
from control.config.reference import reference
from control.config.schema import SECTIONS

ROOT = Path(__file__).parents[3]


def test_the_page_is_what_the_structs_say() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == reference(), "run: python -m control.config.reference > docs/configuration.md"


def test_the_example_loads_and_shows_every_key() -> None:
    file = ROOT / "deploy" / "homeagent.toml"
    configuration = load_configuration(file)
    assert configuration.home_agent.name == "ha1"
    text = file.read_text()
    for section, kind in SECTIONS.items():
        assert f"\n[{section}]\n" in text
        for key in fields(kind):
            assert re.search(rf"^#? ?{key} = ", text, re.MULTILINE), f"{section}.{key}"


def test_what_the_example_comments_out_is_the_default() -> None:
    text = (ROOT / "deploy" / "homeagent.toml").read_text()
    section = ""
    for line in text.splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif match := re.match(r"# (\w+) = ([^#]*[^# ])", line):
            default = fields(SECTIONS[section])[match[1]].default
            shown = (
                "" if default in (None, "", ()) else str(default).lower() if isinstance(default, bool) else str(default)
            )
            assert match[2].strip('"[]') == shown.strip("[]"), line


def test_the_examples_nodes_load(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "homeagent.toml").read_text()
    (tmp_path / "homeagent.toml").write_text(text)
    (tmp_path / "nodes.toml").write_text((ROOT / "deploy" / "nodes.toml").read_text())
    with pytest.raises(ConfigurationError, match=r"mn2\.psk: there is no such file"):
        load_nodes(load_configuration(tmp_path / "homeagent.toml"))  # it has no key that everybody knows
    (tmp_path / "mn2.psk").write_text("0x8f3c52d1e07a4b96")
    nodes = load_nodes(load_configuration(tmp_path / "homeagent.toml"))
    assert {node.authentication for node in nodes} == {"certificate", "shared-key"}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_says_what_it_is_for(section: str) -> None:
    assert SECTIONS[section].__doc__
