"""Stateless cookies against floods of IKE_SA_INIT from forged addresses (RFC 7296 section 2.6)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import blake2s

from control.ikev2.address import SocketAddress

_SECRET_SIZE = 32
COOKIE_SIZE = 24
"""Bytes of a cookie."""


class CookieJar:
    """Makes and checks cookies: <version of secret> | hash(Ni | IPi | port | SPIi, secret).

    Args:
        random: source of secrets.
        lifetime_s: seconds until a new secret is taken; cookies of the one before stay good for as long again.
    """

    def __init__(self, random: Callable[[int], bytes], lifetime_s: float = 60.0) -> None:
        self._random = random
        self._lifetime_s = lifetime_s
        self._version = 0
        self._secrets: dict[int, bytes] = {}
        self._renew_at = float("-inf")

    def bake(self, nonce: bytes, remote: SocketAddress, initiator_spi: bytes, now: float) -> bytes:
        """The cookie for a stranger's IKE_SA_INIT request."""
        self._renew(now)
        return self._cookie(self._version, nonce, remote, initiator_spi)

    def check(self, cookie: bytes, nonce: bytes, remote: SocketAddress, initiator_spi: bytes, now: float) -> bool:
        """Whether ``cookie`` was baked for this request not long ago."""
        self._renew(now)
        if not cookie or cookie[0] not in self._secrets:
            return False
        return hmac.compare_digest(cookie, self._cookie(cookie[0], nonce, remote, initiator_spi))

    def _renew(self, now: float) -> None:
        if now < self._renew_at:
            return
        previous = self._version
        kept = self._secrets.get(previous) if now < self._renew_at + self._lifetime_s else None
        self._version = (previous + 1) % 256
        self._secrets = {self._version: self._random(_SECRET_SIZE)}
        if kept is not None:
            self._secrets[previous] = kept
        self._renew_at = now + self._lifetime_s

    def _cookie(self, version: int, nonce: bytes, remote: SocketAddress, initiator_spi: bytes) -> bytes:
        claimed = nonce + remote.address.packed + remote.port.to_bytes(2, "big") + initiator_spi
        digest = blake2s(claimed, key=self._secrets[version], digest_size=COOKIE_SIZE - 1)
        return version.to_bytes(1, "big") + digest.digest()
