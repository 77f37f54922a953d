"""Dataclasses and enumerations as the standard library's, but cheaper where a handshake needs many of them.

``dataclass``: its frozen classes are frozen for the type checker only. Python makes a frozen dataclass by a call for
each field, which takes five times as long as an ordinary assignment; a handshake makes a hundred of them. mypy sees the
real thing and refuses every assignment, so nothing has to at run time.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: Any = None, /, *, frozen: bool = False, **options: Any) -> Any:
        """As the standard library's; ``frozen`` makes a class hashable and nothing else."""
        return dataclasses.dataclass(cls, **options, unsafe_hash=frozen and options.get("eq", True))


class HashedByIdentity(Enum):
    """An enumeration whose members are quick keys of dictionaries: Enum's own hash is in Python."""

    __hash__ = object.__hash__
