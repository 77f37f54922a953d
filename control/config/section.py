"""What the sections of the configuration file have in common."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Meta


def about(description: str, example: object, **constraints: Any) -> Meta:
    """Meaning, example and bounds of a key."""
    return Meta(description=description, examples=[example], **constraints)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of the file."""
