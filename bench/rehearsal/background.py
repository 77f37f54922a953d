"""Nodes that the failure does not concern: registered at a survivor all the time, they refresh their bindings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.lab.addresses import HOME_PREFIX, home_address, own_home_prefix
from bench.lab.credentials import Credentials, Subscriber
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import BACKGROUND_ACCESS, SimulatedNodes, SimulatorOptions
from bench.lab.scene import Scene
from bench.rehearsal.options import FailoverOptions

# A node refreshes this often. A Binding Acknowledgement later than a second is late; two leave room for it.
_REFRESH_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Refresh:
    """A binding was refreshed.

    Attributes:
        at: when the acknowledgement came (seconds since the epoch).
        answered_after_s: since the Binding Update that it answers.
    """

    at: float
    answered_after_s: float


def background_subscribers(options: FailoverOptions, credentials: Credentials) -> list[Subscriber]:
    """So many that each refreshes its binding every two seconds; their numbers follow those of the failed agent's."""
    number = math.ceil(options.background_bu_rate_per_s * _REFRESH_INTERVAL_S)
    prefix = own_home_prefix(2) if options.new_home_address else HOME_PREFIX
    numbers = range(options.mobile_nodes + 1, options.mobile_nodes + 1 + number)
    return [credentials.subscriber(each, home_address(each, prefix)) for each in numbers]


class BackgroundNodes:
    """A simulator of their own, so that what keeps the other one busy does not count as their home agent's delay.

    Attributes:
        nodes: the simulator.
        registered: whether all of them have been registered.
        refreshes: so far.
        sent: Binding Updates since :meth:`begin`, repetitions included.
    """

    def __init__(
        self,
        laboratory: Laboratory,
        scene: Scene,
        credentials: Credentials,
        subscribers: Sequence[Subscriber],
        link: SimulatorOptions,
    ) -> None:
        """Not started yet.

        Args:
            laboratory: what they belong to.
            scene: whose ha2 they register at.
            credentials: how they prove who they are.
            subscribers: the nodes.
            link: of theirs.
        """
        self.nodes = SimulatedNodes(
            laboratory, scene.core, credentials, subscribers, scene.surviving, link, BACKGROUND_ACCESS
        )
        self.registered = False
        self.refreshes: list[Refresh] = []
        self.sent = 0
        self._begun = False

    def begin(self, rate_per_s: float) -> None:
        """Let them refresh their bindings, that many a second together."""
        self._begun = True
        self.nodes.command("refresh", f"{rate_per_s:.6f}")

    def poll(self) -> None:
        """Take in what happened.

        Raises:
            LabError: the simulator has ended.
        """
        self.nodes.process.require_running()
        for row in self.nodes.events.read():
            match row["event"]:
                case "all-registered":
                    self.registered = True
                case "binding-update-sent":
                    self.sent += self._begun
                case "registered" if row["refresh"]:
                    self.refreshes.append(Refresh(float(row["time"]), float(row["answered_after_s"])))
