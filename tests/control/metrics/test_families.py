"""Metrics: what a scrape shows, how it is named, and that its size does not grow with the nodes."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from control.metrics import HomeAgentCollector, MapUsage, Snapshot


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
        'homeagent_datapath_packets_total{reason="forward-encapsulated",verdict="forward"} 5.0',
        'homeagent_datapath_packets_total{reason="drop-no-route",verdict="drop"} 0.0',
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
        'homeagent_bootstrap_given_up_total{reason="no-answer"} 1.0',
        "homeagent_bootstrap_started_timestamp_seconds 1.699999995e+09",
        "homeagent_bootstrap_finished_timestamp_seconds 0.0",
        'homeagent_ike_events_total{event="retransmissions"} 0.0',
        'homeagent_ike_events_total{event="sent-ike-sa-init"} 12.0',
        "homeagent_ike_half_open_limit 1024.0",
        "homeagent_ike_key_pairs 3.0",
        "homeagent_store_up 1.0",
        "homeagent_store_queue_length 4.0",
        'homeagent_store_refused_records_total{kind="node"} 2.0',
        'homeagent_ipsec_info{back_end="userspace"} 1.0',
        'homeagent_datapath_interface_attached{interface="core0"} 1.0',
        'homeagent_datapath_interface_attached{interface="core1"} 0.0',
        "homeagent_event_loop_lag_seconds_count 0.0",
    ],
)
def test_a_scrape(full_snapshot: Snapshot, line: str) -> None:
    assert line in scrape(full_snapshot).splitlines()


def test_names_and_labels_follow_the_conventions(full_snapshot: Snapshot) -> None:
    for family in text_string_to_metric_families(scrape(full_snapshot)):
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


def test_the_status_is_of_the_same_numbers(full_snapshot: Snapshot) -> None:
    status = full_snapshot.to_status()
    assert status["bindings"] == 10
    assert status["datapath"]["packets"] == {"forward-encapsulated": 5, "forward-decapsulated": 4}
    assert status["lease"] == {"home_agent": "ha2", "address": "2001:db8:a2::1", "token": 7, "expires_at": 1700000003.5}
    takeover = status["takeover"]
    assert (takeover["recovered"], takeover["given_up_reasons"], takeover["reasons"]) == (
        7,
        {"no-answer": 1},
        {"timeout": 3},
    )
    assert "bootstrap" not in status


def test_a_scrape_does_not_grow_with_the_nodes(full_snapshot: Snapshot) -> None:
    more = replace(
        full_snapshot,
        authorised_nodes=10**5,
        bindings=10**5,
        child_sas=10**5,
        maps={"bindings": MapUsage(10**5, 131072)},
    )
    assert len(scrape(more).splitlines()) == len(scrape(full_snapshot).splitlines())
