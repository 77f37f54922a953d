"""The crypto floor: the cryptographic operations of one key exchange, called from Python with nothing around them.

What a home agent cannot do without, per node, in the order in which it happens:

- a random SPI of 8 bytes and two random nonces of 32;
- X25519: one key pair with its public bytes, the peer's public bytes read, one exchange;
- SHA-1 of SPIs, address and port for NAT detection: two to be sent, two to be compared with what came;
- HKDF-Extract for SKEYSEED, HKDF-Expand for the keys of the IKE SA, HKDF-Expand for the keys of two child SAs;
- AES-128-GCM: one key object for each direction; IKE_AUTH and CREATE_CHILD_SA sealed and opened, as long as they were
  in the run beside it; fragments count as one message;
- the AUTH payloads of both sides: HMAC of the identity and, with shared keys, of key pad and octets; otherwise one
  signature, the peer's certificate read, verified as issued by the trust anchor, its key fetched, one verification;
- ESP: AES-128-GCM, one key object for each direction of one child SA; the initiator seals a Home Agent Switch and a
  Binding Acknowledgement and opens a Binding Update, the responder has the latter two only.

Not in it: encoding, state, checks of validity and identity, replay windows, checksums, anything else.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding

from bench.key_exchange.exchange import Traffic
from bench.key_exchange.meter import Meter
from bench.key_exchange.methods import Trust
from bench.lab.pki import PrivateKey

_SPI_SIZE = 8
_NONCE_SIZE = 32
_NAT_DETECTION_HASHES = 4
_SHA256 = hashes.SHA256()
_PREFIX = bytes(32)  # associated data of an Encrypted payload: IKE header and generic header
_ICV_AND_IV = 24
_ADDRESS_AND_SPIS = bytes(8 + 8 + 16 + 2)
_IKE_KEYS_SIZE = 3 * 32 + 2 * 20
_CHILD_KEYS_SIZE = 2 * 20
_IDENTITY = bytes(20)
_KEY_PAD = b"Key Pad for IKEv2"
_HOME_AGENT_SWITCH = bytes(28)
_BINDING_UPDATE = bytes(36)
_BINDING_ACKNOWLEDGEMENT = bytes(16)
_PSS = padding.PSS(padding.MGF1(_SHA256), _SHA256.digest_size)


@dataclass(frozen=True, slots=True)
class _Peer:
    """What the other side contributes, made before the clock runs."""

    public: bytes
    certificate: bytes
    signature: bytes


class Floor:
    """The operations of one role and method.

    Args:
        trust: keys and certificates, the same as in the run beside it.
        traffic: the sizes of that run.
        initiator: whether a Home Agent Switch is sent.
    """

    def __init__(self, trust: Trust, traffic: Traffic, *, initiator: bool) -> None:
        self._initiator = initiator
        own_init, peer_init = traffic.ike_sent[0], traffic.ike_received[0]
        self._octets = bytes(own_init + _NONCE_SIZE)
        self._peer_octets = bytes(peer_init + _NONCE_SIZE)
        self._sealed = _plain_sizes(traffic.ike_sent)
        self._opened = _plain_sizes(traffic.ike_received)
        self._shared_key = trust.shared_keys[0]
        own = trust.home_agents[0]
        self._key = own.private_key if own is not None else None
        self._anchor = trust.anchors[0] if trust.anchors else None
        proof = bytes(32)
        self._peers = [
            _Peer(
                x25519.X25519PrivateKey.generate().public_key().public_bytes_raw(),
                node.certificates[0].public_bytes(Encoding.DER) if node is not None else b"",
                sign(node.private_key, self._peer_octets + proof) if node is not None else b"",
            )
            for node in trust.nodes
        ]

    def run(self) -> Meter:
        """The operations once for every node, in segments as long as those of the run they are compared with."""
        meter = Meter()
        with meter.running():
            for peer in self._peers:
                self._one(peer)
        return meter

    def _one(self, peer: _Peer) -> None:
        os.urandom(_SPI_SIZE)
        nonces = os.urandom(_NONCE_SIZE) + os.urandom(_NONCE_SIZE)
        for _ in range(_NAT_DETECTION_HASHES):
            hashlib.sha1(_ADDRESS_AND_SPIS, usedforsecurity=False).digest()
        private = x25519.X25519PrivateKey.generate()
        private.public_key().public_bytes_raw()
        secret = private.exchange(x25519.X25519PublicKey.from_public_bytes(peer.public))
        seed = HKDF.extract(_SHA256, nonces, secret)
        keys = HKDFExpand(_SHA256, _IKE_KEYS_SIZE, nonces).derive(seed)
        sk_d, sk_pi, sk_pr = keys[:32], keys[32:64], keys[64:96]
        proof = hmac.digest(sk_pi, _IDENTITY, "sha256")
        hmac.digest(sk_pr, _IDENTITY, "sha256")
        self._authenticate(peer, proof)
        _seal_and_open(keys[96:112], self._sealed, keys[116:132], self._opened, _PREFIX)
        HKDFExpand(_SHA256, _CHILD_KEYS_SIZE, nonces).derive(sk_d)
        child_keys = HKDFExpand(_SHA256, _CHILD_KEYS_SIZE, nonces).derive(sk_d)
        sent = (_HOME_AGENT_SWITCH, _BINDING_ACKNOWLEDGEMENT) if self._initiator else (_BINDING_ACKNOWLEDGEMENT,)
        _seal_and_open(child_keys[:16], sent, child_keys[20:36], (_BINDING_UPDATE,), bytes(8))

    def _authenticate(self, peer: _Peer, proof: bytes) -> None:
        octets, peer_octets = self._octets + proof, self._peer_octets + bytes(32)
        if self._key is None or self._anchor is None:
            for each in (octets, peer_octets):
                padded = hmac.digest(self._shared_key or b"", _KEY_PAD, "sha256")
                hmac.digest(padded, each, "sha256")
            return
        sign(self._key, octets)
        certificate = x509.load_der_x509_certificate(peer.certificate)
        certificate.verify_directly_issued_by(self._anchor)
        _verify(certificate.public_key(), peer.signature, peer_octets)


def sign(key: PrivateKey, octets: bytes) -> bytes:
    """A signature of the kind the product makes with such a key."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(octets)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(octets, ec.ECDSA(_SHA256))
    return key.sign(octets, _PSS, _SHA256)


def _verify(key: object, signature: bytes, octets: bytes) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, octets)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, octets, ec.ECDSA(_SHA256))
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, octets, _PSS, _SHA256)
    else:
        raise TypeError(f"no key exchange signs with a {type(key).__name__}")


def _plain_sizes(datagrams: Sequence[int]) -> tuple[bytes, ...]:
    """Payload chains of IKE_AUTH, in however many fragments it came, and of CREATE_CHILD_SA."""
    overhead = len(_PREFIX) + _ICV_AND_IV
    return bytes(sum(datagrams[1:-1]) - overhead), bytes(datagrams[-1] - overhead)


def _seal_and_open(
    send_key: bytes, sent: Sequence[bytes], receive_key: bytes, received: Sequence[bytes], associated: bytes
) -> None:
    """One key object for each direction and one AEAD operation for each message.

    Nothing sealed under a key exists before the key does, so what would be opened is sealed as well: GCM does the
    same work both ways.
    """
    send, receive = AESGCM(send_key), AESGCM(receive_key)
    nonce = bytes(12)
    for plain in sent:
        send.encrypt(nonce, plain, associated)
    for plain in received:
        receive.encrypt(nonce, plain, associated)
