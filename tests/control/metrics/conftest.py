"""A snapshot with something in everything."""

from __future__ import annotations

import pytest

from control.metrics import (
    BootstrapSnapshot,
    Instruments,
    KeyExchangeSnapshot,
    LeaseSnapshot,
    MapUsage,
    Snapshot,
    StoreSnapshot,
    TakeoverSample,
)


@pytest.fixture
def full_snapshot() -> Snapshot:
    instruments = Instruments()
    for seconds in (0.004, 0.005, 0.3, 70.0):
        instruments.handshake.observe(seconds)
    return Snapshot(
        name="ha2",
        address="2001:db8:a2::1",
        identity="ha2.example.org",
        version="0.1.0",
        state="active",
        authorised_nodes=12,
        bindings=10,
        child_sas=9,
        datapath_up=True,
        datapath_interfaces=("core0", "core1"),
        datapath_mode={"core0": "native"},
        datapath_packets={"forward-encapsulated": 5, "forward-decapsulated": 4, "drop-no-route": 0},
        maps={"bindings": MapUsage(10, 131072)},
        lease=LeaseSnapshot("ha2", "2001:db8:a2::1", 7, 1700000003.5),
        peers=(LeaseSnapshot("ha1", "2001:db8:a1::1", 3, 1699999990.0),),
        takeovers=1,
        bootstrap=BootstrapSnapshot(
            total=10,
            recovered=7,
            given_up=1,
            in_flight=2,
            limit=8,
            eta_s=1.5,
            recovered_total=8,
            given_up_reasons={"no-answer": 1},
            failures={"timeout": 3},
            started_at=1699999995.0,
            history=(TakeoverSample(1699999995.0, 0, 0, 0), TakeoverSample(1699999997.5, 5, 0, 2)),
        ),
        key_exchange=KeyExchangeSnapshot(
            sas={"half-open": 1, "established": 9},
            half_open_limit=1024,
            workers=2,
            worker_restarts=1,
            key_pairs=3,
            key_pairs_capacity=4096,
            events={"sent-ike-sa-init": 12},
        ),
        esp={"received": 4, "replay": 1},
        mobility={("received", "binding-update", ""): 8, ("sent", "binding-acknowledgement", "0"): 8},
        mobility_errors={"bad-checksum": 1},
        home_links={"detection-probe": 1},
        store=StoreSnapshot(queue=4, queue_capacity=20_000, failures={"fenced-out": 1}, refused_records={"node": 2}),
        durations=instruments.snapshot(),
    )
