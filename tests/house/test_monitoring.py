"""What deploy/ has for Prometheus and Grafana: well-formed, tested by promtool, with metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.house.product_metrics import metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = sorted((DEPLOY / "prometheus").glob("homeagent.*s.yml"))
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
_UNITS = {"short", "s", "ops", "pps", "bytes", "percentunit", "bool_yes_no", "dateTimeAsIso"}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    assert program is not None, "install Debian's prometheus: .ci/setup --machine"
    return subprocess.run([program, *arguments], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False)


def dashboard(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def names(query: str) -> set[str]:
    found = re.findall(r"(?<![:\w])homeagent_[a-z_]+", query)
    return {re.sub(r"_(?:bucket|sum|count)$", "", name) for name in found}


def test_promtool_accepts_configuration_and_rules() -> None:
    for command in (("config", "prometheus.yml"), ("rules", *(path.name for path in RULES))):
        done = promtool("check", *command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_speaks_when_it_should_and_not_before() -> None:
    done = promtool("test", "rules", "homeagent.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    alerts = set(re.findall(r"alert: (\w+)", (DEPLOY / "prometheus" / "homeagent.alerts.yml").read_text()))
    tested = set(re.findall(r"alertname: (\w+)", (DEPLOY / "prometheus" / "homeagent.test.yml").read_text()))
    assert len(alerts) > 10
    assert tested == alerts


def test_rules_ask_for_metrics_that_exist() -> None:
    for path in RULES:
        for expression in re.findall(r"expr: (.+)", path.read_text()):
            assert names(expression) <= metrics().keys(), expression


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_says_what_it_shows(path: Path) -> None:
    board = dashboard(path)
    assert board["schemaVersion"] >= 36
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "instance"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        assert panel["type"] in {"timeseries", "stat", "bargauge"}, "no plugin has to be installed"
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == "${datasource}"
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"] in _UNITS
        assert defaults["thresholds"]["steps"][0]["value"] is None
        assert panel["targets"]
        for target in panel["targets"]:
            assert names(target["expr"]) <= metrics().keys(), target
            assert '{instance=~"$instance"' in target["expr"]
            assert target["legendFormat"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_do_not_overlap(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard(path)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboards_are_four_with_names_of_their_own() -> None:
    boards = [dashboard(path) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == 4
