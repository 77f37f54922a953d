"""The extensions of certificates, without the search of the library, which asks one abstract class after the other."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_MOST_AUTHORITIES = 64
_BROKEN_HASHES = ("md5", "sha1")
_HANDLED_EXTENSIONS = frozenset(
    (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.NAME_CONSTRAINTS,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    )
)


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """The extension of a kind, None without it."""
    for each in certificate.extensions:
        value = each.value
        if value.__class__ is kind:
            return value
    return None


def weakness(certificate: x509.Certificate) -> tuple[str, str] | None:
    """Why a certificate is not to be relied on, as slug and detail; None if nothing is wrong with it."""
    digest = certificate.signature_hash_algorithm
    if digest is not None and digest.name in _BROKEN_HASHES:
        return "weak-certificate", "signed with a broken hash"
    for each in certificate.extensions:
        if each.critical and each.oid not in _HANDLED_EXTENSIONS:
            return "unhandled-critical-extension", each.oid.dotted_string
    return None


class Authority(NamedTuple):
    """What the certificate of an authority says.

    Attributes:
        may_sign: whether it may sign certificates.
        path_length: most authorities below it in a path, None for any number.
        name_constraints: on the names below it, None for none.
        weakness: see :func:`weakness`.
    """

    may_sign: bool
    path_length: int | None
    name_constraints: x509.NameConstraints | None
    weakness: tuple[str, str] | None


# The same few have issued the certificates of thousands of nodes. A certificate has 16 kB at most.
@lru_cache(maxsize=_MOST_AUTHORITIES)
def authority(certificate: x509.Certificate) -> Authority:
    """Read the certificate of an authority, or of what claims to be one."""
    constraints = extension(certificate, x509.BasicConstraints)
    usage = extension(certificate, x509.KeyUsage)
    return Authority(
        constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign),
        constraints.path_length if constraints is not None else None,
        extension(certificate, x509.NameConstraints),
        weakness(certificate),
    )
