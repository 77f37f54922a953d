"""Authenticators for accounts."""

from __future__ import annotations

from collections.abc import Callable

from control.eap.account import EapAccount
from control.eap.authenticator import LocalAuthenticator
from control.eap.md5 import Md5Server
from control.eap.method import ServerMethod
from control.eap.mschapv2 import MsChapV2Server
from control.eap.packet import EapType


class EapServer:
    """Makes authenticators.

    Args:
        name: what this side calls itself.
        random: source of random bytes, fit for challenges.
        tls: makes runs of EAP-TLS; None refuses accounts with it.
    """

    def __init__(
        self, name: str, random: Callable[[int], bytes], tls: Callable[[EapAccount], ServerMethod] | None = None
    ) -> None:
        self._name = name
        self._random = random
        self._tls = tls

    def authenticator(self, account: EapAccount) -> LocalAuthenticator | None:
        """A run for one peer, None for one whose method cannot be had."""
        method = self._method(account)
        return LocalAuthenticator([lambda: method], self._random(1)[0]) if method is not None else None

    def _method(self, account: EapAccount) -> ServerMethod | None:
        if account.method is EapType.TLS:
            return self._tls(account) if self._tls is not None else None
        if account.method is EapType.MD5_CHALLENGE:
            return Md5Server(account.password.encode(), self._random, self._name)
        return MsChapV2Server(account.identity, account.password, self._random, self._name)
