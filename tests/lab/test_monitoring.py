"""Debian's Prometheus scrapes the home agents of a failover, and Chromium looks at the status page during it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.errors import LabError
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import SimulatedNodes, SimulatorOptions
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces

DEPLOY = Path(__file__).parents[2] / "deploy"
NODES = 60
LISTEN = "127.0.0.1:9090"
# Asks every address it reads and prints the answers: one process in the namespace for all of them.
_ASK = """
import json, sys, urllib.request
ask = lambda url: urllib.request.urlopen(url, timeout=60).read().decode()
print(json.dumps([ask(url) for url in json.load(sys.stdin)]))
"""


def program(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    assert found is not None, f"install Debian's {names[0]}: .ci/setup --machine"
    return found


@dataclass(frozen=True)
class Failover:
    """What was seen.

    Attributes:
        scene: after the failover, home agents and Prometheus still running.
        page: the document of the status page in the middle of it, as Chromium had it after its script ran.
        before, after: what `status` said before Chromium began and after it was done.
        screenshot: the page as it looked.
        complaints: what the page's console has.
    """

    scene: Scene
    page: str
    before: dict[str, Any]
    after: dict[str, Any]
    screenshot: Path
    complaints: list[str]


def prometheus_command(scene: Scene, directory: Path) -> list[str]:
    """The files of deploy/prometheus with these home agents as targets, and seconds for minutes."""
    for path in (DEPLOY / "prometheus").glob("homeagent.*s.yml"):
        shutil.copy(path, directory)
    targets = json.dumps([f"[{agent.host.address}]:9716" for agent in scene.home_agents])
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = re.sub(r"targets:\n +- .*", f"targets: {targets}", text)
    text = re.sub(r"_interval: 5s.*", "_interval: 500ms", text)
    (directory / "prometheus.yml").write_text(text)
    return [
        program("prometheus"),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={LISTEN}",
    ]


def chromium(scene: Scene, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    agent = scene.surviving
    command = [program("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={directory / 'profile'}", "--window-size=1120,1180", "--virtual-time-budget=2500"]
    command += [*arguments, f"http://[{agent.host.address}]:9716/"]
    environment = {**os.environ, "HOME": str(directory)}
    inside = agent.host.namespace.enter_command(command)
    return subprocess.run(inside, env=environment, capture_output=True, text=True, timeout=240, check=True)


def scraped_twice(scene: Scene) -> bool:
    """Whether Prometheus has the state before the failure: only what changes afterwards is an increase."""
    seen = "count_over_time(homeagent_takeovers_total[1m]) >= 2"
    query = f"homeagent_peer_lease_expiry_timestamp_seconds and on (instance) {seen}"
    try:
        return len(results(scene, [query])[query]) == len(scene.home_agents)
    except LabError:
        return False  # it does not listen yet


@pytest.fixture(scope="module")
def failover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failover]:
    directory = tmp_path_factory.mktemp("monitoring")
    with Laboratory("monitoring") as laboratory:
        credentials = Credentials("psk")
        subscribers = [credentials.subscriber(number, home_address(number)) for number in range(1, NODES + 1)]
        options = SceneOptions(
            bootstrap={"concurrency": 8, "rate_per_s": 3, "policy": "fixed"},
            cluster={"lease_s": 3.0, "heartbeat_s": 0.5},
        )
        scene = Scene(laboratory, credentials, subscribers, options)
        nodes = SimulatedNodes(laboratory, scene.core, credentials, subscribers, scene.failing, SimulatorOptions())
        scene.core.prime_neighbours(nodes.host)
        scene.load()
        scene.serve()
        laboratory.spawn(scene.core.namespace, "prometheus", prometheus_command(scene, directory))
        nodes.start()
        wait_until(lambda: len(scene.failing.bindings()) == NODES, "the nodes did not register")
        wait_until(lambda: scraped_twice(scene), "Prometheus did not scrape")
        scene.fail()
        wait_until(lambda: scene.surviving.status()["takeover"]["recovered"] >= 6, "the nodes were not taken over")
        before = scene.surviving.status()["takeover"]
        picture = directory / "status-page.png"
        looked = chromium(scene, directory, "--dump-dom")
        after = scene.surviving.status()["takeover"]
        chromium(scene, directory, f"--screenshot={picture}")
        wait_until(lambda: scene.surviving.status()["takeover"]["recovered"] == NODES, "the takeover did not end")
        time.sleep(1.5)  # two more scrapes
        complaints = [line for line in looked.stderr.splitlines() if "CONSOLE" in line]
        yield Failover(scene, looked.stdout, before, after, picture, complaints)


def shown(page: str, identifier: str) -> str:
    (content,) = re.findall(rf'<(\w+)[^>]* id="{identifier}"[^>]*>(.*?)</\1>', page, re.DOTALL)
    return re.sub(r"<[^>]*>", " ", content[1]).strip()


def test_the_status_page_shows_the_takeover_while_it_goes_on(failover: Failover) -> None:
    assert failover.complaints == []
    page = failover.page
    assert shown(page, "name") == "ha2"
    assert shown(page, "state") == "active"
    recovered, total = map(int, shown(page, "recovered").split(" of "))
    assert total == NODES
    assert failover.before["recovered"] <= recovered <= failover.after["recovered"]
    assert failover.before["recovered"] < NODES
    assert re.fullmatch(r"\d+ / \d+", shown(page, "in-flight"))
    assert 'class="back" d="M' in page, "no curve in the chart"
    assert "ha2 (this one)" in shown(page, "peers")
    assert "forward-" in shown(page, "packets") or "pass-" in shown(page, "packets")
    assert failover.screenshot.read_bytes().startswith(b"\x89PNG")


def ask(scene: Scene, paths: list[str]) -> list[dict[str, Any]]:
    urls = json.dumps([f"http://{LISTEN}/api/v1/{path}" for path in paths])
    answers = json.loads(scene.core.namespace.run([sys.executable, "-c", _ASK], stdin=urls))
    return [json.loads(answer)["data"] for answer in answers]


def results(scene: Scene, queries: list[str]) -> dict[str, list[Any]]:
    answers = ask(scene, [f"query?query={quote(query, safe='')}" for query in queries])
    return {query: answer["result"] for query, answer in zip(queries, answers, strict=True)}


def panel_queries() -> list[str]:
    found = []
    for path in sorted((DEPLOY / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            found += [target["expr"] for target in panel["targets"]]
    substituted = (query.replace("$instance", ".+").replace("$__rate_interval", "30s") for query in found)
    return list(dict.fromkeys(substituted))


def test_every_query_of_every_panel_returns_data(failover: Failover) -> None:
    """Over the last minutes, as a panel would ask: the lease of ha1 is gone from the store when it is taken over."""
    queries = panel_queries()
    assert len(queries) > 50
    now = time.time()
    window = f"start={now - 120:.3f}&end={now:.3f}&step=1"
    answers = ask(failover.scene, [f"query_range?{window}&query={quote(query, safe='')}" for query in queries])
    empty = [query for query, answer in zip(queries, answers, strict=True) if not answer["result"]]
    assert empty == []


def test_the_panels_tell_the_failover(failover: Failover) -> None:
    recovered = f'homeagent_bootstrap_recovered_total{{instance=~".*{failover.scene.surviving.host.address}.*"}}'
    down = 'up{job="homeagent"} == 0'
    count = "sum(homeagent_bootstrap_seconds_count)"
    ha1 = f"[{failover.scene.failing.host.address}]:9716"

    def told() -> tuple[list[int], list[str], list[int]]:
        found = results(failover.scene, [recovered, down, count])
        numbers = {query: [int(each["value"][1]) for each in found[query]] for query in (recovered, count)}
        return numbers[recovered], [each["metric"]["instance"] for each in found[down]], numbers[count]

    # Whoever is asked late by a busy machine counts as down until the next time.
    wait_until(lambda: told() == ([NODES], [ha1], [NODES]), told)


def test_recording_rules_have_results_and_the_failure_is_reported(failover: Failover) -> None:
    text = (DEPLOY / "prometheus" / "homeagent.rules.yml").read_text()
    recorded = re.findall(r"record: (\S+)", text)
    assert recorded
    empty = [name for name, result in results(failover.scene, recorded).items() if not result]
    assert empty == []
    (alerts,) = ask(failover.scene, ["alerts"])
    names = {alert["labels"]["alertname"] for alert in alerts["alerts"]}
    assert {"HomeAgentDown", "HomeAgentTookOver"} <= names
