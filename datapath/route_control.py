"""Whether the programs may use next hops they found out before, and from when on those are void: bpf/next_hops.h."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datapath.bpf_syscall import Map
from datapath.errors import StalePin
from datapath.jiffies import JiffiesClock
from datapath.layout import REFERENCE_GENERATIONS, ROUTE_CONTROL, SLOT_SIZE, pin_directory

_GENERATIONS = 1 << 32


class RouteControl:
    """The mapped word pair that the programs look at for every packet."""

    def __init__(self, control: Map, pin_path: Path) -> None:
        if control.info.value_size != ROUTE_CONTROL.size:
            raise StalePin("The pinned routes have another layout: run `homeagent datapath unload`, then load again.")
        self._pin_path = pin_path
        self._clock = JiffiesClock()
        self._memory = control.memory()
        self._generation = memoryview(self._memory).cast("I")
        self._valid_until = memoryview(self._memory).cast("q")
        if self._generation[0] and self._generation[0] % REFERENCE_GENERATIONS == 0:
            self.begin_generation()  # made by an earlier version, which knew no such rule

    @classmethod
    def open(cls, pin_path: Path) -> RouteControl:
        """Opens the pinned map; raises NotLoaded or StalePin."""
        with Map.open(pin_directory(pin_path) / "route_control") as control:
            return cls(control, pin_path)

    def close(self) -> None:
        """Unmaps it; a permission that was given lasts until its end."""
        self._generation.release()
        self._valid_until.release()
        self._memory.close()

    @property
    def generation(self) -> int:
        """Of routes and neighbours."""
        return self._generation[0]

    def begin_generation(self) -> None:
        """Makes void what was found out until now."""
        generation = (self._generation[0] + 1) % _GENERATIONS
        if generation % (REFERENCE_GENERATIONS // 2) == 0:
            # One that is written late, of the generation before, is gone the next time.
            _forget_references(self._pin_path)
        if generation % REFERENCE_GENERATIONS == 0:
            generation += 1
        self._generation[0] = generation

    def permit(self, now: float, seconds: float) -> None:
        """Lets the programs use what they find out, for so long.

        Args:
            now: monotonic seconds.
            seconds: from now on; a control plane that can no longer tell of changes is obeyed no longer than that.
        """
        self._valid_until[1] = self._clock.at(now + seconds)

    def forbid(self) -> None:
        """Has the programs ask the kernel for every packet."""
        self._valid_until[1] = 0


def _forget_references(pin_path: Path) -> None:
    """Clears the next hops of all bindings, which know only the lower bits of the generation they are of."""
    with Map.open(pin_directory(pin_path) / "bindings") as bindings:
        memory = bindings.memory()
    next_hops = np.frombuffer(memory, np.uint32)[1 :: SLOT_SIZE // 4]
    next_hops[:] = 0
    del next_hops
    memory.close()
