"""Just enough of a TOML writer for the configuration files the laboratory makes (the library only reads)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Scalar = str | int | float | bool
Value = Scalar | Path | Sequence[str]
Table = Mapping[str, Value]


def toml_document(tables: Mapping[str, Table], arrays: Mapping[str, Sequence[Table]] | None = None) -> str:
    """A document of `[tables]`, followed by `[[arrays]]` of tables."""
    parts = [_section(f"[{name}]", table) for name, table in tables.items()]
    for name, rows in (arrays or {}).items():
        parts += [_section(f"[[{name}]]", row) for row in rows]
    return "\n".join(parts)


def _section(header: str, table: Table) -> str:
    lines = [header, *(f"{key} = {_value(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        # JSON's escapes are a subset of those of TOML's basic strings.
        return json.dumps(str(value))
    return "[" + ", ".join(_value(item) for item in value) + "]"
