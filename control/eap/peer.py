"""The side that proves itself (RFC 3748 section 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from control.eap.account import EapAccount
from control.eap.authenticator import MAX_ROUNDS
from control.eap.md5 import Md5Peer
from control.eap.method import MethodSuccess, PeerMethod
from control.eap.mschapv2 import MsChapV2Peer
from control.eap.packet import EapCode, EapError, EapPacket, EapType

_NO_METHOD = 0


class EapPeer:
    """Answers one authenticator."""

    def __init__(self, identity: str, methods: Mapping[EapType, Callable[[], PeerMethod]]) -> None:
        """Nothing received yet.

        Args:
            identity: for an authenticator that asks.
            methods: those this side is willing to use.
        """
        self._identity = identity
        self._methods = methods
        self._method: PeerMethod | None = None
        self._type: EapType | None = None
        self._identifier: int | None = None
        self._rounds = 0

    def receive(self, packet: bytes) -> bytes | MethodSuccess:
        """Take a packet of the authenticator.

        Returns:
            The response, or success.

        Raises:
            EapError: this side is refused, or the authenticator makes no sense.
        """
        parsed = EapPacket.from_wire(packet)
        if parsed.code is EapCode.FAILURE:
            raise EapError("eap-failure")
        if parsed.code is EapCode.SUCCESS:
            if self._method is None or not self._method.finished or parsed.identifier != self._identifier:
                raise EapError("premature-eap-success")
            return MethodSuccess(self._method.msk)
        if parsed.code is not EapCode.REQUEST:
            raise EapError("unexpected-eap-code", parsed.code.name)
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise EapError("too-many-eap-rounds")
        self._identifier = parsed.identifier
        response_type, data = self._respond(parsed)
        return EapPacket(EapCode.RESPONSE, parsed.identifier, response_type, data).to_wire()

    def _respond(self, request: EapPacket) -> tuple[int, bytes]:
        if request.type == EapType.IDENTITY:
            return EapType.IDENTITY, self._identity.encode()
        if request.type == EapType.NOTIFICATION:
            return EapType.NOTIFICATION, b""
        kind = next((kind for kind in self._methods if kind == request.type), None)
        if self._method is None and kind is None:
            return EapType.NAK, bytes(self._methods) or bytes((_NO_METHOD,))
        if self._method is None and kind is not None:
            self._method, self._type = self._methods[kind](), kind
        if self._method is None or kind is not self._type or kind is None:
            # A method once begun is not left again (RFC 3748 section 2.1).
            raise EapError("unexpected-eap-type", str(request.type))
        return kind, self._method.receive(request.data, request.identifier)


def password_peer(account: EapAccount, random: Callable[[int], bytes]) -> EapPeer:
    """Proves itself by the password and the one method of an account.

    Args:
        account: this side's with the authenticator.
        random: source of random bytes, fit for challenges.
    """
    makers: dict[EapType, Callable[[], PeerMethod]] = {
        EapType.MD5_CHALLENGE: lambda: Md5Peer(account.password.encode(), account.identity),
        EapType.MSCHAPV2: lambda: MsChapV2Peer(account.identity, account.password, random),
    }
    return EapPeer(account.identity, {account.method: makers[account.method]})
