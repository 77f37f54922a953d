"""Proofs of identity in the AUTH payload (RFC 7296 section 2.15, RFC 4754, RFC 7427, RFC 8420)."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from control.ikev2.numbers import AuthenticationMethod, HashAlgorithm, Prf
from control.ikev2.payloads.authentication import AuthenticationPayload, DigitalSignature
from control.ikev2.policy import Credentials
from control.ikev2.prf import prf
from control.ikev2.signature_schemes import ECDSA_SCHEMES, SignatureKind, SignatureScheme, pss_scheme
from control.wire import WireError

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

SUPPORTED_HASHES = (
    HashAlgorithm.SHA2_256,
    HashAlgorithm.SHA2_384,
    HashAlgorithm.SHA2_512,
    HashAlgorithm.IDENTITY,
)
"""What this side lists in SIGNATURE_HASH_ALGORITHMS."""

_KEY_PAD = b"Key Pad for IKEv2"
_PREFERRED_HASHES = {
    "secp256r1": (HashAlgorithm.SHA2_256, HashAlgorithm.SHA2_384, HashAlgorithm.SHA2_512),
    "secp384r1": (HashAlgorithm.SHA2_384, HashAlgorithm.SHA2_512, HashAlgorithm.SHA2_256),
}
_RSA_HASHES = _PREFERRED_HASHES["secp256r1"]
_RSA_KINDS = (SignatureKind.RSA_PKCS1, SignatureKind.RSA_PSS)
_ECDSA = {scheme.hash: ec.ECDSA(scheme.hash_algorithm) for scheme in ECDSA_SCHEMES}
_CLASSIC_ECDSA: dict[int, tuple[str, int, hashes.HashAlgorithm]] = {
    AuthenticationMethod.ECDSA_256: ("secp256r1", 32, hashes.SHA256()),
    AuthenticationMethod.ECDSA_384: ("secp384r1", 48, hashes.SHA384()),
}
_CLASSIC_RSA_HASHES = (hashes.SHA1(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512())


class AuthenticationError(Exception):
    """A peer that does not prove its identity, or a proof this side cannot give.

    Attributes:
        reason: slug for counters.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def signed_octets(message: bytes, nonce: bytes, algorithm: Prf, sk_p: bytes, identity: bytes) -> bytes:
    """What a side's AUTH payload covers.

    Args:
        message: that side's own IKE_SA_INIT message.
        nonce: the other side's nonce.
        algorithm: the negotiated PRF.
        sk_p: SK_pi or SK_pr of that side.
        identity: the body of its IDi or IDr payload.
    """
    return message + nonce + prf(algorithm, sk_p, identity)


class PaddedKey:
    """A shared key made fit for the proofs of both sides of one handshake (RFC 7296 section 2.15).

    Args:
        algorithm: the negotiated PRF.
        key: the shared key.
    """

    __slots__ = ("_algorithm", "_padded")

    def __init__(self, algorithm: Prf, key: bytes) -> None:
        self._algorithm = algorithm
        self._padded = prf(algorithm, key, _KEY_PAD)

    def authenticate(self, octets: bytes) -> AuthenticationPayload:
        """The AUTH payload of the method Shared Key Message Integrity Code."""
        return AuthenticationPayload(AuthenticationMethod.SHARED_KEY, prf(self._algorithm, self._padded, octets))

    def verify(self, payload: AuthenticationPayload, octets: bytes) -> None:
        """Raise AuthenticationError unless the peer knows the key."""
        if payload.method != AuthenticationMethod.SHARED_KEY:
            raise AuthenticationError("wrong-method", f"method {payload.method}, shared key expected")
        if not hmac.compare_digest(payload.data, prf(self._algorithm, self._padded, octets)):
            raise AuthenticationError("wrong-shared-key")


def authenticate_with_signature(
    credentials: Credentials, octets: bytes, peer_hashes: Collection[int] | None
) -> AuthenticationPayload:
    """The AUTH payload made with this side's private key.

    Args:
        credentials: the key.
        octets: what is signed.
        peer_hashes: the peer's SIGNATURE_HASH_ALGORITHMS; None if it sent none, then a method of before RFC 7427 is
            used.

    Raises:
        AuthenticationError: the peer understands no method that this key can do.
    """
    if peer_hashes is None:
        return _sign_classic(credentials, octets)
    scheme = _scheme_for(credentials, peer_hashes)
    signature = _sign(credentials, scheme, octets)
    return AuthenticationPayload(
        AuthenticationMethod.DIGITAL_SIGNATURE, DigitalSignature(scheme.algorithm_identifier, signature).to_wire()
    )


def _scheme_for(credentials: Credentials, peer_hashes: Collection[int]) -> SignatureScheme:
    key = credentials.private_key
    if isinstance(key, EllipticCurvePrivateKey):
        return SignatureScheme(SignatureKind.ECDSA, _first_of(_PREFERRED_HASHES[key.curve.name], peer_hashes))
    if isinstance(key, Ed25519PrivateKey):
        if HashAlgorithm.IDENTITY in peer_hashes:
            return SignatureScheme(SignatureKind.ED25519, HashAlgorithm.IDENTITY)
        raise AuthenticationError("no-common-signature", "peer does not take Ed25519")
    chosen = _first_of(_RSA_HASHES, peer_hashes)
    return pss_scheme(chosen) if credentials.rsa_pss else SignatureScheme(SignatureKind.RSA_PKCS1, chosen)


