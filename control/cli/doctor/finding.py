"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the doctor's table.

    Attributes:
        check: what was looked at.
        level: how it is; with a problem the home agent does not work, with a warning not as well as it could.
        says: what was found, without a full stop.
        remedy: how to mend it, a sentence; empty if nothing needs mending.
    """

    check: str
    level: Level
    says: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """The same, of types JSON has."""
        return {"check": self.check, "level": str(self.level), "says": self.says, "remedy": self.remedy}


def ok(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, says)


def warning(check: str, says: str, remedy: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(check, Level.WARNING, says, remedy)


def problem(check: str, says: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.PROBLEM, says, remedy)


def told(check: str, error: Exception) -> Finding:
    """A problem from an error whose message has a remedy behind a colon, as those of this program do."""
    says, _, remedy = str(error).rstrip(".").partition(": ")
    return problem(check, says, f"{remedy[:1].upper()}{remedy[1:]}." if remedy else "")
