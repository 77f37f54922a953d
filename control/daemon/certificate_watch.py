"""Certificates of nodes that others serve, checked before this home agent may have to bring them back.

What was checked is remembered by the validator; dates and revocation are looked at again when a node proves itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from control.ikev2.certificates import CertificateValidator
from control.ikev2.errors import CertificateError
from control.ikev2.payloads.identification import Identity

Chain = tuple[bytes, ...]

PAGE = 500
"""How many nodes are asked for at once."""
_WRITTEN_AT_ONCE = 500
_UNWRITTEN_AT_MOST = 20_000
_ROUND_EVERY_S = 10.0
# Of the validator's memory the rest is for nodes that come here by themselves.
_SHARE_OF_MEMORY = 0.75
_TURN_S = 0.003


class CertificateWatch:
    """Says which certificates are to be written down and which nodes are to be asked for next, and checks theirs."""

    def __init__(self, validator: CertificateValidator) -> None:
        """Take note of all that ``validator`` is shown."""
        self._validator = validator
        self._unwritten: dict[str, Chain] = {}
        self._page: list[tuple[str, Chain]] = []
        self._owners: list[str] = []
        self._after = ""
        self._checked = 0
        self._next_round_at = 0.0
        validator.observe = self._seen

    def to_write(self) -> dict[str, Chain]:
        """Some of the certificates that nodes have shown since they were last written down."""
        return {identity: self._unwritten[identity] for identity in list(self._unwritten)[:_WRITTEN_AT_ONCE]}

    def written(self, chains: dict[str, Chain]) -> None:
        """These have been written down."""
        for identity, chain in chains.items():
            if self._unwritten.get(identity) == chain:
                del self._unwritten[identity]

    def next_page(self, others: Sequence[str], now: float) -> tuple[str, str] | None:
        """Whose nodes are to be read now, and after which identity; None while there is nothing to be read.

        Args:
            others: the other home agents of the cluster.
            now: monotonic seconds.
        """
        if self._page:
            return None
        if not self._owners:
            if now < self._next_round_at or not others:
                return None
            self._next_round_at = now + _ROUND_EVERY_S
            self._owners, self._after, self._checked = list(others), "", 0
        return (self._owners[0], self._after) if self._owners else None

    def read(self, page: list[tuple[str, Chain]]) -> None:
        """What has been read of the nodes that :meth:`next_page` asked for."""
        if len(page) < PAGE:
            self._owners, self._after = self._owners[1:], ""
        else:
            self._after = page[-1][0]
        self._page = [(identity, chain) for identity, chain in page if chain]
        self._checked += len(self._page)
        if self._checked > self._validator.cache_size * _SHARE_OF_MEMORY:
            self._owners = []

    def check_some(self) -> None:
        """Check certificates for some milliseconds at most."""
        end = time.monotonic() + _TURN_S
        while self._page and time.monotonic() < end:
            identity, chain = self._page.pop()
            shown = self._unwritten.get(identity)
            # Whatever is wrong with it is said when the node shows it.
            with suppress(CertificateError, ValueError):
                self._validator.validate(chain, Identity.from_text(identity))
            if shown is None:
                self._unwritten.pop(identity, None)  # it was not the node that has shown this one
            else:
                self._unwritten[identity] = shown

    def _seen(self, identity: Identity, chain: Chain) -> None:
        if len(self._unwritten) < _UNWRITTEN_AT_MOST:
            self._unwritten[str(identity)] = chain
