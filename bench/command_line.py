"""What the programs `python -m bench.…` have in common: numbers and files among their options, and how they end."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from bench.lab.errors import LabError, LabInterrupted
from datapath.errors import DatapathError

_Number = TypeVar("_Number", int, float)


def number(
    kind: Callable[[str], _Number], least: float = -math.inf, most: float = math.inf, *, below: float = math.inf
) -> Callable[[str], _Number]:
    """For argparse: a number from ``least`` to ``most``, and less than ``below``."""

    def parse(text: str) -> _Number:
        value = kind(text)
        if not (least <= value <= most and value < below):
            upwards = f" to {most}" if most < math.inf else f" to less than {below}" if below < math.inf else " or more"
            raise argparse.ArgumentTypeError(f"takes {least}{upwards}")
        return value

    parse.__name__ = getattr(kind, "__name__", "number")  # argparse names it where the text is no number
    return parse


percentage = number(float, 0, below=100)
"""For argparse: a share that is not everything."""


def positive(text: str) -> float:
    """For argparse: a number above zero."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("takes a positive number")
    return value


def result_file(text: str) -> Path:
    """For argparse: a file that can be written when there is a result, which may take long."""
    file = Path(text)
    if not file.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{file} cannot be written: there is no such directory")
    return file


def keep(result: object, file: Path | None) -> None:
    """Write the result as JSON, if there is a file for it."""
    if file is not None:
        file.write_text(json.dumps(result, indent=2) + "\n")


def exit_status(what: str, console: Console, run: Callable[[], int]) -> int:
    """What ``run`` returns, or the exit status for what ended it before its time, which ``console`` is told."""
    try:
        return run()
    except LabInterrupted as interrupt:
        console.print("Interrupted; everything was removed.")
        return 128 + interrupt.signal_number
    except (LabError, DatapathError) as error:
        console.print(f"{what} could not be completed: {error}", style="red", markup=False, soft_wrap=True)
        return 1
