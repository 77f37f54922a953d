"""Revocation lists that are renewed while the daemon runs."""

from __future__ import annotations

import logging
from pathlib import Path

from control.config.problems import ConfigurationError
from control.config.revocation import read_revocation_lists
from control.ikev2.revocation import RevocationLists

_LOG = logging.getLogger(__name__)


class RevocationFiles:
    """Reads the files again when one of them has changed."""

    def __init__(self, lists: RevocationLists, files: tuple[Path, ...]) -> None:
        """Take note of how the files are now.

        Args:
            lists: what was read from them.
            files: the files.
        """
        self._lists = lists
        self._files = files
        self._seen = self._look()

    def refresh(self) -> bool:
        """Use what the files hold now; returns whether they have changed and could be read.

        Lists that cannot be read leave those that were, with an entry in the log.
        """
        found = self._look()
        if found == self._seen:
            return False
        self._seen = found
        try:
            self._lists.replace(read_revocation_lists(self._files))
        except ConfigurationError as error:
            _LOG.error("the revocation lists stay as they were: %s", error)
            return False
        _LOG.info("read %d revocation lists anew", len(self._files))
        return True

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What tells a changed file from an unchanged one."""
        looks: list[tuple[int, int, int] | None] = []
        for file in self._files:
            try:
                status = file.stat()
            except OSError:
                looks.append(None)
            else:
                looks.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return looks
