"""Signature schemes and their DER AlgorithmIdentifiers (RFC 7427 section 3 and appendix A, RFC 8420 appendix A)."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from cryptography.hazmat.primitives import hashes

from control.ikev2.numbers import HashAlgorithm
from control.records import Record
from control.wire import Reader, WireError

_SEQUENCE = 0x30
_INTEGER = 0x02
_OBJECT_IDENTIFIER = 0x06
_NULL = b"\x05\x00"
_RSASSA_PSS = bytes.fromhex("06092a864886f70d01010a")
_MGF1 = bytes.fromhex("06092a864886f70d010108")
_HASH_IDENTIFIERS: dict[HashAlgorithm, bytes] = {
    HashAlgorithm.SHA2_256: bytes.fromhex("0609608648016503040201"),
    HashAlgorithm.SHA2_384: bytes.fromhex("0609608648016503040202"),
    HashAlgorithm.SHA2_512: bytes.fromhex("0609608648016503040203"),
}
_HASHES: dict[HashAlgorithm, hashes.HashAlgorithm] = {
    HashAlgorithm.SHA1: hashes.SHA1(),
    HashAlgorithm.SHA2_256: hashes.SHA256(),
    HashAlgorithm.SHA2_384: hashes.SHA384(),
    HashAlgorithm.SHA2_512: hashes.SHA512(),
}


class SignatureKind(Enum):
    """A family of signature algorithms."""

    RSA_PKCS1 = "rsa-pkcs1"
    RSA_PSS = "rsa-pss"
    ECDSA = "ecdsa"
    ED25519 = "ed25519"


class SignatureScheme(Record, frozen=True):
    """A signature algorithm with its hash.

    Attributes:
        kind: the family.
        hash: the hash, IDENTITY for Ed25519.
        salt_size: bytes of salt; only for RSA_PSS.
    """

    kind: SignatureKind
    hash: HashAlgorithm
    salt_size: int = 0

    @property
    def hash_algorithm(self) -> hashes.HashAlgorithm:
        """The hash as the cryptographic library names it; not for Ed25519."""
        return _HASHES[self.hash]

    @property
    def algorithm_identifier(self) -> bytes:
        """The DER AlgorithmIdentifier that names the scheme."""
        fixed = _FIXED_IDENTIFIERS.get((self.kind, self.hash))
        return fixed if fixed is not None else _pss_identifier(self.hash, self.salt_size)

    @classmethod
    def from_algorithm_identifier(cls, data: bytes) -> SignatureScheme:
        """The scheme ``data`` names.

        SHA-1 schemes, which includes RSASSA-PSS with empty or default parameters, are refused (RFC 8247 section 3.2).

        Raises:
            WireError: reason ``unsupported-signature`` for anything not known, ``truncated`` for broken DER.
        """
        known = _BY_IDENTIFIER.get(data)
        return known if known is not None else _parse_pss(data)


def pss_scheme(algorithm: HashAlgorithm) -> SignatureScheme:
    """RSASSA-PSS with a salt as long as the hash, as RFC 4055 recommends."""
    return SignatureScheme(SignatureKind.RSA_PSS, algorithm, _HASHES[algorithm].digest_size)


_FIXED_IDENTIFIERS: dict[tuple[SignatureKind, HashAlgorithm], bytes] = {
    (SignatureKind.RSA_PKCS1, HashAlgorithm.SHA2_256): bytes.fromhex("300d06092a864886f70d01010b0500"),
    (SignatureKind.RSA_PKCS1, HashAlgorithm.SHA2_384): bytes.fromhex("300d06092a864886f70d01010c0500"),
    (SignatureKind.RSA_PKCS1, HashAlgorithm.SHA2_512): bytes.fromhex("300d06092a864886f70d01010d0500"),
    (SignatureKind.ECDSA, HashAlgorithm.SHA2_256): bytes.fromhex("300a06082a8648ce3d040302"),
    (SignatureKind.ECDSA, HashAlgorithm.SHA2_384): bytes.fromhex("300a06082a8648ce3d040303"),
    (SignatureKind.ECDSA, HashAlgorithm.SHA2_512): bytes.fromhex("300a06082a8648ce3d040304"),
    (SignatureKind.ED25519, HashAlgorithm.IDENTITY): bytes.fromhex("300506032b6570"),
}
_BY_IDENTIFIER = {data: SignatureScheme(kind, digest) for (kind, digest), data in _FIXED_IDENTIFIERS.items()}
ECDSA_SCHEMES = tuple(scheme for scheme in _BY_IDENTIFIER.values() if scheme.kind is SignatureKind.ECDSA)
"""ECDSA with each hash it is used with."""


def _element(tag: int, content: bytes) -> bytes:
    """A DER element of less than 128 bytes."""
    return bytes((tag, len(content))) + content


@lru_cache(maxsize=32)
def _pss_identifier(algorithm: HashAlgorithm, salt_size: int) -> bytes:
    digest = _element(_SEQUENCE, _HASH_IDENTIFIERS[algorithm] + _NULL)
    mask = _element(_SEQUENCE, _MGF1 + digest)
    salt = _element(_INTEGER, salt_size.to_bytes(1, "big"))
    parameters = _element(0xA0, digest) + _element(0xA1, mask) + _element(0xA2, salt)
    return _element(_SEQUENCE, _RSASSA_PSS + _element(_SEQUENCE, parameters))


def _unsupported(detail: str) -> WireError:
    return WireError("unsupported-signature", detail)


def _enter(reader: Reader, tag: int) -> Reader:
    """The content of the next DER element, which must have this tag and a short length."""
    found, length = reader.u8(), reader.u8()
    if found != tag or length > 0x7F:
        raise _unsupported(f"DER tag {found:#x}, {tag:#x} expected")
    return reader.sub(length)


# Peers name the same few over and over. Only what was understood is kept; an AlgorithmIdentifier has at most 255 bytes.
@lru_cache(maxsize=32)
def _parse_pss(data: bytes) -> SignatureScheme:
    """RSASSA-PSS-params (RFC 4055 section 3.1) with explicit SHA-2 hash, MGF1 over the same hash and salt length."""
    outer = Reader(data)
    identifier = _enter(outer, _SEQUENCE)
    outer.expect_end()
    if identifier.take(min(len(_RSASSA_PSS), identifier.remaining)) != _RSASSA_PSS:
        raise _unsupported("unknown algorithm identifier")
    parameters = _enter(identifier, _SEQUENCE)
    identifier.expect_end()
    digest = _parse_hash(_enter(parameters, 0xA0))
    mask = _enter(_enter(parameters, 0xA1), _SEQUENCE)
    if mask.take(len(_MGF1)) != _MGF1 or _parse_hash(mask) is not digest:
        raise _unsupported("mask generation function")
    salt = _enter(_enter(parameters, 0xA2), _INTEGER).rest()
    if parameters.remaining and _enter(_enter(parameters, 0xA3), _INTEGER).rest() != b"\x01":
        raise _unsupported("trailer field")
    parameters.expect_end()
    if len(salt) != 1 or salt[0] > 0x7F:
        raise _unsupported("salt length")
    return SignatureScheme(SignatureKind.RSA_PSS, digest, salt[0])


def _parse_hash(reader: Reader) -> HashAlgorithm:
    """A hash's AlgorithmIdentifier; parameters may be NULL or absent (RFC 4055 section 2.1)."""
    identifier = _enter(reader, _SEQUENCE)
    reader.expect_end()
    content = identifier.rest()
    for algorithm, encoded in _HASH_IDENTIFIERS.items():
        if content in (encoded, encoded + _NULL):
            return algorithm
    raise _unsupported("hash")
