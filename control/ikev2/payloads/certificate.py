"""Certificate and Certificate Request payloads (RFC 7296 sections 3.6 and 3.7)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from control.ikev2.numbers import CertificateEncoding, PayloadType, members_by_value
from control.ikev2.payloads.packing import pack, unpack
from control.records import Record
from control.wire import WireError

KEY_HASH_SIZE = 20
"""Bytes of the SHA-1 hash over a trust anchor's Subject Public Key Info that names it in a CERTREQ payload."""

_FIXED = Struct(">B")  # encoding
_ENCODINGS = members_by_value(CertificateEncoding)
_ENCODINGS_WITH_KEY_HASHES = frozenset(
    (
        CertificateEncoding.X509_SIGNATURE,
        CertificateEncoding.HASH_AND_URL_X509,
        CertificateEncoding.HASH_AND_URL_BUNDLE,
    )
)


class CertificatePayload(Record, frozen=True):
    """One certificate or other proof of a key.

    Attributes:
        encoding: a CertificateEncoding; X509_SIGNATURE is one DER certificate.
        data: the certificate, unparsed.
    """

    encoding: int
    data: bytes

    payload_type: ClassVar[PayloadType] = PayloadType.CERTIFICATE

    def to_wire(self) -> bytes:
        """The payload body."""
        return pack(_FIXED, self.encoding) + self.data

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated" or "bad-length")."""
        (encoding,) = unpack(_FIXED, body)
        if len(body) == _FIXED.size:
            raise WireError("bad-length", "no certificate data")
        return cls(_ENCODINGS.get(encoding, encoding), body[_FIXED.size :])


class CertificateRequestPayload(Record, frozen=True):
    """The wish for a certificate of one encoding, under one of some authorities.

    Attributes:
        encoding: a CertificateEncoding.
        authorities: for X.509 encodings the concatenated key hashes of trusted authorities, none meaning any.
    """

    encoding: int
    authorities: bytes = b""

    payload_type: ClassVar[PayloadType] = PayloadType.CERTIFICATE_REQUEST

    @property
    def key_hashes(self) -> tuple[bytes, ...]:
        """The authorities' key hashes one by one; empty for encodings that do not name authorities so."""
        if self.encoding not in _ENCODINGS_WITH_KEY_HASHES:
            return ()
        return tuple(
            self.authorities[start : start + KEY_HASH_SIZE] for start in range(0, len(self.authorities), KEY_HASH_SIZE)
        )

    def to_wire(self) -> bytes:
        """The payload body."""
        return pack(_FIXED, self.encoding) + self.authorities

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated" or "bad-length")."""
        (encoding,) = unpack(_FIXED, body)
        authorities = body[_FIXED.size :]
        if encoding in _ENCODINGS_WITH_KEY_HASHES and len(authorities) % KEY_HASH_SIZE:
            raise WireError("bad-length", f"{len(authorities)} bytes of authorities")
        return cls(_ENCODINGS.get(encoding, encoding), authorities)
