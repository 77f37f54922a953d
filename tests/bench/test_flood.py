"""The flood bench: its forged frames, its command line, and a short flood of a real home agent."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from rich.console import Console

from bench.flood import parse_options
from bench.flooding.generator import FLOOD_PREFIX, Forger, first_request
from bench.flooding.options import FloodOptions
from bench.flooding.program_cost import ProgramCost
from bench.flooding.report import build_report
from bench.flooding.run import Observed, observe
from bench.lab.processes import ProcessUsage
from bench.rehearsal.progress import LineReporter
from control.ikev2.message import parse_message
from control.mobile_node.upper_layers import parse_udp
from datapath.stranger_limits import StrangerLimits

HOME_AGENT = IPv6Address("2001:db8:a1::1")
LARGEST_GROWTH = 32 << 20
"""Bytes: half-open SAs up to the cookie threshold and the honest nodes take a fraction of it."""


def forge(seed: int, count: int) -> list[bytes]:
    forger = Forger(first_request(), HOME_AGENT, (b"router", b"sender"), seed)
    return [bytes(forger.frame()) for _ in range(count)]


def test_every_forged_frame_is_a_valid_request_from_somewhere_else():
    frames = forge(1, 200)
    sources, nonces, spis = set(), set(), set()
    for frame in frames:
        assert frame[:14] == b"routersender\x86\xdd"
        source = IPv6Address(frame[22:38])
        assert source in IPv6Network(FLOOD_PREFIX)
        message = parse_message(parse_udp(source, HOME_AGENT, frame[54:]).data)
        sources.add(source)
        spis.add(message.header.initiator_spi)
        nonces.add(next(payload.nonce for payload in message.payloads if hasattr(payload, "nonce")))
    assert len(sources) == len(spis) == len(nonces) == 200


def test_command_line():
    options = parse_options(["--rate", "500", "--duration", "3", "--mobile-nodes", "7", "--auth", "psk"])
    assert options == FloodOptions(rate_per_s=500, duration_s=3, mobile_nodes=7, authentication="psk")


@pytest.mark.parametrize("arguments", [["--rate", "0"], ["--mobile-nodes", "0"], ["--duration", "-1"]])
def test_senseless_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        parse_options(arguments)
    assert "take" in capsys.readouterr().err


def test_report_has_rates_and_percentiles():
    quiet = Observed(registered=2, handshakes_s=[0.010, 0.020], usage=ProcessUsage(0.1, 0.1, 0), duration_s=4.0)
    flooded = Observed(
        sent=30_000,
        sent_for_s=1.5,
        counters={"cookies-sent": 7},
        packets={"reply-ike-cookie": 29_000},
        usage=ProcessUsage(0.1, 0.0, 0),
        program=ProgramCost(30_000, 30_000_000),
        duration_s=2.0,
    )
    unlimited = Observed(usage=ProcessUsage(1.0, 0.3, 0), duration_s=2.0)
    report = build_report(FloodOptions(), quiet, flooded, unlimited, (1.0, 2.0))
    assert report["flood"]["rate_per_s"] == 20_000
    assert report["without_flood"]["ha_cpu_percent"] == 5.0
    assert report["without_flood"]["handshake_ms"]["p99"] == 20.0
    assert report["with_flood"]["cookies_sent"] == 7
    assert report["with_flood"]["handshake_ms"]["p50"] is None
    assert report["with_flood"]["cookies_from_xdp"] == 29_000
    assert report["with_flood"]["xdp_ns_per_packet"] == 1000
    assert report["with_flood"]["xdp_cpu_percent"] == 1.5
    assert report["cpu_ratio_unlimited_to_limited"] == 10.0


@pytest.mark.namespaces
def test_honest_nodes_register_during_a_flood_that_the_data_path_keeps_from_the_daemon():
    options = FloodOptions(rate_per_s=20_000, duration_s=8, mobile_nodes=20, authentication="psk")
    with LineReporter(Console(stderr=True)) as reporter:
        observed = observe(options, reporter, flooded=True)
    assert observed.registered == 20
    # What passes is the burst before the limit takes hold, the limit, and the honest nodes, each asked some times.
    limits = StrangerLimits()
    passes = limits.ike_of_new_networks * (limits.burst_s + observed.duration_s) + 10 * options.mobile_nodes
    assert observed.counters["received-ike-sa-init-request"] <= passes
    assert observed.packets["reply-ike-cookie"] > (observed.sent - passes) / 2
    assert observed.program.runs > observed.sent / 2


@pytest.mark.namespaces
def test_without_limits_honest_nodes_register_during_a_flood_too_and_memory_stays_bounded():
    options = FloodOptions(rate_per_s=5000, duration_s=5, mobile_nodes=20, authentication="psk")
    with LineReporter(Console(stderr=True)) as reporter:
        observed = observe(options, reporter, flooded=True, limited=False)
    assert observed.registered == 20
    assert observed.sent > 1000
    assert observed.counters["cookies-sent"] > observed.counters["received-ike-sa-init-request"] / 2
    assert observed.counters["cookies-accepted"] >= 20
    assert observed.rss_after - observed.rss_before < LARGEST_GROWTH
