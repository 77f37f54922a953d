"""Which of the files of a configuration hold secrets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from control.cluster.redis_address import RedisAddress
from control.config.nodes import Node
from control.config.schema import Configuration


def secret_files(configuration: Configuration, nodes: Iterable[Node]) -> list[Path]:
    """The files that nobody but the daemon should read.

    Args:
        configuration: names them, and is one itself if the URL of its state store has a password.
        nodes: what its file of nodes holds.
    """
    place = configuration.cluster.store.place
    candidates = (
        (configuration.ike.private_key, True),
        (configuration.path, isinstance(place, RedisAddress) and place.holds_secret),
        (configuration.nodes.file, any(node.has_secret for node in nodes)),
    )
    return [file for file, holds_secret in candidates if holds_secret and file is not None]
