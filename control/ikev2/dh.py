"""Diffie-Hellman groups: Curve25519 (RFC 8031), the ECP groups of RFC 5903 and the MODP groups of RFC 3526."""

from __future__ import annotations

from collections import deque
from secrets import token_bytes
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from control.ikev2 import modp
from control.ikev2.numbers import DiffieHellmanGroup

_UNCOMPRESSED = b"\x04"
_CURVES: dict[int, ec.EllipticCurve] = {
    DiffieHellmanGroup.ECP256: ec.SECP256R1(),
    DiffieHellmanGroup.ECP384: ec.SECP384R1(),
    DiffieHellmanGroup.ECP521: ec.SECP521R1(),
}


class InvalidPublicValue(ValueError):
    """The peer's key exchange data is no usable element of the group."""

    reason = "invalid-public-value"


class KeyPair(Protocol):
    """An ephemeral key pair."""

    @property
    def group(self) -> DiffieHellmanGroup:
        """The group it belongs to."""
        ...

    @property
    def public(self) -> bytes:
        """The data of the KE payload."""
        ...

    def exchange(self, peer: bytes) -> bytes:
        """The shared secret g^ir with the peer's key exchange data; InvalidPublicValue if that is none."""
        ...


class Curve25519KeyPair:
    """A key pair of group 31."""

    __slots__ = ("_private", "public")

    group = DiffieHellmanGroup.CURVE25519

    def __init__(self, private: x25519.X25519PrivateKey | None = None) -> None:
        self._private = private or x25519.X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def exchange(self, peer: bytes) -> bytes:
        """X25519 of RFC 7748; the all-zero result of a small-order point is refused."""
        try:
            return self._private.exchange(x25519.X25519PublicKey.from_public_bytes(peer))
        except ValueError as error:
            raise InvalidPublicValue(str(error)) from None


class EcpKeyPair:
    """A key pair of a random ECP group; public values are x | y, the secret is x (RFC 5903 section 7)."""

    __slots__ = ("_private", "group", "public")

    def __init__(self, group: DiffieHellmanGroup, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.group = group
        self._private = private or ec.generate_private_key(_CURVES[group])
        encoded = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public = encoded.removeprefix(_UNCOMPRESSED)

    def exchange(self, peer: bytes) -> bytes:
        """ECDH; a point that is not on the curve is refused (RFC 6989 section 2.3)."""
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._private.curve, _UNCOMPRESSED + peer)
            return self._private.exchange(ec.ECDH(), point)
        except ValueError as error:
            raise InvalidPublicValue(str(error)) from None


class ModpKeyPair:
    """A key pair of a MODP group."""

    __slots__ = ("_private", "group", "public")

    def __init__(self, group: DiffieHellmanGroup, private: int | None = None) -> None:
        self.group = group
        self._private = modp.exponent(group, token_bytes(modp.exponent_size(group))) if private is None else private
        self.public = modp.public_value(group, self._private)

    def exchange(self, peer: bytes) -> bytes:
        """Diffie-Hellman; values that would tell the secret are refused (RFC 6989 section 2.1)."""
        try:
            return modp.shared_secret(self.group, self._private, peer)
        except ValueError as error:
            raise InvalidPublicValue(str(error)) from None


def is_supported(group: int) -> bool:
    """Whether key pairs of ``group`` can be made."""
    return group == DiffieHellmanGroup.CURVE25519 or group in _CURVES or group in modp.GROUPS


def generate(group: DiffieHellmanGroup) -> KeyPair:
    """A fresh key pair of a supported group."""
    if group is DiffieHellmanGroup.CURVE25519:
        return Curve25519KeyPair()
    return ModpKeyPair(group) if group in modp.GROUPS else EcpKeyPair(group)


class KeyPairPool:
    """Key pairs made while there is nothing else to do, each used once.

    Args:
        limit: most key pairs kept.
        group: the group of the pool; pairs of other groups are made when asked for.
    """

    def __init__(self, limit: int = 4096, group: DiffieHellmanGroup = DiffieHellmanGroup.CURVE25519) -> None:
        self.limit = limit
        self._group = group
        self._ready: deque[KeyPair] = deque()

    def __len__(self) -> int:
        return len(self._ready)

    def refill(self, count: int) -> int:
        """Make up to ``count`` key pairs (about 25 microseconds each); returns how many were made."""
        made = max(0, min(count, self.limit - len(self._ready)))
        self._ready.extend(generate(self._group) for _ in range(made))
        return made

    def take(self, group: DiffieHellmanGroup) -> KeyPair:
        """A key pair that was never used."""
        if group is self._group and self._ready:
            return self._ready.popleft()
        return generate(group)
