"""The key exchange bench measures complete exchanges and says what it measured."""

from __future__ import annotations

import json

import pytest

from bench.ike import main, parse_options
from bench.key_exchange import memory
from bench.key_exchange.exchange import Run, register_all, take_over_all
from bench.key_exchange.floor import Floor
from bench.key_exchange.links import LoopbackLink, MemoryLink
from bench.key_exchange.meter import Meter, Segment, calibration_loop
from bench.key_exchange.methods import METHODS
from bench.key_exchange.options import Options
from bench.key_exchange.scene import Population, Scene
from bench.key_exchange.strongswan import Extent, measure, obstacles
from bench.lab.errors import LabError


@pytest.fixture
def loopback():
    link = LoopbackLink()
    yield link
    link.close()


@pytest.mark.parametrize("method", METHODS)
def test_exchanges_complete_in_both_roles_with_three_ike_exchanges(method):
    scene = Scene(Population.make(method, 2))
    registered = register_all(scene, MemoryLink())
    taken_over = take_over_all(scene, MemoryLink())

    fragments = 2 if method == "rsa" else 1
    for run in (registered, taken_over):
        assert len(run.traffic.ike_sent) == len(run.traffic.ike_received) == 2 + fragments
        assert run.meter.raw_cpu_s() > 0
    # Home Agent Switch and two acknowledgements out, two Binding Updates in; nothing else, nothing twice.
    assert scene.survivor.registrations.messages["out", "home-agent-switch", ""] == 2
    assert scene.survivor.registrations.messages["in", "binding-update", ""] == 2
    assert scene.survivor.registrations.messages["out", "binding-acknowledgement", "0"] == 2
    assert len(scene.survivor.registrations.rules.cache) == 2


def test_exchanges_complete_over_udp(loopback):
    scene = Scene(Population.make("psk", 3))
    register_all(scene, loopback)
    assert all(node.home_agent == scene.failed.address for node in scene.nodes.values())


def test_a_prepared_key_pair_is_used_for_each_node():
    scene = Scene(Population.make("psk", 3))
    register_all(scene, MemoryLink())
    take_over_all(scene, MemoryLink(), key_pairs=5)
    assert len(scene.survivor.endpoint.key_pairs) == 2


def test_incomplete_exchanges_give_no_figure(monkeypatch):
    monkeypatch.setattr(MemoryLink, "deliver", lambda self, datagrams: None)
    with pytest.raises(LabError, match="0 of 1 nodes registered"):
        register_all(Scene(Population.make("psk", 1)), MemoryLink())


@pytest.mark.parametrize("method", METHODS)
def test_the_floor_runs_with_the_sizes_of_the_run(method):
    population = Population.make(method, 1)
    run: Run = register_all(Scene(population), MemoryLink())
    assert Floor(population.trust, run.traffic, initiator=False).run().raw_cpu_s() > 0


def test_memory_is_that_of_the_home_agent():
    assert 3_000 < memory.measure("psk", 20) < 100_000


def test_the_meter_takes_the_slow_down_out():
    slow, fast = Segment(cpu_s=3.0, loop_s=0.003), Segment(cpu_s=1.0, loop_s=0.001)
    meter = Meter([slow, fast])
    assert meter.cpu_s(meter.fastest_loop_s) == pytest.approx(2.0)
    assert meter.raw_cpu_s() == 4.0


def test_the_result_has_the_promised_members(tmp_path, capsys):
    file = tmp_path / "ike.json"
    arguments = [
        "--method",
        "psk",
        "--method",
        "ecdsa",
        "--nodes",
        "2",
        "--rounds",
        "1",
        "--memory-nodes",
        "20",
        "--without-strongswan",
    ]
    assert main([*arguments, "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    ours = ("initiator", "initiator_prepared", "initiator_udp", "initiator_ike_sa", "initiator_child_sas")
    figures = (*ours, "responder", "floor")
    for name in (f"{figure}_us" for figure in figures):
        assert set(report[name]) == {"psk", "ecdsa"}
        assert all(value > 0 for value in report[name].values())
    assert report["strongswan_initiator_us"] == report["strongswan_ike_sa_us"] == {"psk": None, "ecdsa": None}
    assert report["includes"]["strongswan_initiator"].startswith("not measured: ")
    assert report["kb_per_node"] == max(report["kb_per_node_by_method"].values()) > 1
    ratio = report["ratios"]["initiator_to_floor"]["psk"]
    assert ratio == pytest.approx(report["initiator_us"]["psk"] / report["floor_us"]["psk"], rel=0.01)
    assert report["met"]["initiator_to_floor_psk"] == (ratio <= report["targets"]["initiator_to_floor"])
    assert "X25519" in report["includes"]["floor"]
    assert "Complete key exchanges" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--nodes", "0"], ["--nodes", "256"], ["--rounds", "0"], ["--method", "dsa"]])
def test_senseless_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        parse_options(arguments)
    assert "usage" in capsys.readouterr().err


def test_the_reason_for_no_figure_of_strongswan_is_found(tmp_path):
    daemon = tmp_path / "charon"
    assert "not installed" in obstacles(daemon, 0)[0]
    daemon.touch()
    assert obstacles(daemon, 0) == []
    assert "root" in obstacles(daemon, 1000)[0]


@pytest.mark.namespaces
@pytest.mark.parametrize("method", ["psk", "ecdsa"])
def test_strongswan_is_measured_beside_us(method):
    said = []
    figures = measure(Options(methods=(method,), nodes=3, rounds=2), calibration_loop(), said.append)
    for extent in Extent:
        assert all(value > 50 for value in figures[extent][method])
        assert len(figures[extent][method]) == 2
    assert len(said) == 6
