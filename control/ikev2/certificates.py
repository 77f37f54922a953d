"""Certificates of peers: path to a trust anchor, validity and identity (RFC 5280 section 6, RFC 4945 section 5)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha1
from ipaddress import IPv6Address
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from control.ikev2.authentication import PublicKey
from control.ikev2.certificate_extensions import Extensions, authority
from control.ikev2.errors import CertificateError
from control.ikev2.name_constraints import check_name_constraints
from control.ikev2.numbers import IdentificationType
from control.ikev2.payloads.identification import Identity
from control.ikev2.revocation import IssuedCertificate, RevocationLists
from control.records import Record

MAX_CHAIN = 8
"""Certificates of a peer looked at; more are refused."""
MAX_CERTIFICATE = 16 << 10
"""Bytes of one certificate; larger ones are refused unread."""

_MOST_SIGNATURES = 2 * MAX_CHAIN
"""Signatures checked while looking for a path: look-alikes could make it try every order of them."""
_MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_ACCEPTED_PURPOSES = frozenset(
    (
        ExtendedKeyUsageOID.IPSEC_IKE,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )
)
_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


class _Validated(Record, frozen=True):
    """What is worth remembering of a chain whose signatures were checked."""

    public_key: PublicKey
    identities: frozenset[tuple[int, bytes]]
    not_before: float
    not_after: float
    issued: tuple[IssuedCertificate, ...]


class _Budget:
    """Signatures that may still be checked."""

    def __init__(self, left: int) -> None:
        self._left = left

    def spend(self) -> None:
        """One more is about to be checked."""
        self._left -= 1
        if self._left < 0:
            raise CertificateError("too-complex-chain", f"more than {_MOST_SIGNATURES} signatures to check")


class CertificateValidator:
    """Checks peers' chains, and remembers those it has checked: only dates and revocation are looked at again.

    Args:
        trust_anchors: where chains must end. A peer's own certificate may itself be a trust anchor.
        wall_clock: seconds since the epoch.
        cache_size: most chains remembered.
        revocation: lists of revoked certificates, None to take no notice of revocation.

    Attributes:
        cache_size: most chains remembered.
        observe: told every chain that has proved an identity and was not remembered.
    """

    def __init__(
        self,
        trust_anchors: Iterable[x509.Certificate],
        wall_clock: Callable[[], float],
        cache_size: int = 16384,
        revocation: RevocationLists | None = None,
    ) -> None:
        self.observe: Callable[[Identity, tuple[bytes, ...]], None] = _ignore
        self._revocation = revocation
        self._wall_clock = wall_clock
        self.cache_size = cache_size
        self._cache: OrderedDict[tuple[bytes, ...], _Validated] = OrderedDict()
        self._trust(frozenset(trust_anchors))

    def trust(self, trust_anchors: Iterable[x509.Certificate]) -> None:
        """Demand from now on that chains end at one of these; what was remembered of chains that ended elsewhere is not
        worth anything any more.
        """
        trusted = frozenset(trust_anchors)
        if trusted != self._trusted:
            self._cache.clear()
            self._trust(trusted)

    def _trust(self, trust_anchors: frozenset[x509.Certificate]) -> None:
        self._trusted = trust_anchors
        self._anchors: dict[x509.Name, list[x509.Certificate]] = {}
        for anchor in self._trusted:
            self._anchors.setdefault(anchor.subject, []).append(anchor)
        # To read an issuer's name takes longer than to find out that an anchor is not the issuer.
        self._only_anchor = tuple(self._trusted) if len(self._trusted) == 1 else ()
        self.key_hashes = b"".join(_key_hash(anchor) for anchors in self._anchors.values() for anchor in anchors)
        """The body of a CERTREQ payload: SHA-1 hashes of the anchors' keys (RFC 7296 section 3.7)."""

    def __len__(self) -> int:
        """How many chains are remembered."""
        return len(self._cache)

    def validate(self, chain: Sequence[bytes], identity: Identity) -> PublicKey:
        """The key of the peer's certificate.

        Args:
            chain: DER certificates, the peer's own first.
            identity: whom the peer claims to be, which has to be in its certificate.

        Raises:
            CertificateError: for whatever is wrong with the chain.
        """
        chain = tuple(chain)
        new = chain not in self._cache
        validated = self._remembered(chain)
        now = self._wall_clock()
        if now < validated.not_before:
            raise CertificateError("certificate-not-yet-valid", f"before {_date(validated.not_before)}, {_here(now)}")
        if now > validated.not_after:
            raise CertificateError("expired-certificate", f"since {_date(validated.not_after)}, {_here(now)}")
        if self._revocation is not None:
            self._revocation.check(validated.issued, now)
        proven = (
            identity.data == x509.load_der_x509_certificate(chain[0]).subject.public_bytes()
            if identity.type == IdentificationType.DER_ASN1_DN
            else _identity_key(identity) in validated.identities
        )
        if not proven:
            raise CertificateError("identity-not-in-certificate", str(identity))
        if new:
            self.observe(identity, chain)
        return validated.public_key

    def _remembered(self, chain: tuple[bytes, ...]) -> _Validated:
        validated = self._cache.get(chain)
        if validated is None:
            validated = self._check(chain)
            self._cache[chain] = validated
            if len(self._cache) > self.cache_size:
                self._cache.popitem(last=False)
        return validated

    def _check(self, chain: tuple[bytes, ...]) -> _Validated:
        if not 0 < len(chain) <= MAX_CHAIN:
            raise CertificateError(*(("too-many-certificates", f"{len(chain)}") if chain else ("no-certificate",)))
        if any(len(data) > MAX_CERTIFICATE for data in chain):
            raise CertificateError("too-large-certificate", f"more than {MAX_CERTIFICATE} bytes")
        try:
            certificates = [x509.load_der_x509_certificate(data) for data in chain]
            leaf = certificates[0]
            path = self._path(leaf, certificates[1:], (), _Budget(_MOST_SIGNATURES))
            if path is None:
                raise CertificateError("untrusted-certificate", leaf.issuer.rfc4514_string())
            extensions = Extensions(leaf)
            authorities = [authority(issuer) for issuer in path[1:]]
            for flaw in (extensions.weakness, *[each.weakness for each in authorities]):
                if flaw is not None:
                    raise CertificateError(*flaw)
            _check_end_entity(extensions)
            if any(each.name_constraints is not None for each in authorities):
                check_name_constraints(path)
            return _Validated(
                _public_key(leaf),
                frozenset(_identities(extensions)),
                max([leaf.not_valid_before_utc.timestamp(), *[each.not_before for each in authorities]]),
                min([leaf.not_valid_after_utc.timestamp(), *[each.not_after for each in authorities]]),
                self._issued(path),
            )
        except _MALFORMED as error:
            raise CertificateError("malformed-certificate", type(error).__name__) from None

    def _issued(self, path: tuple[x509.Certificate, ...]) -> tuple[IssuedCertificate, ...]:
        """What the revocation lists want to know of a valid path: all of it but the trust anchor, which is trusted."""
        lists = self._revocation
        if lists is None:
            return ()
        return tuple(
            IssuedCertificate(lists.know(issuer), certificate.serial_number) for certificate, issuer in pairwise(path)
        )

    def _path(
        self,
        certificate: x509.Certificate,
        others: list[x509.Certificate],
        below: tuple[x509.Certificate, ...],
        budget: _Budget,
    ) -> tuple[x509.Certificate, ...] | None:
        """Certificates from the leaf to a trust anchor, None if there is no such path."""
        path = (*below, certificate)
        if certificate in self._trusted:
            return path
        for anchor in self._only_anchor or self._anchors.get(certificate.issuer, ()):
            budget.spend()
            if _issued(anchor, certificate, len(below)):
                return (*path, anchor)
        for other in others:
            if other.subject != certificate.issuer or other in path:
                continue
            budget.spend()
            if _issued(other, certificate, len(below)):
                longer = self._path(other, others, path, budget)
                if longer is not None:
                    return longer
        return None


