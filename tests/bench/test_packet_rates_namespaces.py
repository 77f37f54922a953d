"""bench.datapath at a small size on the real data path: what is measured is what the figures claim."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from bench.lab.entering import inside
from bench.lab.errors import LabError
from bench.lab.laboratory import Laboratory
from bench.packet_rates import frames, network
from bench.packet_rates.changes import measure_changes
from bench.packet_rates.live import STREAMS, LiveFrames
from bench.packet_rates.options import RateOptions
from bench.packet_rates.programs import MeasuringPrograms
from bench.packet_rates.report import build_report
from bench.packet_rates.run import measure
from bench.packet_rates.test_runs import TestRuns, cases
from bench.rehearsal.progress import LineReporter
from datapath.bindings import BindingMap
from datapath.bpf_syscall import object_get, program_test_run
from datapath.counters import Counters
from datapath.layout import PROGRAM_NAME, pin_directory
from datapath.loader import LoaderOptions, load
from datapath.netlink import interface_state
from datapath.unload import unload

pytestmark = pytest.mark.namespaces

POPULATION = 64


@dataclass
class Bench:
    programs: MeasuringPrograms
    counters: Counters
    pin_path: Path
    ingress: int

    def test_runs(self, repeat: int) -> TestRuns:
        return TestRuns(self.programs, self.counters, self.ingress, repeat)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Laboratory("test") as laboratory, ExitStack() as stack:
        stack.enter_context(inside(network.build(laboratory).name))
        programs = MeasuringPrograms()
        stack.callback(programs.close)
        network.attach_counter(programs.descriptor("count_and_drop"))
        pin_path = laboratory.pin_path("small")
        load(LoaderOptions([network.INGRESS, network.EGRESS], pin_path, [frames.HOME_AGENT], 256))
        stack.callback(unload, pin_path)
        program = object_get(pin_directory(pin_path) / PROGRAM_NAME)
        stack.callback(os.close, program)
        programs.set_under_test(program)
        counters = Counters.open(pin_path)
        stack.callback(counters.close)
        yield Bench(programs, counters, pin_path, interface_state(network.INGRESS).index)


@pytest.fixture
def bindings(bench: Bench) -> Iterator[BindingMap]:
    with BindingMap.open(bench.pin_path) as opened:
        opened.install_many(frames.tunnels(POPULATION))
        yield opened
        opened.remove_many(frames.tunnels(POPULATION))


@pytest.mark.parametrize("direction", ["encapsulation", "decapsulation"])
def test_the_driver_writes_frames_of_installed_bindings(bench, direction):
    """The driver's last frame, where the program that stands in for the data path left it."""
    written = {
        "encapsulation": {frames.plain_frame(frames.home_address(index)) for index in range(POPULATION)},
        "decapsulation": {frames.tunnelled_frame(index) for index in range(POPULATION)},
    }[direction]
    seen = set()
    bench.programs.draw_from(POPULATION)
    for _ in range(20):
        size = frames.TUNNELLED_SIZE if direction == "encapsulation" else frames.PLAIN_SIZE
        run = program_test_run(bench.programs.descriptor(f"{direction}_driver"), bytes(size), repeat=7)
        seen.add(run.frame[40:] if direction == "encapsulation" else run.frame)
    assert len(seen) > 5
    if direction == "encapsulation":
        assert seen <= written
    else:
        assert seen <= {frame[40:] for frame in written}


def test_the_floor_program_leaves_the_frame_as_long_as_it_was(bench):
    frame = frames.plain_frame(frames.home_address(0))
    run = program_test_run(bench.programs.descriptor("adjust_write"), frame, repeat=100)
    assert (run.verdict, len(run.frame)) == (2, len(frame))
    # The outer IPv6 header it wrote reaches into where the Ethernet header was; that one was written anew.
    assert run.frame == frame


def test_random_keys_reach_every_binding_and_every_packet_is_counted(bench, bindings):
    repeat = 4000
    by_name = {case.name: case for case in cases(POPULATION)}

    bench.test_runs(repeat).measure([by_name["encap"], by_name["decap"]], 1, lambda done: None)

    usage = [bindings.usage(frames.home_address(index)) for index in range(POPULATION)]
    assert sum(one.encapsulated_packets for one in usage) == 2 * repeat
    assert sum(one.decapsulated_packets for one in usage) == 2 * repeat
    assert min(one.encapsulated_packets for one in usage) > 0
    assert min(one.decapsulated_packets for one in usage) > 0


def test_a_hot_key_is_one_binding(bench, bindings):
    by_name = {case.name: case for case in cases(POPULATION)}

    bench.test_runs(100).measure([by_name["encap_hot"]], 1, lambda done: None)

    usage = [bindings.usage(frames.home_address(index)).encapsulated_packets for index in range(POPULATION)]
    assert usage == [200] + [0] * (POPULATION - 1)


