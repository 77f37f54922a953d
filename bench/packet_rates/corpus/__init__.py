"""A well-formed frame of every way through the program, from the core unless it says otherwise, built with scapy.

The tests of the program mutate them, `bench.datapath` times them. A feature adds its frames here, and to
``tests/datapath/expected`` what becomes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.packet_rates.corpus.ipv6 import IPV6
from bench.packet_rates.corpus.on_links import ON_LINKS
from bench.packet_rates.corpus.over_ipv4 import OVER_IPV4
from datapath.reasons import Reason


@dataclass(frozen=True)
class Sample:
    """A frame and what becomes of it.

    Attributes:
        reason: in a data path without limits, mobile networks, home links, tunnels over IPv4 and VLANs.
        with_networks: in one with limits, mobile networks and tunnels over IPv4, if it is certain and something else.
        with_links: in one with home links, VLANs and mobile networks, if it is something else.
    """

    frame: bytes
    reason: Reason
    with_networks: Reason | None = None
    with_links: Reason | None = None


CORPUS = {name: Sample(*sample) for name, sample in IPV6.items()}
CORPUS |= {name: Sample(frame, Reason.PASS_NOT_IPV6, reason) for name, (frame, reason) in OVER_IPV4.items()}
CORPUS |= {name: Sample(frame, plain, with_links=reason) for name, (frame, plain, reason) in ON_LINKS.items()}
for _name, _reason in {
    "neighbour-discovery": Reason.REPLY_NEIGHBOUR_ADVERTISEMENT,
    "to-a-mobile-network": Reason.FORWARD_ENCAPSULATED,
    "tunnelled-from-a-mobile-network": Reason.FORWARD_DECAPSULATED,
    "tunnelled-to-the-own-network": Reason.DROP_TUNNEL_BACK,
}.items():
    CORPUS[_name] = replace(CORPUS[_name], with_links=_reason)
