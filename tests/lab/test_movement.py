"""A node that moves between two visited networks keeps its keys and its traffic, and is taken over where it is."""

from __future__ import annotations

import pytest

from bench.lab.laboratory import Laboratory
from tests.lab.moving_node import alone, check_movement, check_takeover
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces


@pytest.mark.parametrize("soft", [True, False], ids=["new link first", "old link lost first"])
def test_a_node_keeps_its_keys_and_its_traffic(laboratory: Laboratory, soft: bool) -> None:
    node = alone(laboratory, {"liveness_interval_s": 1.0})
    check_movement(node, soft=soft)
    check_takeover(node)


@pytest.mark.parametrize("by_agent", [True, False], ids=["home agent", "node"])
def test_keys_are_renewed_after_a_movement(laboratory: Laboratory, by_agent: bool) -> None:
    often = {"child_lifetime_s": 5.0}
    node = alone(laboratory, often if by_agent else {}, {} if by_agent else often)
    ike_spi = node.sas()[0]["initiator_spi"]
    node.scene.core.plug(node.there)
    node.scene.core.cut(node.here)
    node.wait_bound(node.there)
    at_arrival = {child["inbound_spi"] for child in node.sas()[0]["children"]}
    wait_until(
        lambda: not at_arrival & {child["inbound_spi"] for child in node.sas()[0]["children"]},
        "the child SA is not rekeyed",
    )
    (row,) = node.sas()
    assert row["initiator_spi"] == ike_spi
    assert row["remote"].startswith(f"[{node.there.address}]:")
    # Back again: the Binding Update goes under the new keys.
    node.scene.core.plug(node.here)
    node.scene.core.cut(node.there)
    node.wait_bound(node.here)
    node.pings_go_on()
    assert [row["initiator_spi"] for row in node.sas()] == [ike_spi]