def test_packets_that_take_another_way_end_the_bench(bench):
    """Nothing is installed, so the data path leaves the packets alone, which would be quicker by far."""
    by_name = {case.name: case for case in cases(POPULATION)}
    for name in ("encap", "decap"):
        with pytest.raises(LabError, match=name):
            bench.test_runs(10).measure([by_name[name]], 1, lambda done: None)


def test_live_frames_arrive_by_the_way_they_claim(bench, bindings):
    core = max(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        bursts = LiveFrames(bench.programs, bench.counters, core).measure(POPULATION, 1, 2000, lambda done: None)
    finally:
        os.sched_setaffinity(0, before)
    assert set(bursts) == {stream.name for stream in STREAMS}
    for of_stream in bursts.values():
        assert 0.5 <= of_stream[0].share <= 1
        assert of_stream[0].mpps > 0


def test_live_frames_without_bindings_end_the_bench(bench):
    core = max(os.sched_getaffinity(0))
    with pytest.raises(LabError, match="encap"):
        LiveFrames(bench.programs, bench.counters, core).measure(POPULATION, 0, 500, lambda done: None)


def test_packets_to_a_wrong_address_and_lost_ones_end_the_bench(bench, bindings, monkeypatch):
    """The judge has to notice: here a binding that should stay is not there, and others have a strange address."""
    measured = measure_changes(bench.pin_path, bench.programs, bench.ingress, POPULATION, 0, lambda done: None)
    assert measured.tally.packets > 10_000
    assert measured.tally.lost == measured.tally.astray == 0
    assert bindings.entries() == frames.tunnels(POPULATION)

    bindings.remove(frames.home_address(0))
    tunnels = frames.tunnels
    absent = {frames.home_address(0): frames.tunnel(0)}
    monkeypatch.setattr(frames, "tunnels", lambda *args, **kw: dict(tunnels(*args, **kw).items() - absent.items()))
    with pytest.raises(LabError, match=r"[1-9]\d* packets were lost .* 0 went"):
        measure_changes(bench.pin_path, bench.programs, bench.ingress, POPULATION, 0, lambda done: None)

    strange = {frames.home_address(3): frames.tunnel(4)}
    monkeypatch.setattr(frames, "tunnels", lambda *args, **kw: tunnels(*args, **kw) | strange)
    with pytest.raises(LabError, match=r" [1-9]\d* went to a wrong address"):
        measure_changes(bench.pin_path, bench.programs, bench.ingress, POPULATION, 0, lambda done: None)


def test_a_whole_run(tmp_path):
    options = RateOptions(
        populations=(1, 1000), rounds=2, repeat=2000, live_rounds=2, live_frames=1000, installs=1, changes=5
    )
    with (tmp_path / "progress").open("w") as file:
        measured = measure(options, LineReporter(Console(file=file)))
    report = build_report(options, measured)

    json.dumps(report)
    for direction in ("encap", "decap"):
        for number in ("1", "1000"):
            figures = report[f"{direction}_ns"][number]
            for each in (figures, figures["hot"], figures["dependent"]):
                assert 0 < each["min"] <= each["median"]
            assert report["ratios"][f"{direction}_to_adjust_write"][number]["median"] > 0
            assert report["ratios"][f"{direction}_to_kernel_forward"][number] > 0
            assert report["veth_mpps"][f"{direction}_{number}"] > 0
    assert report["veth_mpps"]["kernel_forward"] > 0
    assert report["install_s"]["1000"] > 0
    assert report["bytes_per_binding"] > 100
    assert report["update_visible_us"] > 0
    assert report["program"]["xdp_modes"] == ["native"]
    others = report["others_ns"]
    assert {"tunnelled-by-a-stranger", "ike", "elsewhere", "forged-care-of-address"} <= others.keys()
    assert "to-a-home-address" not in others, "its frame does not stay as it is"
    assert others["tunnelled-by-a-stranger"]["reason"] == "drop-tunnel-no-binding"
    assert min(figures["min"] for figures in others.values()) > 0
    changes = report["changes_under_traffic"]["1000"]
    assert min(changes[name]["per_s"] for name in ("install", "change", "remove")) > 0
    assert changes["mpps_before"] > 0
    assert min(changes["packets"][name] for name in ("to_first", "to_second")) > 0
    assert changes["packets"]["lost"] == changes["packets"]["astray"] == 0
    phases = {json.loads(line)["phase"] for line in (tmp_path / "progress").read_text().splitlines()}
    assert {"1,000: load", "1,000: install", "1,000: test runs", "1,000: live frames", "1,000: changes"} <= phases
    assert not list(Path("/sys/fs/bpf").glob(f"homeagent-ha-rates-{os.getpid()}-*"))
