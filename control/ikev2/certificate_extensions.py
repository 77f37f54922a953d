"""The extensions of certificates, without the search of the library, which asks one abstract class after the other."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from cryptography import x509

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_MOST_AUTHORITIES = 64
_BROKEN_HASHES = ("md5", "sha1")
_HANDLED_EXTENSIONS = frozenset(
    (
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.ExtendedKeyUsage,
        x509.NameConstraints,
        x509.SubjectAlternativeName,
    )
)


class Extensions:
    """The extensions of one certificate, gone through once.

    Attributes:
        weakness: why the certificate is not to be relied on, as slug and detail; None if nothing is wrong with it.
    """

    __slots__ = ("_by_kind", "weakness")

    def __init__(self, certificate: x509.Certificate) -> None:
        self.weakness: tuple[str, str] | None = None
        self._by_kind: dict[type, Any] = {}
        for each in certificate.extensions:
            value = each.value
            kind = value.__class__
            self._by_kind[kind] = value
            if kind not in _HANDLED_EXTENSIONS and each.critical and self.weakness is None:
                self.weakness = "unhandled-critical-extension", each.oid.dotted_string
        digest = certificate.signature_hash_algorithm
        if digest is not None and digest.name in _BROKEN_HASHES:
            self.weakness = "weak-certificate", "signed with a broken hash"

    def get(self, kind: type[_Extension]) -> _Extension | None:
        """The extension of a kind, None without it."""
        return self._by_kind.get(kind)


class Authority(NamedTuple):
    """What the certificate of an authority says.

    Attributes:
        may_sign: whether it may sign certificates.
        path_length: most authorities below it in a path, None for any number.
        name_constraints: on the names below it, None for none.
        weakness: see :class:`Extensions`.
        not_before: seconds since the epoch from which it is valid.
        not_after: seconds since the epoch until which it is valid.
    """

    may_sign: bool
    path_length: int | None
    name_constraints: x509.NameConstraints | None
    weakness: tuple[str, str] | None
    not_before: float
    not_after: float


# The same few have issued the certificates of thousands of nodes. A certificate has 16 kB at most.
@lru_cache(maxsize=_MOST_AUTHORITIES)
def authority(certificate: x509.Certificate) -> Authority:
    """Read the certificate of an authority, or of what claims to be one."""
    extensions = Extensions(certificate)
    constraints = extensions.get(x509.BasicConstraints)
    usage = extensions.get(x509.KeyUsage)
    return Authority(
        constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign),
        constraints.path_length if constraints is not None else None,
        extensions.get(x509.NameConstraints),
        extensions.weakness,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
    )
