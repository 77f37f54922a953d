"""Measures everything in rounds, so that what is compared ran side by side on a machine in the same mood."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from bench.key_exchange.exchange import Run, authenticate_all, register_all, take_over_all
from bench.key_exchange.floor import Floor
from bench.key_exchange.links import LoopbackLink, MemoryLink
from bench.key_exchange.meter import Meter
from bench.key_exchange.methods import Method
from bench.key_exchange.options import Options
from bench.key_exchange.scene import Population, Scene
from control.daemon.garbage import settle


class Figure(StrEnum):
    """What is measured once a round."""

    INITIATOR = "initiator"
    INITIATOR_PREPARED = "initiator_prepared"
    INITIATOR_UDP = "initiator_udp"
    INITIATOR_IKE_SA = "initiator_ike_sa"
    INITIATOR_CHILD_SAS = "initiator_child_sas"
    RESPONDER = "responder"
    FLOOR = "floor"
    RESPONDER_FLOOR = "responder_floor"


@dataclass(slots=True)
class Measured:
    """Meters by method and figure, one for each round.

    Attributes:
        nodes: complete exchanges in each meter.
        meters: the measurements.
    """

    nodes: int
    meters: dict[tuple[Method, Figure], list[Meter]] = field(default_factory=dict)

    def add(self, method: Method, figure: Figure, meter: Meter) -> None:
        """One round's."""
        self.meters.setdefault((method, figure), []).append(meter)

    @property
    def reference_s(self) -> float:
        """The calibration loop at its fastest in the whole run."""
        return min(meter.fastest_loop_s for meters in self.meters.values() for meter in meters)

    def figures_us(self, method: Method, figure: Figure) -> list[float]:
        """Calibrated CPU microseconds of one complete exchange, by round."""
        reference = self.reference_s
        return [meter.cpu_s(reference) / self.nodes * 1e6 for meter in self.meters[method, figure]]

    def raw_us(self, method: Method, figure: Figure) -> list[float]:
        """The same as the clock had them."""
        return [meter.raw_cpu_s() / self.nodes * 1e6 for meter in self.meters[method, figure]]


def measure(options: Options, progress: Callable[[str], None]) -> Measured:
    """Measure all methods ``options.rounds`` times, after one round that only warms up.

    Raises:
        LabError: exchanges did not complete.
    """
    measured, warm_up = Measured(options.nodes), Measured(options.nodes)
    populations = {method: Population.make(method, options.nodes) for method in options.methods}
    for number in range(options.rounds + 1):
        for method, population in populations.items():
            progress(f"round {number} of {options.rounds}: {method}" if number else f"warming up: {method}")
            _measure_once(population, warm_up if number == 0 else measured)
    return measured


def bootstraps(population: Population, key_pairs: int = 0) -> Meter:
    """Have one home agent bring back all nodes, which another one has registered, once; all in memory.

    Args:
        population: the nodes.
        key_pairs: made ahead, outside the figure.

    Raises:
        LabError: exchanges did not complete.
    """
    scene = _fresh(population)
    register_all(scene, MemoryLink())
    return take_over_all(scene, MemoryLink(), key_pairs=key_pairs).meter


def _measure_once(population: Population, measured: Measured) -> None:
    method, nodes = population.trust.method, len(population.identities)
    scene = _fresh(population)
    registered = register_all(scene, MemoryLink())
    taken_over = take_over_all(scene, MemoryLink())
    measured.add(method, Figure.RESPONDER, registered.meter)
    measured.add(method, Figure.INITIATOR, taken_over.meter)
    measured.add(method, Figure.FLOOR, Floor(population.trust, taken_over.traffic, initiator=True).run())
    measured.add(method, Figure.RESPONDER_FLOOR, Floor(population.trust, registered.traffic, initiator=False).run())
    measured.add(method, Figure.INITIATOR_PREPARED, bootstraps(population, key_pairs=nodes))
    scene = _fresh(population)
    register_all(scene, MemoryLink())
    measured.add(method, Figure.INITIATOR_UDP, _over_udp(take_over_all, scene))
    measured.add(method, Figure.INITIATOR_IKE_SA, _over_udp(authenticate_all, _fresh(population)))
    with_children = partial(authenticate_all, second_child=True)
    measured.add(method, Figure.INITIATOR_CHILD_SAS, _over_udp(with_children, _fresh(population)))


def _over_udp(begin: Callable[[Scene, LoopbackLink], Run], scene: Scene) -> Meter:
    link = LoopbackLink()
    try:
        return begin(scene, link).meter
    finally:
        link.close()


def _fresh(population: Population) -> Scene:
    """Home agents that know nobody yet; the collector leaves alone what existed before, as in the daemon."""
    gc.unfreeze()
    scene = Scene(population)
    settle()
    return scene