def _first_of(preferred: Iterable[HashAlgorithm], peer_hashes: Collection[int]) -> HashAlgorithm:
    for algorithm in preferred:
        if algorithm in peer_hashes:
            return algorithm
    raise AuthenticationError("no-common-signature", "peer takes no SHA-2 hash")


def _sign(credentials: Credentials, scheme: SignatureScheme, octets: bytes) -> bytes:
    key = credentials.private_key
    if isinstance(key, EllipticCurvePrivateKey):
        return key.sign(octets, _ECDSA[scheme.hash])
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(octets)
    return key.sign(octets, _rsa_padding(scheme), scheme.hash_algorithm)


@lru_cache(maxsize=32)
def _rsa_padding(scheme: SignatureScheme) -> padding.AsymmetricPadding:
    if scheme.kind is SignatureKind.RSA_PSS:
        return padding.PSS(padding.MGF1(scheme.hash_algorithm), scheme.salt_size)
    return padding.PKCS1v15()


def _sign_classic(credentials: Credentials, octets: bytes) -> AuthenticationPayload:
    key = credentials.private_key
    if isinstance(key, RSAPrivateKey):
        # SHA-1 is what RFC 7296 section 3.8 tells signers to use towards peers that cannot say otherwise.
        return AuthenticationPayload(AuthenticationMethod.RSA, key.sign(octets, padding.PKCS1v15(), hashes.SHA1()))
    if isinstance(key, EllipticCurvePrivateKey):
        for method, (curve, size, digest) in _CLASSIC_ECDSA.items():
            if curve == key.curve.name:
                r, s = decode_dss_signature(key.sign(octets, ec.ECDSA(digest)))
                return AuthenticationPayload(method, r.to_bytes(size, "big") + s.to_bytes(size, "big"))
    raise AuthenticationError("no-common-signature", "peer does not take RFC 7427 signatures")


def verify_signature(payload: AuthenticationPayload, key: PublicKey, octets: bytes) -> None:
    """Raise AuthenticationError unless ``payload`` is a signature of ``octets`` under ``key``."""
    try:
        if payload.method == AuthenticationMethod.DIGITAL_SIGNATURE:
            _verify_digital_signature(payload.data, key, octets)
        elif payload.method == AuthenticationMethod.RSA:
            _verify_classic_rsa(payload.data, key, octets)
        elif payload.method in _CLASSIC_ECDSA:
            _verify_classic_ecdsa(payload, key, octets)
        else:
            raise AuthenticationError("wrong-method", f"method {payload.method}, signature expected")
    except InvalidSignature:
        raise AuthenticationError("wrong-signature") from None
    except WireError as error:
        raise AuthenticationError(error.reason, str(error)) from None


def _verify_digital_signature(data: bytes, key: PublicKey, octets: bytes) -> None:
    proof = DigitalSignature.from_wire(data)
    scheme = SignatureScheme.from_algorithm_identifier(proof.algorithm_identifier)
    # The kind first: to ask what a key is an instance of takes longer.
    if scheme.kind is SignatureKind.ECDSA and isinstance(key, EllipticCurvePublicKey):
        key.verify(proof.signature, octets, _ECDSA[scheme.hash])
    elif scheme.kind is SignatureKind.ED25519 and isinstance(key, Ed25519PublicKey):
        key.verify(proof.signature, octets)
    elif scheme.kind in _RSA_KINDS and isinstance(key, RSAPublicKey):
        key.verify(proof.signature, octets, _rsa_padding(scheme), scheme.hash_algorithm)
    else:
        raise AuthenticationError("wrong-method", f"{scheme.kind.value} with another kind of key")


def _verify_classic_rsa(signature: bytes, key: PublicKey, octets: bytes) -> None:
    if not isinstance(key, RSAPublicKey):
        raise AuthenticationError("wrong-method", "RSA with another kind of key")
    # The method leaves the hash to the signer, and the signature's own DigestInfo is not to be trusted to name it.
    for digest in _CLASSIC_RSA_HASHES:
        try:
            key.verify(signature, octets, padding.PKCS1v15(), digest)
        except InvalidSignature:
            continue
        return
    raise InvalidSignature


def _verify_classic_ecdsa(payload: AuthenticationPayload, key: PublicKey, octets: bytes) -> None:
    curve, size, digest = _CLASSIC_ECDSA[payload.method]
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != curve:
        raise AuthenticationError("wrong-method", f"ECDSA on {curve} with another kind of key")
    if len(payload.data) != 2 * size:
        raise AuthenticationError("wrong-signature", f"{len(payload.data)} bytes")
    r, s = int.from_bytes(payload.data[:size], "big"), int.from_bytes(payload.data[size:], "big")
    key.verify(encode_dss_signature(r, s), octets, ec.ECDSA(digest))
