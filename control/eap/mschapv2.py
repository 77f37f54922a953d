"""EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2): a password proved by both sides, and a key."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import IntEnum
from struct import Struct

from control.eap import mschap
from control.eap.method import MethodSuccess
from control.eap.packet import EapError, EapType

_HEADER = Struct(">BBHB")  # operation, identifier, length, size of the value
_MESSAGE_HEADER = Struct(">BBH")
_RESPONSE_SIZE = 49  # peer challenge, 8 reserved bytes, NT response, flags
_RESERVED = bytes(8)
_AUTHENTICATION_FAILURE = 691


class Operation(IntEnum):
    """OpCode of a message."""

    CHALLENGE = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class MsChapV2Server:
    """The authenticator's side.

    Args:
        user_name: whom the peer has to call itself.
        password: the secret.
        random: source of random bytes.
        name: what this side calls itself.
    """

    type = EapType.MSCHAPV2

    def __init__(self, user_name: str, password: str, random: Callable[[int], bytes], name: str) -> None:
        self._user_name = user_name.encode()
        self._password_hash = mschap.password_hash(password)
        self._challenge = random(mschap.CHALLENGE_SIZE)
        self._name = name.encode()
        self._awaited = Operation.RESPONSE
        self._msk = b""
        self._failure = ""

    def begin(self, identifier: int) -> bytes:
        """See ServerMethod."""
        return _with_value(Operation.CHALLENGE, identifier, self._challenge, self._name)

    def receive(self, data: bytes, identifier: int) -> bytes | MethodSuccess:
        """See ServerMethod."""
        operation = data[0] if data else 0
        if self._failure and operation in (Operation.FAILURE, Operation.RESPONSE):
            raise EapError(self._failure)
        if operation != self._awaited:
            raise EapError("unexpected-mschapv2-operation", str(operation))
        if operation == Operation.SUCCESS:
            return MethodSuccess(self._msk)
        value, name = _value(data, _RESPONSE_SIZE)
        peer_challenge = value[: mschap.CHALLENGE_SIZE]
        at = mschap.CHALLENGE_SIZE + len(_RESERVED)
        response = value[at : at + mschap.NT_RESPONSE_SIZE]
        challenge = mschap.challenge_hash(peer_challenge, self._challenge, name)
        if not hmac.compare_digest(name, self._user_name):
            return self._refuse("wrong-eap-identity", identifier)
        if not hmac.compare_digest(response, mschap.nt_response(challenge, self._password_hash)):
            return self._refuse("wrong-password", identifier)
        self._msk = mschap.master_session_key(self._password_hash, response)
        self._awaited = Operation.SUCCESS
        proof = mschap.authenticator_response(self._password_hash, response, challenge)
        return _message(Operation.SUCCESS, data[1], f"{proof} M=Welcome")

    def _refuse(self, reason: str, identifier: int) -> bytes:
        """Say so, without a second try; EAP-Failure follows the peer's answer."""
        self._failure = reason
        challenge = self._challenge.hex().upper()
        text = f"E={_AUTHENTICATION_FAILURE} R=0 C={challenge} V=3 M=Authentication failed"
        return _message(Operation.FAILURE, identifier, text)


class MsChapV2Peer:
    """The side that proves itself.

    Args:
        user_name: what this side calls itself.
        password: the secret.
        random: source of random bytes.
    """

    def __init__(self, user_name: str, password: str, random: Callable[[int], bytes]) -> None:
        self.finished = False
        self.msk = b""
        self._user_name = user_name.encode()
        self._password_hash = mschap.password_hash(password)
        self._random = random
        self._expected: str | None = None
        self._response = b""

    def receive(self, data: bytes, identifier: int) -> bytes:
        """See PeerMethod."""
        operation = data[0] if data else 0
        if operation == Operation.CHALLENGE and self._expected is None:
            return self._respond(data)
        if operation == Operation.SUCCESS and self._expected is not None:
            return self._check(data)
        if operation == Operation.FAILURE:
            # It is only taken notice of: there is no other password to try, and EAP-Failure follows.
            self._expected = None
            return bytes((Operation.FAILURE,))
        raise EapError("unexpected-mschapv2-operation", str(operation))

    def _respond(self, data: bytes) -> bytes:
        authenticator_challenge, _ = _value(data, mschap.CHALLENGE_SIZE)
        peer_challenge = self._random(mschap.CHALLENGE_SIZE)
        challenge = mschap.challenge_hash(peer_challenge, authenticator_challenge, self._user_name)
        self._response = mschap.nt_response(challenge, self._password_hash)
        self._expected = mschap.authenticator_response(self._password_hash, self._response, challenge)
        value = peer_challenge + _RESERVED + self._response + b"\0"
        return _with_value(Operation.RESPONSE, data[1], value, self._user_name)

    def _check(self, data: bytes) -> bytes:
        proof = data[_MESSAGE_HEADER.size :].split(b" ")[0]
        if self._expected is None or not hmac.compare_digest(proof, self._expected.encode()):
            raise EapError("authenticator-knows-no-password")
        self.finished = True
        self.msk = mschap.master_session_key(self._password_hash, self._response)
        return bytes((Operation.SUCCESS,))


def _with_value(operation: Operation, identifier: int, value: bytes, name: bytes) -> bytes:
    length = _HEADER.size + len(value) + len(name)
    return _HEADER.pack(operation, identifier, length, len(value)) + value + name


def _message(operation: Operation, identifier: int, text: str) -> bytes:
    return _MESSAGE_HEADER.pack(operation, identifier, _MESSAGE_HEADER.size + len(text)) + text.encode()


def _value(data: bytes, size: int) -> tuple[bytes, bytes]:
    """Value and name of a challenge or response."""
    end = _HEADER.size + size
    if len(data) < end:
        raise EapError("malformed-mschapv2", f"{len(data)} bytes")
    _, _, length, value_size = _HEADER.unpack_from(data)
    if value_size != size or length != len(data):
        raise EapError("malformed-mschapv2", f"value of {value_size} bytes, length {length} of {len(data)}")
    return data[_HEADER.size : end], data[end:]
