"""What a user may vary about the demonstration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.lab.credentials import Authentication

BackEnd = Literal["auto", "kernel", "userspace"]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Choices of one demonstration.

    Attributes:
        nodes: mobile nodes, each an agent in a namespace of its own.
        output: where captures, key files, logs and the summary go.
        keep: pause at the end, with everything still running, until Ctrl-C.
        as_json: the summary goes to standard output as one JSON object, everything else to standard error.
        new_home_address: ha2 has another home prefix, so the nodes are given new home addresses.
        authentication: shared keys or certificates.
        bulk_bytes: size of each bulk transfer.
        back_end: who does ESP at the home agents, as `[ipsec] back_end` has it.
    """

    nodes: int = 4
    output: Path = Path("demo-output")
    keep: bool = False
    as_json: bool = False
    new_home_address: bool = False
    authentication: Authentication = "cert"
    bulk_bytes: int = 32_000_000
    back_end: BackEnd = "auto"
