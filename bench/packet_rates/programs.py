"""The measuring programs (programs/packet_rates.c) in the kernel, and their maps."""

from __future__ import annotations

import importlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.lab.errors import LabError
from bench.packet_rates import frames
from datapath.bpf_syscall import Map
from datapath.compiler import source_directory
from datapath.kernel_headers import kernel_source
from datapath.layout import INDEX

_SOURCE = Path(__file__).parent / "programs" / "packet_rates.c"
_SEQUENCE = struct.Struct("=3Q")
_SIGHTING = struct.Struct("=3Q")
_TALLY = struct.Struct("=7Q")
_FIRST = INDEX.pack(0)
_UNDER_TEST, _UNDO_ENCAPSULATION, _UNDO_DECAPSULATION = range(3)
_SEED = 0x5DEECE66D


@dataclass(frozen=True, slots=True)
class Sighting:
    """The last change of care-of address that packets showed; `seen_at_ns` is of CLOCK_MONOTONIC."""

    care_of_low: bytes
    seen_at_ns: int
    changes: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of packets while bindings were changed.

    Attributes:
        to_first, to_second: packets to the care-of address before the change of their binding, and after it.
        unbound: packets of bindings that were not there then.
        lost: those of them whose binding is never removed.
        astray: tunnelled to any other address.
    """

    to_first: int
    to_second: int
    unbound: int
    lost: int
    astray: int

    @property
    def packets(self) -> int:
        """All that were judged."""
        return self.to_first + self.to_second + self.unbound + self.astray


class MeasuringPrograms:
    """Compiled and verified once; the program under test is put in for each population of bindings."""

    def __init__(self) -> None:
        headers = kernel_source()
        if headers is not None:
            os.environ["BCC_KERNEL_SOURCE"] = str(headers)
        try:
            self._bcc: Any = importlib.import_module("bcc")
        except ImportError:
            raise LabError("the Python module bcc is missing: `make setup` installs it") from None
        text = "".join(f"#define {name} {value}\n" for name, value in frames.macros().items()) + _SOURCE.read_text()
        self._module = self._bcc.BPF(text=text.encode(), cflags=[f"-I{source_directory()}", "-Wno-unused-function"])
        self._descriptors: dict[str, int] = {}
        self._sequences = self._map("sequences")
        self._sightings = self._map("sightings")
        self._tallies = self._map("tallies")
        self._received = self._map("received")
        self._targets = self._map("targets")
        self._set_target(_UNDO_ENCAPSULATION, self.descriptor("undo_encapsulation_driver"))
        self._set_target(_UNDO_DECAPSULATION, self.descriptor("undo_decapsulation_driver"))

    def descriptor(self, name: str) -> int:
        """The program of this name, loaded when first asked for."""
        if name not in self._descriptors:
            self._descriptors[name] = self._module.load_func(name.encode(), self._bcc.BPF.XDP).fd
        return self._descriptors[name]

    def set_under_test(self, program: int) -> None:
        """What the drivers hand each frame to."""
        self._set_target(_UNDER_TEST, program)

    def draw_from(self, bindings: int) -> None:
        """Keys are drawn from the first so many bindings from now on; 1 makes it always the same one."""
        self._sequences.update(_FIRST, _SEQUENCE.pack(_SEED, bindings, 0))

    def sighting(self) -> Sighting:
        """What `watch_encapsulation` saw last."""
        care_of, seen_at, changes = _SIGHTING.unpack(self._sightings.lookup(_FIRST) or bytes(_SIGHTING.size))
        return Sighting(care_of.to_bytes(8, "little"), seen_at, changes)

    def judge_from(self, bindings: int, staying: int) -> None:
        """`judge_encapsulation` draws from so many bindings and begins to count; the first `staying` always stay."""
        self.draw_from(bindings)
        self._tallies.update(_FIRST, _TALLY.pack(staying, *[0] * 6))

    def tally(self) -> Tally:
        """What `judge_encapsulation` has counted."""
        _, _, *counted = _TALLY.unpack(self._tallies.lookup(_FIRST) or bytes(_TALLY.size))
        return Tally(*counted)

    def received(self) -> int:
        """Frames that reached `count_and_drop`, ever."""
        value = self._received.lookup(_FIRST) or b""
        return sum(number for (number,) in struct.iter_unpack("=Q", value))

    def close(self) -> None:
        """Frees maps and programs; those attached stay until their interface goes."""
        for opened in (self._sequences, self._sightings, self._tallies, self._received, self._targets):
            opened.close()
        self._module.cleanup()

    def _map(self, name: str) -> Map:
        return Map(os.dup(self._module[name.encode()].map_fd))

    def _set_target(self, index: int, program: int) -> None:
        self._targets.update(INDEX.pack(index), INDEX.pack(program))
