"""Certificate revocation lists (RFC 5280 sections 5 and 6.3), complete ones issued by the certificates' own issuers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import MD5, SHA1
from cryptography.hazmat.primitives.serialization import Encoding

from control.ikev2.errors import CertificateError
from control.records import Record


class RevocationPolicy(Enum):
    """What the absence of a current list means. A certificate that a list revokes is refused by both."""

    SOFT = "soft"
    """Nothing."""
    HARD = "hard"
    """The certificate is refused: every issuer of a chain, trust anchors included, must have a current list."""


class IssuedCertificate(Record, frozen=True):
    """A certificate of a chain as the lists see it.

    Attributes:
        issuer: what :meth:`RevocationLists.know` returned for its issuer.
        serial_number: which of the issuer's certificates it is.
    """

    issuer: bytes
    serial_number: int


class _Revoked(Record, frozen=True):
    serial_numbers: frozenset[int]
    valid_from: float
    valid_until: float


class UnusableRevocationList(ValueError):
    """A list that does not say what a complete list says; the text tells why."""


class RevocationLists:
    """The lists at hand. Nothing of them counts before the signature of the issuer in question is verified.

    Args:
        policy: what to do without a current list.
        lists: of any issuers; of several by one issuer the latest counts.

    Raises:
        UnusableRevocationList: one of them cannot be used, see :func:`check_usable`.
    """

    def __init__(self, policy: RevocationPolicy, lists: Iterable[x509.CertificateRevocationList] = ()) -> None:
        self.policy = policy
        self._issuers: dict[bytes, x509.Certificate] = {}
        self._lists: dict[x509.Name, list[x509.CertificateRevocationList]] = {}
        self._verified: dict[bytes, _Revoked | None] = {}
        self.replace(lists)

    def replace(self, lists: Iterable[x509.CertificateRevocationList]) -> None:
        """Use other lists from now on, also for the chains that were checked before.

        Raises:
            UnusableRevocationList: one of them cannot be used; the old ones stay.
        """
        by_issuer: dict[x509.Name, list[x509.CertificateRevocationList]] = {}
        for revocation_list in lists:
            check_usable(revocation_list)
            by_issuer.setdefault(revocation_list.issuer, []).append(revocation_list)
        for of_issuer in by_issuer.values():
            of_issuer.sort(key=lambda one: one.last_update_utc, reverse=True)
        self._lists = by_issuer
        self._verified.clear()

    def know(self, issuer: x509.Certificate) -> bytes:
        """Remember a certificate that chains to a trust anchor, to verify lists with; returns what stands for it."""
        key = sha256(issuer.public_bytes(Encoding.DER)).digest()
        self._issuers.setdefault(key, issuer)
        return key

    def check(self, path: Iterable[IssuedCertificate], now: float) -> None:
        """Look whether a certificate of a chain is revoked.

        Args:
            path: the chain without its trust anchor.
            now: seconds since the epoch.

        Raises:
            CertificateError: ``revoked-certificate``; by the hard policy also ``no-revocation-list`` and
                ``expired-revocation-list``.
        """
        for certificate in path:
            revoked = self._of(certificate.issuer)
            if revoked is not None and certificate.serial_number in revoked.serial_numbers:
                raise CertificateError("revoked-certificate", f"serial number {certificate.serial_number:x}")
            if self.policy is RevocationPolicy.SOFT:
                continue
            if revoked is None:
                raise CertificateError("no-revocation-list", self._issuers[certificate.issuer].subject.rfc4514_string())
            if not revoked.valid_from <= now <= revoked.valid_until:
                raise CertificateError(
                    "expired-revocation-list", self._issuers[certificate.issuer].subject.rfc4514_string()
                )

    def _of(self, issuer: bytes) -> _Revoked | None:
        if issuer not in self._verified:
            self._verified[issuer] = self._verify(self._issuers[issuer])
        return self._verified[issuer]

    def _verify(self, issuer: x509.Certificate) -> _Revoked | None:
        if not _may_sign_lists(issuer):
            return None
        for revocation_list in self._lists.get(issuer.subject, ()):
            if _is_signed(revocation_list, issuer):
                until = revocation_list.next_update_utc
                return _Revoked(
                    frozenset(entry.serial_number for entry in revocation_list),
                    revocation_list.last_update_utc.timestamp(),
                    # Without a next update, which RFC 5280 demands, there is no telling how old it is.
                    until.timestamp() if until is not None else float("-inf"),
                )
        return None


def check_usable(revocation_list: x509.CertificateRevocationList) -> None:
    """Refuse a list that is not complete, or not its issuer's own, or signed with a broken hash.

    Raises:
        UnusableRevocationList: it has critical extensions, by which it would tell so.
    """
    try:
        critical = [extension.oid.dotted_string for extension in revocation_list.extensions if extension.critical]
        digest = revocation_list.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise UnusableRevocationList(f"malformed: {error}") from None
    if critical:
        raise UnusableRevocationList(f"has critical extensions that are not understood: {', '.join(critical)}")
    if isinstance(digest, SHA1 | MD5):
        raise UnusableRevocationList(f"signed with {digest.name}")


def _is_signed(revocation_list: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if not isinstance(key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
        return False
    try:
        return revocation_list.is_signature_valid(key)
    except (UnsupportedAlgorithm, TypeError, ValueError):
        return False


def _may_sign_lists(issuer: x509.Certificate) -> bool:
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except x509.ExtensionNotFound:
        return True
