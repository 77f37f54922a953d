"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RateOptions:
    """Sizes of one run of the bench.

    Attributes:
        populations: numbers of bindings, ascending; each has a data path of its own.
        rounds: how often each case is run; the cases are interleaved.
        repeat: packets of one test run.
        live_rounds: bursts of live frames of each sort.
        live_frames: frames of one burst.
        installs: how often the bindings are installed and removed.
        changes: changed bindings whose first packet is waited for.
        json_file, plot_file: where the result goes; None: nowhere.
    """

    populations: tuple[int, ...] = (1, 1_000, 100_000, 1_000_000)
    rounds: int = 41
    repeat: int = 100_000
    live_rounds: int = 21
    live_frames: int = 50_000
    installs: int = 3
    changes: int = 500
    json_file: Path | None = None
    plot_file: Path | None = None

    def capacity(self, population: int) -> int:
        """Size of the map: the default one, or the next power of two."""
        return max(131_072, 1 << (population - 1).bit_length())


def quick(json_file: Path | None, plot_file: Path | None) -> RateOptions:
    """Less of everything, and no million: for a look, not for a record."""
    return RateOptions(
        populations=(1, 1_000, 100_000),
        rounds=5,
        repeat=20_000,
        live_rounds=5,
        live_frames=20_000,
        installs=1,
        changes=100,
        json_file=json_file,
        plot_file=plot_file,
    )
