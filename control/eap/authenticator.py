"""The side that demands proof: what IKEv2 needs of it, and one that decides by itself (RFC 3748 section 7.10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from control.eap.method import MethodSuccess, ServerMethod
from control.eap.packet import EapCode, EapError, EapPacket, EapType

MAX_ROUNDS = 64
"""Most requests of one authentication: EAP-TLS with chains of a few certificates needs about ten."""


@dataclass(frozen=True, slots=True)
class EapRequest:
    """The authentication goes on.

    Attributes:
        packet: what to send to the peer.
    """

    packet: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EapSuccess:
    """The peer is who it has to be.

    Attributes:
        packet: the EAP-Success to send.
        msk: master session key, empty if the method makes none.
    """

    packet: bytes
    msk: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EapFailure:
    """The peer is not.

    Attributes:
        packet: the EAP-Failure to send.
        reason: slug.
        detail: for people.
    """

    packet: bytes
    reason: str
    detail: str = ""


EapOutcome = EapRequest | EapSuccess | EapFailure


class EapAuthenticator(Protocol):
    """One authentication of one peer; a pass-through to an authentication server may be another one."""

    def begin(self) -> bytes:
        """The first request."""
        ...

    def receive(self, response: bytes) -> EapOutcome:
        """Take the peer's packet, whatever it holds."""
        ...


class LocalAuthenticator:
    """Knows the methods and secrets itself. It asks for no identity: IKEv2 has told it (RFC 7296 section 2.16)."""

    def __init__(self, methods: Sequence[Callable[[], ServerMethod]], first_identifier: int) -> None:
        """Nothing sent yet.

        Args:
            methods: those the peer may use, most preferred first; at least one.
            first_identifier: of the first request, 0 to 255.
        """
        self._untried = [make() for make in methods]
        self._method = self._untried.pop(0)
        self._identifier = first_identifier
        self._rounds = 0
        self._may_decline = True
        self._over = False

    def begin(self) -> bytes:
        """See EapAuthenticator."""
        return self._request(self._method.begin(self._identifier))

    def receive(self, response: bytes) -> EapOutcome:
        """See EapAuthenticator."""
        try:
            if self._over:
                raise EapError("eap-over")
            outcome = self._receive(EapPacket.from_wire(response))
        except EapError as error:
            self._over = True
            failure = EapPacket(EapCode.FAILURE, self._identifier).to_wire()
            return EapFailure(failure, error.reason, str(error))
        self._over = isinstance(outcome, EapSuccess)
        return outcome

    def _receive(self, packet: EapPacket) -> EapRequest | EapSuccess:
        if packet.code is not EapCode.RESPONSE:
            raise EapError("unexpected-eap-code", packet.code.name)
        if packet.identifier != self._identifier:
            raise EapError("wrong-eap-identifier", f"{packet.identifier} instead of {self._identifier}")
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            raise EapError("too-many-eap-rounds")
        if packet.type == EapType.NAK and self._may_decline:
            return self._other_method(packet.data)
        if packet.type != self._method.type:
            raise EapError("unexpected-eap-type", str(packet.type))
        self._may_decline = False
        following = self._method.receive(packet.data, self._identifier)
        if isinstance(following, MethodSuccess):
            return EapSuccess(EapPacket(EapCode.SUCCESS, self._identifier).to_wire(), following.msk)
        self._identifier = _next(self._identifier)
        return EapRequest(self._request(following))

    def _other_method(self, wanted: bytes) -> EapRequest:
        """The peer does not want the method (RFC 3748 section 5.3.1): each is proposed once."""
        method = next((method for method in self._untried if method.type in wanted), None)
        if method is None:
            raise EapError("no-common-eap-method", f"the peer wants {list(wanted)}")
        self._untried.remove(method)
        self._method = method
        self._identifier = _next(self._identifier)
        return EapRequest(self._request(method.begin(self._identifier)))

    def _request(self, data: bytes) -> bytes:
        return EapPacket(EapCode.REQUEST, self._identifier, self._method.type, data).to_wire()


def _next(identifier: int) -> int:
    return (identifier + 1) & 0xFF
