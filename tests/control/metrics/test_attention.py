"""What the status page draws attention to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from control.metrics import BootstrapSnapshot, KeyExchangeSnapshot, LeaseSnapshot, MapUsage, Snapshot, StoreSnapshot
from control.metrics.attention import needs_attention

NOW = 1000.0
WELL = Snapshot(
    name="ha1",
    address="2001:db8::1",
    identity="ha1.example.org",
    version="1",
    state="active",
    certificate_expires_at=NOW + 15 * 86_400,
    datapath_up=True,
    datapath_interfaces=("eth0",),
    datapath_mode={"eth0": "native"},
    maps={"bindings": MapUsage(10, 100)},
    lease=LeaseSnapshot("ha1", "2001:db8::1", 1, NOW + 3),
    peers=(LeaseSnapshot("ha2", "2001:db8::2", 2, NOW + 3),),
    key_exchange=KeyExchangeSnapshot(sas={"half-open": 10}, half_open_limit=100),
    store=StoreSnapshot(queue=1, queue_capacity=100),
)


def test_all_is_well() -> None:
    assert needs_attention(WELL, NOW) == []


@pytest.mark.parametrize(
    ("changes", "severity", "what"),
    [
        ({"state": "fenced"}, "critical", "holds no lease"),
        ({"store": StoreSnapshot(up=False)}, "critical", "does not answer"),
        ({"store": StoreSnapshot(queue=51, queue_capacity=100)}, "warning", "51 registrations wait"),
        ({"store": StoreSnapshot(refused_records={"node": 2, "lease": 1})}, "warning", "3 records"),
        ({"peers": (LeaseSnapshot("ha2", "::", 2, NOW - 1),)}, "warning", "The lease of ha2 has lapsed"),
        ({"datapath_up": False, "datapath_mode": {}}, "critical", "not loaded"),
        ({"datapath_mode": {}}, "critical", "eth0 has no XDP program"),
        ({"datapath_mode": {"eth0": "generic"}}, "notice", "generic mode on eth0"),
        ({"maps": {"bindings": MapUsage(91, 100)}}, "warning", "room for 9 more"),
        ({"datapath_packets": {"drop-forwarding-disabled": 1}}, "critical", "forwarding is off"),
        ({"key_exchange": KeyExchangeSnapshot({"half-open": 81}, 100)}, "warning", "81 of 100"),
        ({"certificate_expires_at": NOW + 86_400}, "warning", "valid until 1970-01-02 00:16"),
        ({"certificate_expires_at": NOW - 1}, "critical", "valid until"),
        ({"exports_keys": True}, "warning", "written to files"),
        ({"bootstrap": BootstrapSnapshot(paused=True)}, "warning", "paused"),
        ({"bootstrap": BootstrapSnapshot(total=5, given_up=2)}, "warning", "2 nodes"),
    ],
)
def test_what_is_not(changes: dict[str, Any], severity: str, what: str) -> None:
    (told,) = needs_attention(replace(WELL, **changes), NOW)
    assert told.severity == severity
    assert what in told.what
    assert told.remedy


def test_the_gravest_comes_first() -> None:
    told = needs_attention(replace(WELL, exports_keys=True, datapath_mode={"eth0": "generic"}, state="fenced"), NOW)
    assert [each.severity for each in told] == ["critical", "warning", "notice"]
