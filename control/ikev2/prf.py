"""Pseudorandom functions and key derivation (RFC 7296 sections 2.13, 2.14 and 2.17)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from control.ikev2.numbers import Prf

_HASHES: dict[int, tuple[Callable[[bytes], hashlib._Hash], hashes.HashAlgorithm, int, int]] = {
    Prf.HMAC_SHA2_256: (hashlib.sha256, hashes.SHA256(), 32, 64),
    Prf.HMAC_SHA2_384: (hashlib.sha384, hashes.SHA384(), 48, 128),
    Prf.HMAC_SHA2_512: (hashlib.sha512, hashes.SHA512(), 64, 128),
}
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def prf_size(algorithm: Prf) -> int:
    """Bytes of output, which is also the preferred key size."""
    return _HASHES[algorithm][2]


def prf(algorithm: Prf, key: bytes, data: bytes) -> bytes:
    """The pseudorandom function itself: the HMAC of ``data`` under ``key`` (RFC 2104).

    By two hashes: ``hmac.digest`` has OpenSSL look its algorithm up each time, which takes longer than the hashing.
    """
    make, _, _, block_size = _HASHES[algorithm]
    if len(key) > block_size:
        key = make(key).digest()
    key = key.ljust(block_size, b"\0")
    return make(key.translate(_OUTER) + make(key.translate(_INNER) + data).digest()).digest()


def prf_plus(algorithm: Prf, key: bytes, seed: bytes, size: int) -> bytes:
    """The first ``size`` bytes of prf+(key, seed), which for an HMAC is HKDF-Expand (RFC 5869 section 2.3)."""
    return HKDFExpand(_HASHES[algorithm][1], size, seed).derive(key)
