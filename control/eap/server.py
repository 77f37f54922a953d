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
    """

    def __init__(self, name: str, random: Callable[[int], bytes]) -> None:
        self._name = name
        self._random = random

    def authenticator(self, account: EapAccount) -> LocalAuthenticator:
        """A run for one peer."""
        return LocalAuthenticator([lambda: self._method(account)], self._random(1)[0])

    def _method(self, account: EapAccount) -> ServerMethod:
        if account.method is EapType.MD5_CHALLENGE:
            return Md5Server(account.password.encode(), self._random, self._name)
        return MsChapV2Server(account.identity, account.password, self._random, self._name)
