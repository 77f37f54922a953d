"""docs/operations.md lists the metrics there are, with their labels, and names counters and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click

from control.cli.main import homeagent
from datapath.reasons import Reason
from tests.house.product_metrics import metrics

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def listed() -> dict[str, set[str]]:
    """The same from the table; a line may describe several metrics."""
    found = {}
    section = TEXT[TEXT.index("## Metrics") :].split("\n## ")[0]
    for names, labels in re.findall(r"^\| (`homeagent_[^|]*) \| ([^|]*)\|", section, re.MULTILINE):
        for name in re.findall(r"`([a-z_]+)`", names):
            found[name] = set(re.findall(r"`([a-z_]+)`", labels))
    return found


def test_the_list_of_metrics_is_that_of_the_product() -> None:
    assert listed() == metrics()


def test_alerts_and_text_name_metrics_that_exist() -> None:
    assert set(re.findall(r"homeagent_[a-z_]+", TEXT)) <= metrics().keys()


def test_reasons_named_in_the_text_exist() -> None:
    named = set(re.findall(r"`((?:forward|reply|pass|drop)-[a-z0-9-]+[a-z])`", TEXT))
    assert named
    assert named <= {reason.slug for reason in Reason}


def test_commands_named_in_the_text_exist() -> None:
    named = set(re.findall(r"(?:`|^)homeagent ((?:[a-z-]+ ?)+)", TEXT, re.MULTILINE))
    assert len(named) > 5
    for words in named:
        command: click.Command = homeagent
        for word in words.split():
            if isinstance(command, click.Group):
                assert word in command.commands, words
                command = command.commands[word]
