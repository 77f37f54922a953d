"""What an IKE worker is given by the daemon that starts it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address

from control.config import Configuration
from control.config.nodes import Node
from control.ike_workers.messages import UseCertificates

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""Of the daemon and its workers, whose logs are one."""


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """What a worker begins with: the first frame it gets, pickled, from the daemon that made it.

    Attributes:
        configuration: the daemon's.
        nodes: the nodes it authorises, with their keys.
        certificates: what it authenticates with.
        home_addresses: the home addresses they have by now.
        index: which worker it is.
        workers: how many there are.
        log_level: from which level on it logs.
    """

    configuration: Configuration
    nodes: list[Node] = field(repr=False)
    certificates: UseCertificates
    home_addresses: dict[str, IPv6Address]
    index: int
    workers: int
    log_level: int
