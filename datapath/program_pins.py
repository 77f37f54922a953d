"""Where programs are pinned: one in force under its name, one that is about to take its place beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from datapath.bpf_syscall import object_pin
from datapath.errors import DatapathError


def program_pins(program: str) -> tuple[str, str]:
    """The program in force, and the one a loader is about to put in its place."""
    return program, f"{program}_next"


@contextmanager
def replaced(directory: Path, programs: Mapping[str, int], put_back: Callable[[], None]) -> Iterator[None]:
    """Has programs pinned beside those in force for the length of the block, and in their place after it.

    Args:
        directory: of the pins.
        programs: descriptors by name.
        put_back: makes everything as it was, if the block raises; the pins are gone by then.

    Raises:
        DatapathError: a program cannot be pinned.
    """
    pins = {name: [directory / pin for pin in program_pins(name)] for name in programs}
    try:
        for name, (_, following) in pins.items():
            following.unlink(missing_ok=True)
            object_pin(programs[name], following)
        yield
    except BaseException:
        for _, following in pins.values():
            following.unlink(missing_ok=True)
        with contextlib.suppress(DatapathError):  # what went wrong first is what the operator needs to know
            put_back()
        raise
    for pin, following in pins.values():
        following.rename(pin)
