"""The metrics of the product, each with a sample, as documents and dashboards have to know them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from control.metrics import (
    BootstrapSnapshot,
    HomeAgentCollector,
    KeyExchangeSnapshot,
    LeaseSnapshot,
    MapUsage,
    Snapshot,
)


def everything() -> Snapshot:
    """A snapshot in which each metric has a sample."""
    return Snapshot(
        name="ha1",
        address="2001:db8:a1::1",
        identity="ha1.example.org",
        version="0",
        state="active",
        certificate_expires_at=1.0,
        key_exchange=KeyExchangeSnapshot(sas={"established": 1}),
        datapath_interfaces=("core0",),
        datapath_mode={"core0": "native"},
        datapath_packets={"forward-encapsulated": 1},
        maps={"bindings": MapUsage(1, 2)},
        lease=LeaseSnapshot("ha1", "2001:db8:a1::1", 1, 1.0),
        peers=(LeaseSnapshot("ha2", "2001:db8:a2::1", 2, 1.0),),
        bootstrap=BootstrapSnapshot(failures={"timeout": 1}, given_up_reasons={"timeout": 1}),
        esp={"accepted": 1},
        associations={"esp-unknown-owner": 1},
        sockets={"nat-keepalives": 1},
        xfrm={"XfrmInTmplMismatch": 1},
        mobility={("in", "binding-update", ""): 1},
        mobility_errors={"bad-checksum": 1},
        home_links={"detection-probe": 1},
    )


def metrics() -> dict[str, set[str]]:
    """Labels of each metric by its name in a query; a histogram goes by the name of its family."""
    registry = CollectorRegistry()
    registry.register(HomeAgentCollector(everything))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            name = family.name if family.type == "histogram" else sample.name
            found.setdefault(name, set()).update(set(sample.labels) - {"le"})
    return found
