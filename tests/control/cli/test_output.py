"""What people see: rows of the daemon as lines and tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from control.cli import ask as ask_module
from control.cli.main import homeagent

STATUS = {
    "home_agent": {"name": "ha2", "address": "2001:db8:a2::1", "identity": "ha2.example.org"},
    "version": "0.1.0",
    "state": "active",
    "lease": {"home_agent": "ha2", "address": "2001:db8:a2::1", "token": 7, "expires_at": 4e9},
    "peers": [{"home_agent": "ha1", "address": "2001:db8:a1::1", "token": 5, "expires_at": 1e9}],
    "nodes": 100,
    "bindings": 40,
    "mobile_network_prefixes": 0,
    "ike_sas": {"half-open": 1, "established": 40},
    "ike_workers": {"running": 2, "restarts": 1},
    "child_sas": 80,
    "ipsec": {"back_end": "kernel", "reason": "this kernel can"},
    "takeover": {
        "total": 60,
        "recovered": 38,
        "given_up": 2,
        "in_flight": 8,
        "waiting": 12,
        "peak_in_flight": 8,
        "limit": 8,
        "paused": False,
        "eta_s": 4.2,
        "handshake_ms": {"p50": 10.0, "p99": 20.0},
        "retransmissions": 3,
        "reasons": {"timeout": 4},
    },
    "store": {"up": True, "queue": 0, "queue_capacity": 20000},
    "datapath": {
        "up": True,
        "mode": {"core0": "native", "eth1": "generic"},
        "packets": {"forward-encapsulated": 5},
        "maps": {"bindings": {"entries": 40, "capacity": 64}},
    },
}
SA = {
    "identity": "mn1@example.org",
    "eap_identity": None,
    "local_identity": "ha2.example.org",
    "state": "established",
    "role": "initiator",
    "local": "[2001:db8:a2::1]:4500",
    "remote": "[2001:db8:b::1]:40001",
    "nat": {"local": False, "remote": True, "forced": False},
    "mobike": True,
    "initiator_spi": "0011223344556677",
    "responder_spi": "8899aabbccddeeff",
    "suite": "AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE25519",
    "established_s": 3.5,
    "rekeying_in_s": 12345.6,
    "children": [
        {
            "name": "mobility",
            "inbound_spi": "c0ffee01",
            "outbound_spi": "c0ffee02",
            "suite": "AES_GCM_16-128",
            "group": None,
            "mode": "transport",
            "in_udp": True,
            "installed": True,
            "installed_s": 3.4,
            "local_selectors": ["2001:db8:a2::1[135]"],
            "remote_selectors": ["2001:db8:100::1[135]"],
            **{"packets_in": 2, "bytes_in": 120, "errors_in": 1, "last_in_s": 1.2},
            **{"packets_out": 3, "bytes_out": 144, "errors_out": 0, "last_out_s": None},
            "replaced": False,
            "rekeying_in_s": 3000.4,
            "expires_in_s": 3600.0,
        }
    ],
}


class CannedAnswer(list):
    def __init__(self, rows=(), done=None):
        super().__init__(rows)
        self.done = done or {}


@pytest.fixture
def run(monkeypatch):
    def run(answer, *arguments):
        monkeypatch.setattr(ask_module, "ask_daemon", lambda path, *_, **__: answer)
        return CliRunner().invoke(homeagent, [*arguments, "--config", str(Path("any.toml"))])

    return run


def test_status_tells_of_what_is_held_and_what_is_away(run):
    held = {**STATUS["takeover"], "paused": True, "total": 0, "recovered": 0, "given_up": 0, "in_flight": 0}
    done = {**STATUS, "takeover": {**held, "waiting": 0}, "store": {"up": False, "queue": 3, "queue_capacity": 9}}
    output = run(CannedAnswer(done=done), "status").output
    assert "PAUSED until `homeagent rebootstrap resume`: 0 of 0 back" in output
    assert "DOES NOT ANSWER, nothing is acknowledged, 3 registrations wait for it" in output


def test_status_says_what_an_operator_asks_first(run):
    output = run(CannedAnswer(done=STATUS), "status").output
    for text in (
        "ha2 (ha2.example.org) at 2001:db8:a2::1",
        "token 7, runs out in",
        "s ago",
        "100 authorised, 40 bound",
        "38 of 60 back, 2 given up, 8 in flight, 12 waiting, about 4 s to go",
        "2 running, 1 started again",
        "state store",
        "kernel: this kernel can",
        "up; core0 native, eth1 generic; bindings 40 of 64",
        "forward-encapsulated",
    ):
        assert text in output


def test_sas_read_like_those_of_swanctl(run):
    lines = run(CannedAnswer([SA]), "sas").output.splitlines()
    assert lines == [
        "mn1@example.org: ESTABLISHED, IKEv2, 0011223344556677_i* 8899aabbccddeeff_r",
        "  local  'ha2.example.org' @ 2001:db8:a2::1[4500]",
        "  remote 'mn1@example.org' @ 2001:db8:b::1[40001]",
        "  AES_GCM_16-128/PRF_HMAC_SHA2_256/CURVE25519",
        "  established 4s ago, rekeying in 12346s, NAT at its side, MOBIKE",
        "  mobility: INSTALLED, TRANSPORT-in-UDP, ESP:AES_GCM_16-128",
        "    installed 3s ago, rekeying in 3000s, expires in 3600s",
        "    in  c0ffee01,    120 bytes,     2 packets,     1s ago, 1 refused",
        "    out c0ffee02,    144 bytes,     3 packets",
        "    local  2001:db8:a2::1[135]",
        "    remote 2001:db8:100::1[135]",
    ]


def test_sas_tell_the_responders_spi_and_the_eap_identity(run):
    output = run(CannedAnswer([{**SA, "role": "responder", "eap_identity": "alice"}]), "sas").output
    assert "0011223344556677_i 8899aabbccddeeff_r*\n" in output
    assert "@ 2001:db8:b::1[40001] EAP: 'alice'\n" in output


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rekeying_in_s": None, "expires_in_s": None}, "INSTALLED, {}    installed 3s ago\n"),
        ({"rekeying_in_s": 0.0}, "INSTALLED, {}    installed 3s ago, rekeying now, expires in 3600s\n"),
        ({"replaced": True}, "REKEYED, {}    installed 3s ago, expires in 3600s\n"),
        ({"installed": False, "installed_s": None}, "NOT INSTALLED, {}    installed ? ago, rekeying in 3000s"),
    ],
)
def test_sas_say_what_becomes_of_a_child(run, changes, text):
    child = {**SA["children"][0], **changes}
    output = run(CannedAnswer([{**SA, "children": [child]}]), "sas").output
    assert "mobility: " + text.format("TRANSPORT-in-UDP, ESP:AES_GCM_16-128\n") in output


def test_bindings_are_a_table_that_a_pipe_does_not_cut(run):
    row = {
        "home_address": "2001:db8:1111:2222:3333:4444:5555:6666",
        "care_of_address": "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
        "identity": "a-rather-long-name-of-a-mobile-node@mobile.example.org",
        "lifetime_left_s": 3599.5,
        "sequence_number": 65535,
    }
    lines = run(CannedAnswer([{**row, "mobile_network_prefixes": []}]), "bindings").output.splitlines()
    assert len(lines) == 2
    assert "NETWORKS" not in lines[0]
    for value in row.values():
        assert str(value) in lines[1]


def test_the_networks_of_mobile_routers_are_shown_where_there_are_any(run):
    host = {
        "home_address": "2001:db8:100::1",
        "care_of_address": "2001:db8:c::1",
        "identity": "mn1@example.org",
        "lifetime_left_s": 10.0,
        "sequence_number": 1,
        "mobile_network_prefixes": [],
    }
    router = {**host, "mobile_network_prefixes": ["2001:db8:700::/56", "2001:db8:701::/64"]}
    lines = run(CannedAnswer([host, router]), "bindings").output.splitlines()
    assert lines[0].rstrip().endswith("NETWORKS")
    assert lines[2].rstrip().endswith("2001:db8:700::/56 2001:db8:701::/64")
    output = run(CannedAnswer(done={**STATUS, "mobile_network_prefixes": 2}), "status").output
    assert "100 authorised, 40 bound, 2 mobile network prefixes" in output


def test_events_are_lines_with_time_event_and_node(run):
    row = {"time": 1_800_000_000.25, "event": "given-up", "node": "mn1@example.org", "reason": "timeout"}
    output = run(CannedAnswer([row]), "events").output
    assert "given-up mn1@example.org reason=timeout" in output
    assert ".250" in output


def test_a_takeover_ends_with_a_summary(run):
    done = {**STATUS["takeover"], "queued": 60, "recovered": 58}
    output = run(CannedAnswer([STATUS["takeover"]], done), "takeover", "ha1").output
    assert "60 nodes claimed, 58 back, 2 given up" in output
    assert "failed attempts, timeout: 4" in output


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_scripts_see_by_the_exit_status_of_a_takeover_that_nodes_were_given_up(run, form):
    done = {**STATUS["takeover"], "queued": 60, "recovered": 60, "given_up": 0}
    assert run(CannedAnswer([STATUS["takeover"]], done), "takeover", "ha1", *form).exit_code == 0
    given_up = {**done, "recovered": 59, "given_up": 1}
    assert run(CannedAnswer([STATUS["takeover"]], given_up), "takeover", "ha1", *form).exit_code == 1


def test_a_takeover_that_is_held_says_so_once(run):
    row = {**STATUS["takeover"], "paused": True}
    output = run(CannedAnswer([row, row], {**row, "queued": 60}), "takeover", "ha1").output
    assert output.count("it is paused: `homeagent rebootstrap resume` goes on with it") == 1


@pytest.mark.parametrize("command", ["status", "bindings", "sas", "events"])
def test_json_is_one_document_or_one_line_each(run, command):
    answer = CannedAnswer([{"time": 1.0, "event": "x"}], STATUS)
    output = run(answer, command, "--json").output
    json.loads(output)


def test_tables_in_a_pipe_have_a_line_for_each_row_and_no_blanks_at_its_end(run):
    row = {"home_address": "2001:db8:100::1", "care_of_address": "2001:db8::1", "identity": "mn1@example.org"}
    networks = [f"2001:db8:{number:x}::/48" for number in range(0x700, 0x740)]
    rows = [
        {**row, "lifetime_left_s": 4.0, "sequence_number": 1, "mobile_network_prefixes": networks},
        {**row, "lifetime_left_s": 4.0, "sequence_number": 2, "mobile_network_prefixes": []},
    ]
    lines = run(CannedAnswer(rows), "bindings").output.splitlines()
    assert len(lines) == 3
    assert all(line == line.rstrip() for line in lines)
    assert lines[1].endswith("2001:db8:73f::/48")


def test_brackets_are_no_markup(run):
    done = {**STATUS, "ipsec": {"back_end": "kernel", "reason": "[ipsec] back_end says so"}}
    assert "kernel: [ipsec] back_end says so" in run(CannedAnswer(done=done), "status").output
    row = {"home_address": "2001:db8:100::1", "care_of_address": "2001:db8::1", "identity": "[red]mn1@example.org"}
    rows = [{**row, "lifetime_left_s": 4.0, "sequence_number": 1, "mobile_network_prefixes": []}]
    assert "[red]mn1@example.org" in run(CannedAnswer(rows), "bindings").output


def rows_of_bindings():
    return [
        {
            "home_address": f"2001:db8:100::{number}",
            "care_of_address": f"2001:db8:c::{number}",
            "identity": f"mn{number}@example.org",
            "lifetime_left_s": 4.0,
            "sequence_number": number,
            "mobile_network_prefixes": [],
        }
        for number in (1, 2, 3)
    ]


def test_the_bindings_of_some_nodes(run):
    result = run(CannedAnswer(rows_of_bindings()), "bindings", "mn1@example.org", "2001:db8:100::3")
    assert result.exit_code == 0
    assert [line.split()[2] for line in result.output.splitlines()[1:]] == ["mn1@example.org", "mn3@example.org"]
    result = run(CannedAnswer(rows_of_bindings()), "bindings", "2001:db8:c::2", "mn9@example.org", "--json")
    assert result.exit_code == 1
    assert "homeagent: mn9@example.org has none here" in result.stderr
    assert [row["identity"] for row in json.loads(result.stdout)] == ["mn2@example.org"]


def test_the_security_associations_of_one_node(run):
    rows = [SA, {**SA, "identity": "mn2@example.org"}]
    assert run(CannedAnswer(rows), "sas", "mn2@example.org").output.startswith("mn2@example.org: ESTABLISHED")
    result = run(CannedAnswer(rows), "sas", "mn3@example.org")
    assert (result.exit_code, result.stdout) == (1, "")


def test_the_events_of_one_node_with_those_of_whoever_called_himself_so(run):
    rows = [
        {"time": 1.0, "event": "recovered", "node": "mn1@example.org"},
        {"time": 2.0, "event": "recovered", "node": "mn2@example.org"},
        {"time": 3.0, "event": "ike-refused", "claimed": "mn1@example.org", "peer": "2001:db8::7"},
        {"time": 4.0, "event": "lease-acquired", "token": 1},
    ]
    lines = run(CannedAnswer(rows), "events", "mn1@example.org").output.splitlines()
    assert [line.split()[2] for line in lines] == ["recovered", "ike-refused"]
    assert len(run(CannedAnswer(rows), "events", "2001:db8::7").output.splitlines()) == 1
    assert len(run(CannedAnswer(rows), "events").output.splitlines()) == 4
