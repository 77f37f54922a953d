"""Whether the programs may use next hops they found out before, and from when on those are void: bpf/next_hops.h."""

from __future__ import annotations

from pathlib import Path

from datapath.bpf_syscall import Map
from datapath.errors import StalePin
from datapath.jiffies import JiffiesClock
from datapath.layout import ROUTE_CONTROL, pin_directory

_GENERATIONS = 1 << 32


class RouteControl:
    """The mapped word pair that the programs look at for every packet."""

    def __init__(self, control: Map) -> None:
        if control.info.value_size != ROUTE_CONTROL.size:
            raise StalePin("The pinned routes have another layout: run `homeagent datapath unload`, then load again.")
        self._clock = JiffiesClock()
        self._memory = control.memory()
        self._generation = memoryview(self._memory).cast("I")
        self._valid_until = memoryview(self._memory).cast("q")

    @classmethod
    def open(cls, pin_path: Path) -> RouteControl:
        """Opens the pinned map; raises NotLoaded or StalePin."""
        with Map.open(pin_directory(pin_path) / "route_control") as control:
            return cls(control)

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
        self._generation[0] = (self._generation[0] + 1) % _GENERATIONS or 1

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
