"""The section [bootstrap] of the configuration file."""

from __future__ import annotations

from typing import Annotated, Literal

from control.config.section import Settings, about


class BootstrapSettings(Settings, frozen=True, kw_only=True):
    """How fast the nodes of a failed home agent are brought back."""

    policy: Annotated[
        Literal["fixed", "aimd", "gradient"],
        about(
            "How many nodes are brought back at once: always `concurrency`, or fewer as long as there is more to do "
            "than the processor can or nodes do not answer (`aimd`), and as long as exchanges take longer than need be "
            "(`gradient`).",
            "aimd",
        ),
    ] = "aimd"
    concurrency: Annotated[
        int,
        about("Nodes being brought back at the same time, at most.", 1024, ge=1, le=65_536),
    ] = 1024
    reserve: Annotated[
        float,
        about("Share of `concurrency` that is left to nodes that come by themselves.", 0.2, ge=0, le=0.9),
    ] = 0.2
    rate_per_s: Annotated[
        float,
        about("Nodes begun per second, at most.", 1000.0, gt=0, le=100_000),
    ] = 1000.0
    attempts: Annotated[
        int,
        about("Attempts per node before it is given up.", 5, ge=1, le=100),
    ] = 5
    backoff_initial_s: Annotated[
        float,
        about("Wait before the second attempt; it doubles from attempt to attempt, with jitter.", 1.0, gt=0, le=3600),
    ] = 1.0
    backoff_max_s: Annotated[
        float,
        about("Longest wait between two attempts.", 30.0, gt=0, le=3600),
    ] = 30.0
    give_up_after_s: Annotated[
        float,
        about(
            "A node whose attempts have gone on for this long is given up; waiting for its turn does not count.",
            300.0,
            gt=0,
            le=86_400,
        ),
    ] = 300.0
    total_give_up_after_s: Annotated[
        float,
        about("Nodes still not back this long after a takeover began are given up; 0: never.", 0.0, ge=0, le=604_800),
    ] = 0.0
