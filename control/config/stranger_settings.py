"""The section [strangers] of the configuration file."""

from __future__ import annotations

from typing import Annotated

from control.config.section import Settings, about


class StrangerSettings(Settings, frozen=True, kw_only=True):
    """What may be sent to the home agent by whoever has no IKE SA with it. `homeagent datapath load` reads this.

    [Floods](operations.md#floods) says how it goes together with the limits of the daemon.
    """

    limits: Annotated[
        bool,
        about("Whether the XDP program has the limits of this section. Without, everything reaches the daemon.", True),
    ] = True
    ike_requests_per_network_per_s: Annotated[
        float,
        about(
            "IKE_SA_INIT requests of one /64; a /48 may send twice as many. What is above has to return a cookie; of "
            "those who do, as many again pass.",
            1000.0,
            ge=1,
            le=1_000_000,
        ),
    ] = 1000.0
    ike_requests_of_new_networks_per_s: Annotated[
        float,
        about(
            "The same of all /64s together that nothing was heard of lately: above, those have to return a cookie.",
            1000.0,
            ge=1,
            le=1_000_000,
        ),
    ] = 1000.0
    mobility_messages_per_network_per_s: Annotated[
        float,
        about(
            "Mobility Headers that are not under ESP, of one /64; a /48 may send twice as many. Others are dropped.",
            10.0,
            ge=1,
            le=1_000_000,
        ),
    ] = 10.0
    mobility_messages_per_s: Annotated[
        float,
        about("The same of everybody together.", 100.0, ge=1, le=1_000_000),
    ] = 100.0
    burst_s: Annotated[
        float,
        about("How many seconds' worth of each rate may come at once.", 4.0, ge=1, le=60),
    ] = 4.0
