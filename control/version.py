"""Which version this is."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def installed_version() -> str:
    """The version of the installed distribution; "unknown" in a source tree that was never installed."""
    try:
        return metadata.version("homeagent")
    except metadata.PackageNotFoundError:
        return "unknown"
