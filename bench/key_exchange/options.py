"""What a run of the bench varies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.key_exchange.methods import METHODS, Method


@dataclass(frozen=True, slots=True)
class Options:
    """What to measure, and how often.

    Attributes:
        methods: authentication methods.
        nodes: nodes in each run, all under way together: about as many as the daemon allows by default.
        rounds: how often everything is measured.
        memory_nodes: nodes of the memory figure, 0 for none.
        strongswan: measure it too, where it is to be had.
        json_file: where the result goes, None for nowhere.
    """

    methods: tuple[Method, ...] = METHODS
    nodes: int = 64
    rounds: int = 15
    memory_nodes: int = 500
    strongswan: bool = True
    json_file: Path | None = None
