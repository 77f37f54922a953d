"""Records and enumerations that a handshake can afford by the hundred.

A record is a class of named fields and little else. Python makes an instance of a dataclass by running a generated
``__init__``; msgspec makes one in C, in a third of the time, compares and hashes it there too, and has frozen classes
that cost nothing. mypy checks both alike.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar

from msgspec import Struct


def _shown(record: Record | MutableRecord) -> list[tuple[str, Any]]:
    return [(name, getattr(record, name)) for name in record.__struct_fields__ if name not in record.hidden_fields]


def _represent(record: Record | MutableRecord) -> str:
    return f"{type(record).__qualname__}({', '.join(f'{name}={value!r}' for name, value in _shown(record))})"


class Record(Struct, frozen=True):
    """Fields that never change, compared and hashed by value: ``class Lease(Record, frozen=True)``.

    Attributes:
        hidden_fields: names of those that no log may show, such as keys.
    """

    hidden_fields: ClassVar[frozenset[str]] = frozenset()

    __repr__ = _represent
    __rich_repr__ = _shown


class MutableRecord(Struct):
    """Fields that may change: ``class Progress(MutableRecord)``.

    Attributes:
        hidden_fields: names of those that no log may show, such as keys.
    """

    hidden_fields: ClassVar[frozenset[str]] = frozenset()

    __repr__ = _represent
    __rich_repr__ = _shown


class HashedByIdentity(Enum):
    """An enumeration whose members are quick keys of dictionaries: Enum's own hash is in Python."""

    __hash__ = object.__hash__
