"""EAP-TLS (RFC 5216, with TLS 1.3 RFC 9190), the authenticator's side: the peer proves itself by a certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from control.eap.method import MethodSuccess
from control.eap.packet import EapError, EapType
from control.eap.tls_fragments import TlsFlag, TlsFragments

CheckChain = Callable[[Sequence[bytes]], None]
"""Raises EapError unless DER certificates, the peer's own first, prove that it is who it has to be."""

_LABEL = b"client EAP encryption"
_LABEL_1_3 = b"EXPORTER_EAP_TLS_Key_Material"
_KEY_MATERIAL, _MSK = 128, 64
_COMMITMENT = b"\x00"
_READ_SIZE = 16 << 10


def server_context(
    certificates: Sequence[x509.Certificate], key: RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
) -> SSL.Context:
    """Settings of TLS for all authentications: this side's certificate, TLS 1.2 or later, a peer with a certificate.

    Args:
        certificates: this side's chain, its own first.
        key: of its certificate.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # Every authentication is a full one, so that dates and revocation are looked at.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"homeagent")
    context.use_certificate(certificates[0])
    for certificate in certificates[1:]:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(key)
    # TLS checks that the peer has the key of its certificate; whose certificate it is, CheckChain decides.
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    return context


class TlsServer:
    """One run of the method.

    Args:
        context: as :func:`server_context` makes it.
        check: decides on the peer's certificates.
    """

    type = EapType.TLS

    def __init__(self, context: SSL.Context, check: CheckChain) -> None:
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self._check = check
        self._fragments = TlsFragments()
        self._msk = b""

    def begin(self, identifier: int) -> bytes:
        """See ServerMethod."""
        return bytes((TlsFlag.START,))

    def receive(self, data: bytes, identifier: int) -> bytes | MethodSuccess:
        """See ServerMethod."""
        message = self._fragments.receive(data)
        if self._fragments.leaving:
            if message != b"":
                raise EapError("unexpected-eap-tls-message", "an acknowledgement is awaited")
            return self._fragments.next()
        if message is None:
            return self._fragments.acknowledge()
        if self._msk:
            if message:
                raise EapError("unexpected-eap-tls-message", "TLS goes on after its end")
            return MethodSuccess(self._msk)
        if not message:
            raise EapError("unexpected-eap-tls-message", "there is nothing to acknowledge")
        return self._fragments.send(self._shake(message))

    def _shake(self, message: bytes) -> bytes:
        """Go on with the TLS handshake; returns this side's next flight."""
        try:
            self._connection.bio_write(message)
            try:
                self._connection.do_handshake()
            except SSL.WantReadError:
                return self._output()
            self._check(self._chain())
            msk = self._export()
            if self._connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
                self._connection.send(_COMMITMENT)
            flight = self._output()
        except SSL.Error as error:
            raise EapError("tls-failed", _reason(error)) from None
        self._msk = msk
        return flight

    def _output(self) -> bytes:
        flight = bytearray()
        try:
            while True:
                flight += self._connection.bio_read(_READ_SIZE)
        except SSL.WantReadError:
            pass
        if not flight:
            raise EapError("tls-failed", "half a flight")
        return bytes(flight)

    def _chain(self) -> list[bytes]:
        leaf = self._connection.get_peer_certificate(as_cryptography=True)
        others = self._connection.get_peer_cert_chain(as_cryptography=True) or []
        chain = [leaf, *(other for other in others if other != leaf)] if leaf is not None else []
        return [certificate.public_bytes(Encoding.DER) for certificate in chain]

    def _export(self) -> bytes:
        if self._connection.get_protocol_version() >= SSL.TLS1_3_VERSION:
            material = self._connection.export_keying_material(_LABEL_1_3, _KEY_MATERIAL, bytes((EapType.TLS,)))
        else:
            material = self._connection.export_keying_material(_LABEL, _KEY_MATERIAL)
        return material[:_MSK]


def _reason(error: SSL.Error) -> str:
    """What OpenSSL says, which is about the peer's messages and never has secrets."""
    queue = error.args[0] if error.args else None
    if isinstance(queue, list) and queue and isinstance(queue[-1], tuple):
        return str(queue[-1][-1])
    return type(error).__name__
