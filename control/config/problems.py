"""What is wrong with a configuration file: where, what, and what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a file.

    Attributes:
        file: the file it stands in.
        line: line number from 1; None where no line can be named (a file that is not there, a missing section).
        key: dotted key, as in ``ike.cookie_threshold``; empty when it concerns the whole file.
        wrong: what is wrong, without full stop.
        remedy: what to do, a sentence.
    """

    file: Path
    line: int | None
    key: str
    wrong: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else f"{self.file}"
        key = f"{self.key}: " if self.key else ""
        return f"{place}: {key}{self.wrong}. {self.remedy}"


class ConfigurationError(Exception):
    """A configuration that cannot be used.

    Attributes:
        problems: every mistake found, in the order of the file; at least one.
    """

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))
