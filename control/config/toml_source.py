"""TOML files with line numbers: ``tomllib`` reads values, but not where they stand."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from control.config.problems import ConfigurationError, Problem

_BARE_OR_QUOTED = r"(?:[A-Za-z0-9_-]+|\"[^\"\\]*\"|'[^']*')"
_DOTTED = rf"{_BARE_OR_QUOTED}(?:\s*\.\s*{_BARE_OR_QUOTED})*"
_TABLE = re.compile(rf"^\s*\[\s*({_DOTTED})\s*\]")
_TABLE_ARRAY = re.compile(rf"^\s*\[\[\s*({_DOTTED})\s*\]\]")
_KEY = re.compile(rf"^\s*({_DOTTED})\s*=")
_ERROR_LINE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


class TomlSource:
    """A TOML file that was read, and where its keys stand.

    Attributes:
        file: its path.
        document: its contents.
    """

    def __init__(self, file: Path, text: str) -> None:
        """Parses a file's text.

        Raises:
            ConfigurationError: it is not TOML.
        """
        self.file = file
        self._text = text
        self._lines: dict[tuple[str | int, ...], int] | None = None
        try:
            self.document: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError([_syntax_problem(file, text, error)]) from None

    @classmethod
    def read(cls, file: Path) -> TomlSource:
        """Reads a file.

        Raises:
            ConfigurationError: it cannot be read or is not TOML in UTF-8.
        """
        return cls(file, read_text(file))

    def line(self, *path: str | int) -> int | None:
        """The line (from 1) of a key; of the nearest enclosing one for what stands inside a value; None for none."""
        if self._lines is None:
            self._lines = _index(self._text)
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path)


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        ConfigurationError: it cannot be read or is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        problem = Problem(file, None, "", "there is no such file", "Create it or name another one.")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        problem = Problem(file, line, "", "not UTF-8 text", "Save the file in UTF-8.")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problem = Problem(file, None, "", f"cannot be read ({reason})", "Check its permissions and who runs homeagent.")
    raise ConfigurationError([problem])


def _syntax_problem(file: Path, text: str, error: tomllib.TOMLDecodeError) -> Problem:
    message = str(error)
    place = _ERROR_LINE.search(message)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    wrong = message[: place.start()] if place else message
    wrong = wrong[:1].lower() + wrong[1:]
    return Problem(file, line, "", f"not TOML: {wrong}", 'Write key = value, with text in double quotes: name = "ha1".')


def _index(text: str) -> dict[tuple[str | int, ...], int]:
    """The lines of all keys that begin a line, and of all tables.

    Line by line, so that a line inside a multi-line string that looks like a key can be taken for one: good enough to
    point a person to the place.
    """
    lines: dict[tuple[str | int, ...], int] = {}
    counts: dict[tuple[str | int, ...], int] = {}
    prefix: tuple[str | int, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _TABLE_ARRAY.match(line):
            name = _within(_split(match[1]), counts)
            counts[name] = counts.get(name, -1) + 1
            prefix = (*name, counts[name])
            lines.setdefault(name, number)
        elif match := _TABLE.match(line):
            prefix = _within(_split(match[1]), counts)
        elif match := _KEY.match(line):
            key = (*prefix, *_split(match[1]))
            for depth in range(len(prefix) + 1, len(key) + 1):
                lines.setdefault(key[:depth], number)
            continue
        else:
            continue
        lines.setdefault(prefix, number)
    return lines


def _within(name: tuple[str, ...], counts: dict[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
    """The path of a table: inside an array of tables it belongs to the last one so far."""
    path: tuple[str | int, ...] = ()
    for step in name[:-1]:
        path = (*path, step)
        if path in counts:
            path = (*path, counts[path])
    return (*path, name[-1])


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"' \t") for part in re.findall(_BARE_OR_QUOTED, dotted))
