"""What strangers may send to a home agent before they are asked for cookies, or dropped (bpf/strangers.h)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """Rates are per second; each may be exceeded by what ``burst_s`` seconds of it are.

    Attributes:
        ike_per_network: IKE_SA_INIT requests of one /64; a /48 may send twice as many.
        ike_of_new_networks: the same of all /64s together that nothing was heard of lately.
        mobility_per_network: Mobility Headers in the clear of one /64; a /48 may send twice as many.
        mobility: the same of everybody.
        burst_s: seconds, enough for a token of each rate.
    """

    ike_per_network: float = 1000.0
    ike_of_new_networks: float = 1000.0
    mobility_per_network: float = 10.0
    mobility: float = 100.0
    burst_s: float = 4.0

    def macros(self) -> dict[str, str]:
        """What the C text wants defined."""
        rates = {
            "IKE_NETWORK_INTERVAL_NS": self.ike_per_network,
            "IKE_NEW_NETWORKS_INTERVAL_NS": self.ike_of_new_networks,
            "MOBILITY_NETWORK_INTERVAL_NS": self.mobility_per_network,
            "MOBILITY_INTERVAL_NS": self.mobility,
        }
        return {
            "STRANGER_BURST_NS": f"{round(self.burst_s * _SECOND_NS)}ULL",
            **{name: f"{round(_SECOND_NS / rate)}ULL" for name, rate in rates.items()},
        }


def cookie_key(secret: bytes) -> tuple[int, int]:
    """The key that cookies are made with, derived from a secret; two numbers of 64 bits."""
    key = hmac.digest(secret, b"cookies for strangers", sha256)
    return int.from_bytes(key[:8], "big"), int.from_bytes(key[8:16], "big")