def _issued(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    """Whether ``issuer`` may sign certificates and has signed this one, with ``below`` CAs under it in the path."""
    said = authority(issuer)
    if not said.may_sign or (said.path_length is not None and below > said.path_length):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_MALFORMED):
        return False
    return True


def _check_end_entity(extensions: Extensions) -> None:
    usage = extensions.get(x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise CertificateError("wrong-key-usage")
    purposes = extensions.get(x509.ExtendedKeyUsage)
    if purposes is not None and _ACCEPTED_PURPOSES.isdisjoint(purposes):
        raise CertificateError("wrong-key-usage", "extended key usage")


def _public_key(leaf: x509.Certificate) -> PublicKey:
    key = leaf.public_key()
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return key
    if isinstance(key, RSAPublicKey):
        if _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
            return key
        raise CertificateError("weak-certificate", f"RSA key of {key.key_size} bits")
    if isinstance(key, Ed25519PublicKey):
        return key
    raise CertificateError("unsupported-certificate", type(key).__name__)


def _identities(extensions: Extensions) -> Iterable[tuple[int, bytes]]:
    """The alternative names, which the certificate proves (RFC 4945 section 3.1), in the form of ``_identity_key``.

    The subject is missing: to read it takes longer than all that is here, and few peers call themselves by it.
    """
    for name in extensions.get(x509.SubjectAlternativeName) or ():
        if isinstance(name, x509.DNSName):
            yield int(IdentificationType.FQDN), name.value.encode().lower()
        elif isinstance(name, x509.RFC822Name):
            yield int(IdentificationType.RFC822_ADDR), _fold_mailbox(name.value.encode())
        elif isinstance(name, x509.IPAddress) and hasattr(name.value, "packed"):
            is_ipv6 = isinstance(name.value, IPv6Address)
            kind = IdentificationType.IPV6_ADDR if is_ipv6 else IdentificationType.IPV4_ADDR
            yield int(kind), name.value.packed


def _identity_key(identity: Identity) -> tuple[int, bytes]:
    """Type and bytes with host names in lower case."""
    if identity.type == IdentificationType.FQDN:
        return int(identity.type), identity.data.lower()
    if identity.type == IdentificationType.RFC822_ADDR:
        return int(identity.type), _fold_mailbox(identity.data)
    return int(identity.type), identity.data


def _fold_mailbox(mailbox: bytes) -> bytes:
    """Only the host part is the same in either case (RFC 5280 section 7.5)."""
    local, at, host = mailbox.rpartition(b"@")
    return local + at + host.lower()


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _here(now: float) -> str:
    """Which of the two sides has the wrong time is for the reader to see."""
    return f"and it is {_date(now)} here"


def _ignore(_identity: Identity, _chain: tuple[bytes, ...]) -> None:
    pass


def _key_hash(certificate: x509.Certificate) -> bytes:
    encoded = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return sha1(encoded, usedforsecurity=False).digest()
