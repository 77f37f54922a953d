"""docs/operations.md lists the metrics there are, with their labels, and names counters and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from control.cli.main import homeagent
from control.metrics import (
    BootstrapSnapshot,
    HomeAgentCollector,
    KeyExchangeSnapshot,
    LeaseSnapshot,
    MapUsage,
    Snapshot,
)
from datapath.reasons import Reason

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def everything() -> Snapshot:
    """A snapshot in which each metric has a sample."""
    return Snapshot(
        name="ha1",
        address="2001:db8:a1::1",
        identity="ha1.example.org",
        version="0",
        state="active",
        key_exchange=KeyExchangeSnapshot(sas={"established": 1}),
        datapath_interfaces=("core0",),
        datapath_mode={"core0": "native"},
        datapath_packets={"forward-encapsulated": 1},
        maps={"bindings": MapUsage(1, 2)},
        lease=LeaseSnapshot("ha1", "2001:db8:a1::1", 1, 1.0),
        peers=(LeaseSnapshot("ha2", "2001:db8:a2::1", 2, 1.0),),
        bootstrap=BootstrapSnapshot(failures={"timeout": 1}, given_up_reasons={"timeout": 1}),
        esp={"accepted": 1},
        associations={"esp-unknown-owner": 1},
        sockets={"nat-keepalives": 1},
        xfrm={"XfrmInTmplMismatch": 1},
        mobility={("in", "binding-update", ""): 1},
        mobility_errors={"bad-checksum": 1},
    )


def metrics() -> dict[str, set[str]]:
    """Labels of each metric by its name in a query; a histogram goes by the name of its family."""
    registry = CollectorRegistry()
    registry.register(HomeAgentCollector(everything))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            name = family.name if family.type == "histogram" else sample.name
            found.setdefault(name, set()).update(set(sample.labels) - {"le"})
    return found


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
