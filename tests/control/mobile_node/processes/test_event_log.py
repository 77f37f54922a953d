"""Events as JSON lines."""

from __future__ import annotations

import json
from ipaddress import IPv6Address

import control.mobile_node.events as node_events
from control.mobile_daemon.event_log import EventLog, describe

HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")


def test_a_line_has_time_name_node_and_facts(tmp_path):
    log = EventLog(tmp_path / "events", lambda: 1_800_000_000.1234567)
    log.node_event("mn1@mn.example.org", node_events.HomeAgentSwitched(HA1, HA2, bootstrap=True))
    log.write({"event": "stopped"})
    log.close()
    lines = (tmp_path / "events").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "time": 1_800_000_000.123457,
            "event": "home-agent-switch",
            "node": "mn1@mn.example.org",
            "old_home_agent": str(HA1),
            "home_agent": str(HA2),
            "bootstrap": True,
        },
        {"time": 1_800_000_000.123457, "event": "stopped"},
    ]


def test_who_began_is_a_role():
    assert describe(node_events.IkeStarted(HA1, initiated_here=True))["role"] == "initiator"
    established = node_events.IkeEstablished(HA1, "ha1.example.org", initiated_here=False, handshake_s=0.5)
    assert describe(established) == {
        "event": "ike-established",
        "home_agent": str(HA1),
        "identity": "ha1.example.org",
        "role": "responder",
        "handshake_s": 0.5,
    }


def test_every_event_has_a_name():
    for kind in node_events.NodeEvent.__args__:
        row = describe(kind(*[HA1 for _ in kind.__slots__]))
        assert row["event"]
        json.dumps(row)


def test_absent_addresses_are_null():
    assert describe(node_events.HomeAgentSwitched(None, HA2, bootstrap=True))["old_home_agent"] is None
