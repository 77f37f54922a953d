"""The same bootstraps with no daemon around them, in the same run: what the rehearsal's CPU time is held against."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from bench.key_exchange.measure import bootstraps
from bench.key_exchange.meter import Meter
from bench.key_exchange.methods import Method
from bench.key_exchange.scene import Population
from bench.lab.credentials import Authentication

_METHODS: Mapping[Authentication, Method] = {"psk": "psk", "cert": "ecdsa"}
_NODES = 64
_ROUNDS = 4


class BareBootstraps:
    """What `bench.ike` calls ``initiator``, by the rehearsal's authentication method.

    Attributes:
        meters: one for each round.
    """

    def __init__(self, authentication: Authentication) -> None:
        """Make the nodes, and let one round pass that only warms up."""
        self.meters: list[Meter] = []
        self._population = Population.make(_METHODS[authentication], _NODES)
        bootstraps(self._population)

    def measure(self) -> None:
        """Some rounds; at the begin of a run and at its end, for the machine does not stay as it is.

        Raises:
            LabError: exchanges did not complete.
        """
        self.meters += (bootstraps(self._population) for _ in range(_ROUNDS))

    @property
    def fastest_loop_s(self) -> float:
        """The calibration loop at its fastest."""
        return min(meter.fastest_loop_s for meter in self.meters)

    def cpu_s(self, reference_s: float) -> float:
        """CPU seconds of a node, the median of all rounds; see :meth:`Meter.cpu_s`."""
        return median(meter.cpu_s(reference_s) for meter in self.meters) / _NODES
