"""Metrics: what a scrape shows, how it is named, and that its size does not grow with the nodes."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from control.metrics import (
    BootstrapSnapshot,
    DurationHistogram,
    HomeAgentCollector,
    LeaseSnapshot,
    MapUsage,
    MetricsServer,
    Snapshot,
    from_event_loop,
)


def full_snapshot() -> Snapshot:
    histogram = DurationHistogram()
    for seconds in (0.004, 0.005, 0.3, 70.0):
        histogram.observe(seconds)
    return Snapshot(
        name="ha2",
        address="2001:db8:a2::1",
        identity="ha2.example.org",
        version="0.1.0",
        state="active",
        authorised_nodes=12,
        bindings=10,
        ike_sas={"half-open": 1, "established": 9},
        ike_workers=2,
        ike_worker_restarts=1,
        child_sas=9,
        datapath_up=True,
        datapath_mode={"core0": "native"},
        datapath_packets={"encapsulated": 5, "decapsulated": 4, "no-binding": 0},
        maps={"bindings": MapUsage(10, 131072)},
        lease=LeaseSnapshot("ha2", "2001:db8:a2::1", 7, 1700000003.5),
        peers=(LeaseSnapshot("ha1", "2001:db8:a1::1", 3, 1699999990.0),),
        takeovers=1,
        bootstrap=BootstrapSnapshot(total=10, recovered=8, in_flight=2, recovered_total=8, failures={"timeout": 3}),
        ike={"sent-ike-sa-init": 12},
        esp={"received": 4, "replay": 1},
        mobility={("received", "binding-update", ""): 8, ("sent", "binding-acknowledgement", "0"): 8},
        mobility_errors={"bad-checksum": 1},
        store_failures={"fenced-out": 1},
        handshake=histogram.snapshot(),
    )


def scrape(snapshot: Snapshot) -> str:
    registry = CollectorRegistry()
    registry.register(HomeAgentCollector(lambda: snapshot))
    return generate_latest(registry).decode()


@pytest.mark.parametrize(
    "line",
    [
        'homeagent_info{address="2001:db8:a2::1",name="ha2",version="0.1.0"} 1.0',
        "homeagent_active 1.0",
        "homeagent_bindings 10.0",
        'homeagent_ike_sas{state="half-open"} 1.0',
        'homeagent_datapath_packets_total{reason="encapsulated"} 5.0',
        'homeagent_datapath_packets_total{reason="no-binding"} 0.0',
        'homeagent_datapath_map_entries{map="bindings"} 10.0',
        'homeagent_datapath_map_capacity{map="bindings"} 131072.0',
        "homeagent_lease_expiry_timestamp_seconds 1.7000000035e+09",
        'homeagent_peer_lease_expiry_timestamp_seconds{home_agent="ha1"} 1.69999999e+09',
        "homeagent_takeovers_total 1.0",
        "homeagent_ike_workers 2.0",
        "homeagent_ike_worker_restarts_total 1.0",
        'homeagent_bootstrap_nodes{state="in-flight"} 2.0',
        "homeagent_bootstrap_recovered_total 8.0",
        'homeagent_bootstrap_failures_total{reason="timeout"} 3.0',
        'homeagent_mobility_messages_total{direction="sent",status="0",type="binding-acknowledgement"} 8.0',
        'homeagent_handshake_seconds_bucket{le="0.005"} 2.0',
        'homeagent_handshake_seconds_bucket{le="0.5"} 3.0',
        'homeagent_handshake_seconds_bucket{le="+Inf"} 4.0',
        "homeagent_handshake_seconds_count 4.0",
    ],
)
def test_a_scrape(line: str) -> None:
    assert line in scrape(full_snapshot()).splitlines()


def test_names_and_labels_follow_the_conventions() -> None:
    for family in text_string_to_metric_families(scrape(full_snapshot())):
        assert re.fullmatch(r"homeagent_[a-z_]+", family.name)
        assert family.documentation.endswith("."), family.name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name
            assert not set(sample.labels) & {"node", "identity", "home_address", "care_of_address", "spi"}
            assert not re.search(r"_(ms|milliseconds|kb|minutes)\b", sample.name)


def test_a_home_agent_without_lease_or_data_path() -> None:
    snapshot = Snapshot(name="ha1", address="::", identity="ha1", version="0", state="starting")
    text = scrape(snapshot)
    assert "homeagent_active 0.0" in text
    assert "homeagent_datapath_up 0.0" in text
    assert "homeagent_lease_expiry" not in text


def test_the_status_is_of_the_same_numbers() -> None:
    status = full_snapshot().to_status()
    assert status["bindings"] == 10
    assert status["datapath"]["packets"] == {"encapsulated": 5, "decapsulated": 4}
    assert status["lease"] == {"home_agent": "ha2", "address": "2001:db8:a2::1", "token": 7, "expires_at": 1700000003.5}


def get(port: int) -> str:
    with urllib.request.urlopen(f"http://[::1]:{port}/metrics", timeout=10) as response:
        return str(response.read().decode())


def test_served_over_http_with_the_process_beside_it() -> None:
    server = MetricsServer("::1", 0, full_snapshot)
    try:
        text = get(server.port)
    finally:
        server.close()
    assert "homeagent_bindings 10.0" in text
    assert "process_cpu_seconds_total" in text


def test_a_port_in_use() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            MetricsServer("::1", taken.getsockname()[1], full_snapshot)


def test_snapshots_are_taken_in_the_event_loop() -> None:
    threads: list[threading.Thread] = []

    def build() -> Snapshot:
        threads.append(threading.current_thread())
        return full_snapshot()

    async def run() -> None:
        server = MetricsServer("::1", 0, from_event_loop(asyncio.get_running_loop(), build))
        try:
            assert "homeagent_bindings 10.0" in await asyncio.to_thread(get, server.port)
        finally:
            await asyncio.to_thread(server.close)

    asyncio.run(run())
    assert threads == [threading.main_thread()]


def test_a_scrape_of_a_hung_daemon_fails() -> None:
    loop = asyncio.new_event_loop()
    server = MetricsServer("::1", 0, from_event_loop(loop, full_snapshot, timeout_s=0.05))
    try:
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            get(server.port)
    finally:
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
