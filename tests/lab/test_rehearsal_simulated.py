"""The rehearsal in virtual time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.failover import main
from bench.lab.errors import LabError
from bench.rehearsal.cost_model import CostModel, calibrated
from bench.rehearsal.options import POLICIES, FailoverOptions
from bench.rehearsal.simulate import deviation, options_of, simulate

MODEL = CostModel(cpu_s=0.004, node_s=0.001, detection_s=3.0)
STORM = FailoverOptions(mobile_nodes=1000, loss_percent=2.0, rtt_ms=40.0, background_bu_rate_per_s=20.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_report_and_everybody_is_back(policy) -> None:
    options = replace(STORM, policy=policy, mobile_nodes=200)
    first, second = simulate(options, MODEL), simulate(options, MODEL)
    assert first == second
    assert (first["recovered"], first["given_up"]) == (200, 0)
    assert first["outage_s"]["p50"] > MODEL.detection_s
    assert simulate(replace(options, seed=2), MODEL)["timeline"] != first["timeline"]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 5),
    st.sampled_from(POLICIES),
    st.sampled_from([0.0, 5.0, 40.0]),
    st.sampled_from([0, 10, 50]),
    st.integers(0, 1000),
)
def test_every_node_is_recovered_or_given_up_with_a_reason(nodes, survivors, policy, loss, unreachable, seed) -> None:
    options = FailoverOptions(
        mobile_nodes=nodes,
        survivors=survivors,
        policy=policy,
        loss_percent=loss,
        unreachable_percent=unreachable,
        seed=seed,
    )
    report = simulate(options, MODEL)
    assert report["recovered"] + report["given_up"] == nodes
    assert sum(report["reasons"].values()) == report["given_up"]
    assert report["recovered"] <= report["reachable"]
    assert sum(each["claimed"] for each in report["survivors"].values()) == nodes
    if loss < 40:
        assert report["recovered"] == report["reachable"]


def test_two_survivors_need_little_more_than_half_the_time_of_one() -> None:
    one, two = (simulate(replace(STORM, mobile_nodes=4000, survivors=each), MODEL) for each in (1, 2))
    ratio = (two["duration_s"] - MODEL.detection_s) / (one["duration_s"] - MODEL.detection_s)
    assert 0.5 <= ratio < 0.62
    assert [each["recovered"] for each in two["survivors"].values()] == [2000, 2000]


def test_without_bounds_requests_are_repeated() -> None:
    unlimited, aimd = (simulate(replace(STORM, policy=policy), MODEL) for policy in ("unlimited", "aimd"))
    assert unlimited["background_bu_ms"]["p99"] < 250
    assert aimd["background_bu_ms"]["p99"] < 250
    assert unlimited["retransmissions"] > 5 * aimd["retransmissions"]


def test_a_simulation_of_a_simulation_agrees_with_it() -> None:
    report = simulate(replace(STORM, policy="fixed", concurrency=256), MODEL)
    model = calibrated(report)
    assert model.cpu_s == pytest.approx(MODEL.cpu_s, rel=0.1)
    rows = deviation(report, simulate(options_of(report), model))
    assert set(rows) >= {"duration_s", "outage_s.p50", "outage_s.p99"}
    assert all(abs(row["percent"]) < 15 for row in rows.values())


def test_as_a_command_calibrated_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real, result = tmp_path / "real.json", tmp_path / "result.json"
    real.write_text(json.dumps(simulate(replace(STORM, mobile_nodes=100), MODEL)))
    line = (
        f"--simulate --calibrate {real} --mobile-nodes 300 --survivors 20 --json {result} --plot {tmp_path / 'p.png'}"
    )
    assert main(line.split()) == 0
    assert "the run it is calibrated from, duration_s" in capsys.readouterr().out
    report = json.loads(result.read_text())
    assert (report["recovered"], len(report["survivors"])) == (300, 20)
    assert report["calibration"]["deviation"]["duration_s"]["real"] > 3


@pytest.mark.parametrize("text", ["{", "{}", "[]", json.dumps({"parameters": {"policy": "unlimited"}})])
def test_a_file_that_is_no_rehearsal_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "real.json"
    file.write_text(text)
    assert main(["--simulate", "--calibrate", str(file)]) == 1
    assert "real.json" in capsys.readouterr().err.replace("\n", "")


def test_a_comparison_that_breaks_off_keeps_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(options, model):
        if options.policy != POLICIES[0]:
            raise LabError("the other end of the cable is in the canteen")
        return simulate(options, model)

    monkeypatch.setattr("bench.failover.simulate", breaks_off)
    result = tmp_path / "result.json"
    assert main(f"--simulate --compare --mobile-nodes 50 --json {result}".split()) == 1
    assert [report["parameters"]["policy"] for report in json.loads(result.read_text())] == [POLICIES[0]]
    output = capsys.readouterr()
    assert "canteen" in output.err
    assert POLICIES[0] in output.out


def test_a_run_without_bounds_is_nothing_to_calibrate_from() -> None:
    report = simulate(replace(STORM, policy="unlimited"), MODEL)
    with pytest.raises(ValueError, match="unlimited"):
        calibrated(report)


@pytest.mark.parametrize(
    "line", ["--calibrate f", "--simulate --mobile-nodes 1000001", "--survivors 17", "--simulate --traffic 5"]
)
def test_impossible_options_are_refused(line: str) -> None:
    with pytest.raises(SystemExit):
        main(line.split())
