"""Pseudorandom functions and key derivation (RFC 7296 sections 2.13, 2.14 and 2.17)."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from control.ikev2.numbers import Prf

_HASHES: dict[int, tuple[str, hashes.HashAlgorithm, int]] = {
    Prf.HMAC_SHA2_256: ("sha256", hashes.SHA256(), 32),
    Prf.HMAC_SHA2_384: ("sha384", hashes.SHA384(), 48),
    Prf.HMAC_SHA2_512: ("sha512", hashes.SHA512(), 64),
}


def prf_size(algorithm: Prf) -> int:
    """Bytes of output, which is also the preferred key size."""
    return _HASHES[algorithm][2]


def prf(algorithm: Prf, key: bytes, data: bytes) -> bytes:
    """The pseudorandom function itself: the HMAC of ``data`` under ``key``."""
    return hmac.digest(key, data, _HASHES[algorithm][0])


def prf_plus(algorithm: Prf, key: bytes, seed: bytes, size: int) -> bytes:
    """The first ``size`` bytes of prf+(key, seed), which for an HMAC is HKDF-Expand (RFC 5869 section 2.3)."""
    return HKDFExpand(_HASHES[algorithm][1], size, seed).derive(key)


def skeyseed(algorithm: Prf, initiator_nonce: bytes, responder_nonce: bytes, shared_secret: bytes) -> bytes:
    """SKEYSEED = prf(Ni | Nr, g^ir), which for an HMAC is HKDF-Extract."""
    return HKDF.extract(_HASHES[algorithm][1], initiator_nonce + responder_nonce, shared_secret)
