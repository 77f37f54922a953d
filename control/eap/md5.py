"""EAP-MD5 (RFC 3748 section 5.4): a password proved by a hash. It makes no key and does not prove the authenticator."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from control.eap.method import MethodSuccess
from control.eap.packet import EapError, EapType

_SIZE = 16


class Md5Server:
    """The authenticator's side.

    Args:
        password: the secret.
        random: source of random bytes.
        name: what this side calls itself.
    """

    type = EapType.MD5_CHALLENGE

    def __init__(self, password: bytes, random: Callable[[int], bytes], name: str) -> None:
        self._password = password
        self._challenge = random(_SIZE)
        self._name = name.encode()

    def begin(self, identifier: int) -> bytes:
        """See ServerMethod."""
        return bytes((_SIZE,)) + self._challenge + self._name

    def receive(self, data: bytes, identifier: int) -> bytes | MethodSuccess:
        """See ServerMethod."""
        response = _value(data)
        if not hmac.compare_digest(response, _hash(identifier, self._password, self._challenge)):
            raise EapError("wrong-password")
        return MethodSuccess()


class Md5Peer:
    """The side that proves itself.

    Args:
        password: the secret.
        name: what this side calls itself.
    """

    def __init__(self, password: bytes, name: str) -> None:
        self.finished = False
        self.msk = b""
        self._password = password
        self._name = name.encode()

    def receive(self, data: bytes, identifier: int) -> bytes:
        """See PeerMethod."""
        if self.finished:
            raise EapError("unexpected-eap-request")
        self.finished = True
        return bytes((_SIZE,)) + _hash(identifier, self._password, _value(data, any_size=True)) + self._name


def _value(data: bytes, *, any_size: bool = False) -> bytes:
    """Value-Size and Value; a name may follow."""
    size = data[0] if data else 0
    if not size or 1 + size > len(data) or (size != _SIZE and not any_size):
        raise EapError("malformed-eap-md5", f"{len(data)} bytes")
    return data[1 : 1 + size]


def _hash(identifier: int, password: bytes, challenge: bytes) -> bytes:
    return hashlib.md5(bytes((identifier,)) + password + challenge, usedforsecurity=False).digest()
