"""The parts of bench.datapath that need no kernel: frames, ratios, targets, report, table, picture."""

from __future__ import annotations

import io
import json
from ipaddress import IPv6Address

import pytest
from rich.console import Console
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from bench.datapath import parse_options
from bench.packet_rates import frames
from bench.packet_rates.changes import ChangesUnderTraffic, Phase
from bench.packet_rates.corpus_runs import CorpusTimes
from bench.packet_rates.installs import InstallTimes
from bench.packet_rates.live import STREAMS, Burst
from bench.packet_rates.options import RateOptions
from bench.packet_rates.plot import draw
from bench.packet_rates.programs import Tally
from bench.packet_rates.report import build_report
from bench.packet_rates.run import Measurements, PopulationMeasurements
from bench.packet_rates.samples import Samples
from bench.packet_rates.table import print_report
from bench.packet_rates.targets import Target
from bench.packet_rates.test_runs import cases
from bench.packet_rates.visibility import Visibility
from datapath.reasons import Reason


def samples(value: float, floor: float = 20.0) -> Samples:
    return Samples(values=[value, value * 2, value * 2], floors=[floor, floor * 2, floor])


CHANGES = ChangesUnderTraffic(
    before_mpps=2.0,
    phases={"change": Phase(1031, 0.1, 1.5), "remove": Phase(1000, 0.05, 1.7), "install": Phase(1000, 0.2, 1.6)},
    tally=Tally(to_first=700, to_second=200, unbound=99, lost=0, astray=0),
)


def population(number: int, encap_ns: float, encap_mpps: float, load_s: float = 0.5) -> PopulationMeasurements:
    of_case = {"encap": encap_ns, "encap_hot": encap_ns / 2, "decap": encap_ns + 10}
    return PopulationMeasurements(
        load_s=load_s,
        load_again_s=load_s / 10,
        instructions=1000,
        modes=["native"],
        bytes_per_binding=192.0,
        installs=InstallTimes([0.2, 0.3, 0.9], [0.1]) if number >= 1000 else None,
        test_runs={case.name: samples(of_case.get(case.name, 30.0)) for case in cases(number)},
        bursts={stream.name: [Burst(0.5 if stream.reason is None else encap_mpps, 1.0)] * 3 for stream in STREAMS},
        visibility=Visibility(seen_us=[4.0, 5.0, 9.0], call_us=[3.0, 4.0, 5.0]),
        changes=CHANGES if number >= 1000 else None,
    )


@pytest.fixture
def report() -> dict:
    options = RateOptions(populations=(1, 1000), rounds=3)
    measured = Measurements(
        {1: population(1, 30, 2.0), 1000: population(1000, 35, 1.5)},
        {"echo": CorpusTimes(Reason.PASS_HOME_AGENT, [30.0, 31.0, 50.0])},
        (1.0, 1.1),
    )
    return build_report(options, measured)


def test_home_addresses_differ_and_lie_in_the_prefix():
    homes = {frames.home_address(index) for index in range(2000)}
    assert len(homes) == 2000
    assert all(home in frames.HOME_PREFIX for home in homes)


def test_frames_are_what_scapy_reads():
    plain = Ether(frames.plain_frame(frames.home_address(7)))
    assert len(plain) == frames.PLAIN_SIZE
    assert (plain[IPv6].src, plain[IPv6].dst) == ("2001:db8:c::2", str(frames.home_address(7)))
    assert plain[IPv6].plen == len(plain[IPv6].payload)
    tunnelled = Ether(frames.tunnelled_frame(7))
    assert len(tunnelled) == frames.TUNNELLED_SIZE
    outer, inner = tunnelled[IPv6], tunnelled[IPv6][IPv6:2]
    assert (IPv6Address(outer.src), IPv6Address(outer.dst)) == (frames.tunnel(7).care_of_address, frames.HOME_AGENT)
    assert IPv6Address(inner.src) == frames.home_address(7)
    assert inner.haslayer(UDP)


def test_the_ratio_is_taken_pair_by_pair():
    """A core that slows down between two pairs changes both figures of a pair, and not the ratio."""
    flipped = Samples(values=[100.0, 200.0, 100.0], floors=[10.0, 20.0, 10.0])
    assert flipped.ratios() == {"min": 10.0, "median": 10.0}


