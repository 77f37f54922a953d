"""Time to install and remove bindings from Python, and the kernel memory they take."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path

from bench.lab.errors import LabError
from datapath.bindings import BindingMap, Tunnel
from datapath.bpf_syscall import Map
from datapath.layout import pin_directory


@dataclass(slots=True)
class InstallTimes:
    """Seconds of each repetition."""

    install_s: list[float] = field(default_factory=list)
    remove_s: list[float] = field(default_factory=list)


def measure_installs(
    pin_path: Path, tunnels: Mapping[IPv6Address, Tunnel], repetitions: int, on_repetition: Callable[[int], None]
) -> InstallTimes:
    """Installs all and removes all, `repetitions` times; in the end none are installed."""
    times = InstallTimes()
    with BindingMap.open(pin_path) as bindings:
        for number in range(repetitions):
            gc.collect()
            started = time.monotonic()
            bindings.install_many(tunnels)
            times.install_s.append(time.monotonic() - started)
            _check(bindings, tunnels)
            started = time.monotonic()
            bindings.remove_many(tunnels)
            times.remove_s.append(time.monotonic() - started)
            on_repetition(number + 1)
    return times


def bytes_per_binding(pin_path: Path) -> float:
    """Kernel memory of the maps that grow with the bindings, by place in them: the maps are made at full size."""
    total = 0
    for name in ("bindings", "usage", "reply_addresses"):
        with Map.open(pin_directory(pin_path) / name) as opened:
            total += _kernel_memory(opened.descriptor)
    with BindingMap.open(pin_path) as bindings:
        return total / bindings.capacity


def _check(bindings: BindingMap, tunnels: Mapping[IPv6Address, Tunnel]) -> None:
    last = next(reversed(list(tunnels)))
    if len(bindings) != len(tunnels) or last not in bindings:
        raise LabError(f"{len(bindings)} of {len(tunnels)} bindings are in the map")


def _kernel_memory(descriptor: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "memlock":
            return int(value)
    raise LabError("the kernel does not say how much memory a map takes")
