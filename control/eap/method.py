"""What an EAP method has to offer, as authenticator and as peer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from control.eap.packet import EapType


@dataclass(frozen=True, slots=True)
class MethodSuccess:
    """The peer has proved who it is.

    Attributes:
        msk: master session key; empty for methods that make none.
    """

    msk: bytes = field(default=b"", repr=False)


class ServerMethod(Protocol):
    """One run of a method, the authenticator's side."""

    @property
    def type(self) -> EapType:
        """Its type."""
        ...

    def begin(self, identifier: int) -> bytes:
        """The data of the first request."""
        ...

    def receive(self, data: bytes, identifier: int) -> bytes | MethodSuccess:
        """Take the data of a response.

        Args:
            data: what follows the type.
            identifier: of the request that it answers; the next one's is one more.

        Returns:
            The data of the next request, or success.

        Raises:
            EapError: the peer has failed.
        """
        ...


class PeerMethod(Protocol):
    """One run of a method, the side that proves itself.

    Attributes:
        finished: whether the method has all it needs, so that Success may come.
        msk: master session key, empty before, and for methods that make none.
    """

    finished: bool
    msk: bytes

    def receive(self, data: bytes, identifier: int) -> bytes:
        """Take the data of a request; returns that of the response.

        Raises:
            EapError: the authenticator has failed.
        """
        ...