@pytest.mark.parametrize(
    ("value", "at_least", "met"), [(2.0, False, True), (2.1, False, False), (2.0, True, True), (1.9, True, False)]
)
def test_targets_are_judged_on_the_right_side(value, at_least, met):
    judged = Target(("ratios", "x"), 2.0, at_least).judge({"ratios": {"x": value}})
    assert judged["met"] is met
    assert judged["figure"] == "ratios.x"


def test_what_was_not_measured_is_neither_met_nor_missed(report):
    assert Target(("ratios", "x", "y"), 2.0).judge({"ratios": {"x": None}})["met"] is None
    missing = [target for target in report["targets"] if "1000000" in target["figure"]]
    assert missing
    assert all(target["met"] is None for target in missing)


def test_the_report_has_its_stable_names(report):
    json.dumps(report)
    assert set(report["floor_ns"]) >= {"empty", "adjust_write"}
    for direction in ("encap_ns", "decap_ns"):
        assert set(report[direction]) == {"1", "1000", "100000", "1000000"}
        assert set(report[direction]["1000"]) == {"min", "median", "hot", "dependent"}
        assert report[direction]["1000000"] is None
    assert {"encap_1000", "encap_1000000", "decap_1000", "kernel_forward"} <= set(report["veth_mpps"])
    assert set(report["install_s"]) == {"1000", "100000", "1000000"}
    for name in ("load_s", "bytes_per_binding", "update_visible_us"):
        assert isinstance(report[name], float)


def test_the_report_has_the_figures(report):
    assert report["encap_ns"]["1000"] == {
        "min": 35.0,
        "median": 70.0,
        "hot": {"min": 17.5, "median": 35.0},
        "dependent": {"min": 30.0, "median": 60.0},
    }
    assert report["floor_ns"]["adjust_write"] == {"min": 20.0, "median": 20.0}
    assert report["others_ns"] == {"echo": {"reason": "pass-home-agent", "min": 30.0, "median": 31.0}}
    assert report["ratios"]["encap_to_adjust_write"]["1000"] == {"min": 1.75, "median": 1.75}
    assert report["ratios"]["encap_to_kernel_forward"]["1000"] == 3.0
    assert report["ratios"]["encap_to_kernel_forward"]["1000000"] is None
    assert report["install_s"]["1000"] == 0.3
    assert report["update_visible_us"] == 5.0
    met = {target["figure"]: target["met"] for target in report["targets"]}
    assert met["ratios.encap_to_adjust_write.1000.median"] is True
    assert met["ratios.decap_to_adjust_write.1000.median"] is False
    assert met["ratios.encap_to_kernel_forward.1000"] is False


def test_changes_under_traffic_are_reported_with_their_rates(report):
    figures = report["changes_under_traffic"]
    assert set(figures) == {"1000", "100000", "1000000"}
    assert figures["100000"] is None
    assert figures["1000"]["mpps_before"] == 2.0
    assert figures["1000"]["change"] == {"bindings": 1031, "s": 0.1, "per_s": 10310, "mpps": 1.5}
    assert figures["1000"]["packets"]["in_all"] == 999


def test_loading_is_reported_for_maps_of_the_default_size():
    options = RateOptions(populations=(1, 1_000_000), rounds=3)
    measured = Measurements(
        {1: population(1, 30, 2.0, load_s=0.5), 1_000_000: population(1_000_000, 30, 2.0, load_s=3.0)}
    )
    report = build_report(options, measured)
    assert report["load_s"] == 0.5
    assert report["loads_s"] == {"1": 0.5, "1000000": 3.0}


def test_the_table_names_every_target(report):
    written = io.StringIO()
    print_report(report, Console(file=written, width=100))
    text = written.getvalue()
    for target in report["targets"]:
        assert target["figure"].removeprefix("ratios.").removesuffix(".median") in text
    assert "not measured" in text
    assert "kernel forward" in text


def test_the_picture_is_drawn(report, tmp_path):
    draw(report, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_options(tmp_path):
    options = parse_options(["--quick", "--json", str(tmp_path / "a.json")])
    assert options.json_file == tmp_path / "a.json"
    assert max(options.populations) < 1_000_000
    assert 1_000_000 in parse_options([]).populations


def test_a_file_that_could_not_be_written_is_refused_before_the_run(tmp_path):
    with pytest.raises(SystemExit):
        parse_options(["--json", str(tmp_path / "missing" / "a.json")])
