"""The MODP groups of RFC 3526: Diffie-Hellman modulo a large safe prime, in Python's own arithmetic.

The cryptography package is giving these groups up. A power takes some milliseconds here (3 for group 14, 14 for group
16), so they are for peers that have nothing better. Its time depends on the exponent; an exponent is used for one key
exchange only, so that nothing about it can be gathered over many.
"""

from __future__ import annotations

from functools import cache

_GENERATOR = 2
_PRIMES: dict[int, tuple[int, int, int]] = {
    14: (2048, 124_476, 225),
    15: (3072, 1_690_314, 275),
    16: (4096, 240_904, 325),
}
"""By group: bits of the prime, the number that makes it one, and bits of exponents: twice the group's strength."""
GROUPS = frozenset(_PRIMES)
"""The numbers of the groups."""


@cache
def prime(group: int) -> int:
    """The prime 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c) of a group (RFC 3526 sections 3 to 5)."""
    bits, number, _ = _PRIMES[group]
    return (1 << bits) - (1 << (bits - 64)) - 1 + ((_pi(bits - 130) + number) << 64)


def size(group: int) -> int:
    """Bytes of public values and of secrets."""
    return _PRIMES[group][0] // 8


def exponent(group: int, random: bytes) -> int:
    """A private exponent from at least ``exponent_size`` random bytes; its highest bit is set."""
    bits = _PRIMES[group][2]
    return int.from_bytes(random, "big") % (1 << (bits - 1)) | 1 << (bits - 1)


def exponent_size(group: int) -> int:
    """How many random bytes an exponent is made of."""
    return (_PRIMES[group][2] + 7) // 8


def public_value(group: int, private: int) -> bytes:
    """The data of the KE payload, as long as the prime (RFC 7296 section 3.4)."""
    return pow(_GENERATOR, private, prime(group)).to_bytes(size(group), "big")


def shared_secret(group: int, private: int, public: bytes) -> bytes:
    """The secret with a peer's public value, as long as the prime (RFC 7296 section 2.14).

    Raises:
        ValueError: the value is of another length than the prime, or not one from 2 to p - 2 (RFC 6989 section 2.1).
    """
    modulus = prime(group)
    value = int.from_bytes(public, "big")
    if len(public) != size(group):
        raise ValueError(f"{len(public)} bytes instead of {size(group)}")
    if not 1 < value < modulus - 1:
        raise ValueError("not from 2 to p - 2")
    return pow(value, private, modulus).to_bytes(size(group), "big")


def _pi(bits: int) -> int:
    """The whole part of pi times 2^bits, by Machin's formula."""
    guard = 64
    unit = 1 << (bits + guard)
    return 4 * (4 * _inverse_tangent(5, unit) - _inverse_tangent(239, unit)) >> guard


def _inverse_tangent(inverse: int, unit: int) -> int:
    """arctan(1 / inverse) in fixed-point arithmetic."""
    power = total = unit // inverse
    square, odd, sign = inverse * inverse, 1, 1
    while power:
        power //= square
        odd, sign = odd + 2, -sign
        total += sign * (power // odd)
    return total
