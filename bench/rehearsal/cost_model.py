"""What bringing a node back costs, for a rehearsal in virtual time; taken from a real one if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, and Home Agent Switch with Binding Update.
EXCHANGES = 4
_UNTIL_HANDSHAKE = 3
_RETRANSMISSION_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class CostModel:
    """All times in seconds.

    Attributes:
        cpu_s: of the home agent for one node, all exchanges together.
        node_s: that a node takes to answer, beyond the round trip.
        detection_s: from the failure until the nodes are claimed.
    """

    cpu_s: float = 0.003
    node_s: float = 0.002
    detection_s: float = 3.0

    @property
    def exchange_s(self) -> float:
        """CPU for one exchange."""
        return self.cpu_s / EXCHANGES

    @property
    def retransmission_s(self) -> float:
        """CPU for sending a request once more: it is kept, so that is little."""
        return self.cpu_s * _RETRANSMISSION_SHARE


def calibrated(report: Mapping[str, Any]) -> CostModel:
    """The costs that a real rehearsal had.

    The node's own time is what the median handshake had beyond round trips and the home agent's CPU; with everything
    begun at once (`unlimited`) most of that is queueing, so such a run is no good for this.

    Args:
        report: the JSON of `python -m bench.failover`.

    Raises:
        ValueError: nothing can be learned from that run.
    """
    try:
        cpu_s = float(report["ha_cpu_ms_per_node"]) / 1000
        handshake_s = float(report["handshake_ms"]["p50"]) / 1000
        detection_s = float(report["detection_s"])
        way_s = (float(report["parameters"]["rtt_ms"]) + float(report["parameters"]["jitter_ms"]) / 2) / 1000
        policy = report["parameters"]["policy"]
        survivor_cpu_percent = report["parameters"].get("survivor_cpu_percent")
    except (KeyError, TypeError, ValueError):
        raise ValueError("this is not the JSON of a rehearsal that recovered nodes") from None
    if policy == "unlimited":
        raise ValueError("under the policy unlimited handshakes show queues, not costs; take a run with another")
    if survivor_cpu_percent:
        raise ValueError("its survivors had a part of a core, simulated ones have a whole one; take another run")
    own_s = cpu_s / EXCHANGES
    return CostModel(
        cpu_s=cpu_s,
        node_s=max(0.0, handshake_s / _UNTIL_HANDSHAKE - way_s - own_s),
        detection_s=detection_s,
    )
