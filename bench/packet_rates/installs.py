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
from datapath.layout import BINDING, pin_directory


@dataclass(slots=True)
class InstallTimes:
    """Seconds of each repetition; `batch_s` is the part of the system call, with keys and values packed before."""

    install_s: list[float] = field(default_factory=list)
    remove_s: list[float] = field(default_factory=list)
    batch_s: list[float] = field(default_factory=list)


def measure_installs(
    pin_path: Path, tunnels: Mapping[IPv6Address, Tunnel], repetitions: int, on_repetition: Callable[[int], None]
) -> InstallTimes:
    """Installs all and removes all, `repetitions` times; in the end none are installed."""
    times = InstallTimes()
    with BindingMap.open(pin_path) as bindings:
        for number in range(repetitions):
            times.batch_s.append(_batch_once(pin_path, tunnels))
            gc.collect()
            started = time.monotonic()
            bindings.install_many(tunnels)
            times.install_s.append(time.monotonic() - started)
            _check(pin_path, tunnels)
            started = time.monotonic()
            bindings.remove_many(tunnels)
            times.remove_s.append(time.monotonic() - started)
            on_repetition(number + 1)
    return times


def bytes_per_binding(pin_path: Path) -> float:
    """Kernel memory of the maps that grow with the bindings, by place in them: the maps are made at full size."""
    total, places = 0, 1
    for name in ("bindings", "usage"):
        with Map.open(pin_directory(pin_path) / name) as opened:
            total += _kernel_memory(opened.descriptor)
            places = opened.info.max_entries
    return total / places


def _batch_once(pin_path: Path, tunnels: Mapping[IPv6Address, Tunnel]) -> float:
    keys = b"".join(home.packed for home in tunnels)
    values = b"".join(
        BINDING.pack(tunnel.care_of_address.packed, tunnel.home_agent_address.packed, slot, 0)
        for slot, tunnel in enumerate(tunnels.values())
    )
    with Map.open(pin_directory(pin_path) / "bindings") as opened:
        started = time.monotonic()
        opened.update_batch(keys, values)
        took = time.monotonic() - started
        opened.delete_batch(keys)
    return took


def _check(pin_path: Path, tunnels: Mapping[IPv6Address, Tunnel]) -> None:
    with Map.open(pin_directory(pin_path) / "bindings") as opened:
        present = sum(count for _, _, count in opened.lookup_batches())
        last = opened.lookup(next(reversed(list(tunnels))).packed)
    if present != len(tunnels) or last is None:
        raise LabError(f"{present} of {len(tunnels)} bindings are in the map")


def _kernel_memory(descriptor: int) -> int:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "memlock":
            return int(value)
    raise LabError("the kernel does not say how much memory a map takes")
