"""The ratios and times to reach, and whether a result does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """One figure of the result, by its path of keys, and its limit."""

    path: tuple[str, ...]
    limit: float
    at_least: bool = False

    def judge(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """The target with its figure; `met` is None when that was not measured."""
        value: Any = result
        for key in self.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        met = None if value is None else (value >= self.limit if self.at_least else value <= self.limit)
        return {
            "figure": ".".join(self.path),
            "limit": self.limit,
            "at_least": self.at_least,
            "value": value,
            "met": met,
        }


TARGETS = (
    *(
        Target(("ratios", f"{direction}_to_adjust_write", population, "median"), limit)
        for population, limit in (("1000", 2.0), ("100000", 3.2), ("1000000", 4.7))
        for direction in ("encap", "decap")
    ),
    *(
        Target(("ratios", f"{direction}_to_kernel_forward", population), limit, at_least=True)
        for population, limit in (("1000", 3.5), ("1000000", 2.5))
        for direction in ("encap", "decap")
    ),
    Target(("install_s", "1000000"), 1.0),
    Target(("update_visible_us",), 10.0),
    Target(("load_s",), 1.0),
)


def judge_all(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every target, in the order of the list."""
    return [target.judge(result) for target in TARGETS]
