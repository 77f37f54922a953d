"""IKE_AUTH: both sides prove who they are and make the first child SA (RFC 7296 sections 1.2 and 2.15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.authentication import (
    AuthenticationError,
    PaddedKey,
    authenticate_with_signature,
    signed_octets,
    verify_signature,
)
from control.ikev2.errors import CertificateError
from control.ikev2.events import ChildFailed, IkeRedirected
from control.ikev2.exchanges import mobike
from control.ikev2.exchanges.base import slug
from control.ikev2.exchanges.child_negotiation import ChildOffer, ChildRefused, grant, refuse_child
from control.ikev2.exchanges.informational import DeleteChildExchange, DeleteIkeExchange
from control.ikev2.keys import IkeKeys
from control.ikev2.numbers import CertificateEncoding, ConfigurationType, ExchangeType, NotifyType, PayloadType
from control.ikev2.payloads import (
    AuthenticationPayload,
    CertificatePayload,
    ConfigurationPayload,
    IdentificationInitiator,
    IdentificationResponder,
    Identity,
    NotifyPayload,
    Payload,
    ReceivedPayloads,
    SecurityAssociationPayload,
    encoded,
)
from control.ikev2.redirect import RedirectStage, other_gateway, redirect_payload, redirected_to
from control.ikev2.states import State

if TYPE_CHECKING:
    from control.ikev2.handshake import Handshake
    from control.ikev2.sa import IkeSa

_INITIAL_CONTACT = encoded(NotifyPayload(NotifyType.INITIAL_CONTACT))
_AUTHENTICATION_FAILED = NotifyPayload(NotifyType.AUTHENTICATION_FAILED)


class AuthExchange:
    """This side, having begun, proves its identity first."""

    __slots__ = ("_offer",)

    exchange_type = ExchangeType.IKE_AUTH

    def __init__(self) -> None:
        self._offer: ChildOffer | None = None

    def build(self, sa: IkeSa, now: float) -> tuple[Payload, ...] | None:
        """See Exchange."""
        handshake, environment = sa.handshake, sa.environment
        if handshake is None or handshake.keys is None or handshake.first_child is None:
            return None
        wanted = handshake.remote_identity
        try:
            key = None if wanted is None else _shared_key(sa, handshake, wanted)
            proof = prove(sa, handshake, handshake.keys, key)
        except AuthenticationError as error:
            sa.fail("no-credentials", str(error), now=now)
            return None
        offer = self._offer = ChildOffer(sa, handshake.first_child)
        return (
            environment.identification,
            *(environment.certificate_payloads if key is None else ()),
            *initial_contact(handshake),
            *(environment.certificate_request if key is None else ()),
            *wanted_responder(handshake),
            encoded(proof),
            *wishes(sa, handshake, offer),
        )

    def complete(self, sa: IkeSa, payloads: ReceivedPayloads, now: float) -> None:
        """See Exchange."""
        handshake = sa.handshake
        if sa.state is not State.AUTH_SENT or handshake is None or handshake.keys is None or self._offer is None:
            return
        identification = payloads.first(IdentificationResponder)
        proof = payloads.first(AuthenticationPayload)
        refusal = payloads.error if proof is None else None
        if refusal is not None:
            sa.fail(slug(refusal), "the peer refused", now=now)
            return
        try:
            peer = check_responder(sa, handshake, identification, proof, payloads)
        except (AuthenticationError, CertificateError) as error:
            sa.environment.count(f"authentication-{error.reason}")
            exchange = DeleteIkeExchange(NotifyType.AUTHENTICATION_FAILED)
            sa.refuse(exchange, "authentication-failed", str(error), now)
            return
        if take_redirect(sa, payloads, now):
            return
        sa.establish(peer, payloads.first(ConfigurationPayload), now)
        finish_child(sa, handshake, self._offer, payloads, now)


def initial_contact(handshake: Handshake) -> tuple[Payload, ...]:
    """The initiator's word that it has no older SAs with the peer, if that is so."""
    return (_INITIAL_CONTACT,) if handshake.initial_contact else ()


def wanted_responder(handshake: Handshake) -> tuple[Payload, ...]:
    """IDr, if the initiator wants a certain responder."""
    identity = handshake.remote_identity
    return () if identity is None else ((PayloadType.IDENTIFICATION_RESPONDER, identity.to_wire()),)


def wishes(sa: IkeSa, handshake: Handshake, offer: ChildOffer) -> tuple[Payload, ...]:
    """What the initiator wants to have once it is authenticated."""
    return (
        *(() if handshake.configuration is None else (handshake.configuration,)),
        *offer.payloads(),
        *mobike.support(sa),
    )


def check_responder(
    sa: IkeSa,
    handshake: Handshake,
    identification: IdentificationResponder | None,
    proof: AuthenticationPayload | None,
    payloads: ReceivedPayloads,
) -> Identity:
    """The responder's identity, proved.

    Raises:
        AuthenticationError: the proof is wrong or missing, or it is not whom this side wants.
        CertificateError: its certificate does not prove the identity.
    """
    if identification is None or proof is None or handshake.keys is None:
        raise AuthenticationError("incomplete-answer", "IDr or AUTH is missing")
    peer = identification.identity
    if handshake.remote_identity is not None and peer != handshake.remote_identity:
        raise AuthenticationError("wrong-identity", f"{peer} instead of {handshake.remote_identity}")
    _check_peer(sa, handshake, handshake.keys, identification, proof, payloads)
    return peer


def take_redirect(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> bool:
    """Give the SA up if the authenticated responder sends this side elsewhere (RFC 5685 section 6)."""
    redirect = payloads.notification(NotifyType.REDIRECT)
    gateway = None if redirect is None else redirected_to(sa.environment, redirect, RedirectStage.AUTH)
    if gateway is None:
        return False
    sa.environment.emit(sa, IkeRedirected(gateway, RedirectStage.AUTH))
    sa.refuse(DeleteIkeExchange(), "redirected", str(gateway), now)
    return True


def finish_child(sa: IkeSa, handshake: Handshake, offer: ChildOffer, payloads: ReceivedPayloads, now: float) -> None:
    """Take what the responder's last answer says about the first child SA, and whether it speaks MOBIKE."""
    mobike.agree(sa, payloads)
    refusal = payloads.error
    if refusal is not None:
        _child_failed(sa, offer, slug(refusal), "the peer refused")
        return
    try:
        child = offer.accept(sa, payloads, handshake.initiator_nonce + handshake.responder_nonce)
    except ChildRefused as error:
        _child_failed(sa, offer, error.reason, str(error))
        sa.exchanges.submit(DeleteChildExchange(offer.inbound_spi), now)
        return
    sa.add_child(child, now)


def _child_failed(sa: IkeSa, offer: ChildOffer, reason: str, detail: str) -> None:
    sa.environment.count(f"child-failed-{reason}")
    sa.environment.emit(sa, ChildFailed(offer.request.name, reason, detail))


def padded_key(sa: IkeSa, key: bytes) -> PaddedKey:
    """A key for AUTH payloads."""
    if sa.suite is None:
        raise AuthenticationError("no-keys")
    return PaddedKey(sa.suite.prf, key)


def _shared_key(sa: IkeSa, handshake: Handshake, peer: Identity) -> PaddedKey | None:
    """What this side shares with the one peer of the handshake, None if it is to be authenticated otherwise."""
    if handshake.shared_key is None:
        key = sa.environment.policy.shared_key(sa.local_identity, peer)
        handshake.shared_key = None if key is None else padded_key(sa, key)
    return handshake.shared_key


def prove(sa: IkeSa, handshake: Handshake, keys: IkeKeys, key: PaddedKey | None) -> AuthenticationPayload:
    """This side's AUTH payload, with the shared key if there is one."""
    if sa.suite is None:
        raise AuthenticationError("no-keys")
    if sa.is_initiator:
        message, nonce, sk_p = handshake.init_request, handshake.responder_nonce, keys.sk_pi
    else:
        message, nonce, sk_p = handshake.init_response, handshake.initiator_nonce, keys.sk_pr
    octets = signed_octets(message, nonce, sa.suite.prf, sk_p, sa.environment.identification[1])
    if key is not None:
        return key.authenticate(octets)
    credentials = sa.environment.configuration.credentials
    if credentials is None:
        raise AuthenticationError("no-credentials", "neither shared key nor certificate for this peer")
    return authenticate_with_signature(credentials, octets, handshake.peer_hashes)


def _check_peer(
    sa: IkeSa,
    handshake: Handshake,
    keys: IkeKeys,
    identification: IdentificationInitiator | IdentificationResponder,
    proof: AuthenticationPayload,
    payloads: ReceivedPayloads,
) -> PaddedKey | None:
    """Check the peer's proof; returns the shared key, None where both sides use certificates.

    Raises:
        AuthenticationError: the proof is wrong, or policy does not want the peer.
        CertificateError: its certificate does not prove the identity.
    """
    environment, peer = sa.environment, identification.identity
    if not environment.policy.accept_peer(peer, sa.is_initiator):
        raise AuthenticationError("unknown-peer", str(peer))
    # Whoever is to be told a password proves itself by a signature (RFC 7296 section 2.16).
    key = _shared_key(sa, handshake, peer) if handshake.eap_peer is None else None
    octets = peer_octets(sa, handshake, keys, identification)
    if key is not None:
        key.verify(proof, octets)
        return key
    chain = [
        payload.data
        for payload in payloads
        if isinstance(payload, CertificatePayload) and payload.encoding == CertificateEncoding.X509_SIGNATURE
    ]
    verify_signature(proof, environment.certificates.validate(chain, peer), octets)
    return None


def peer_octets(
    sa: IkeSa,
    handshake: Handshake,
    keys: IkeKeys,
    identification: IdentificationInitiator | IdentificationResponder,
) -> bytes:
    """What the peer's proof covers."""
    if sa.suite is None:
        raise AuthenticationError("no-keys")
    if sa.is_initiator:
        message, nonce, sk_p = handshake.init_response, handshake.initiator_nonce, keys.sk_pr
    else:
        message, nonce, sk_p = handshake.init_request, handshake.responder_nonce, keys.sk_pi
    return signed_octets(message, nonce, sa.suite.prf, sk_p, identification.to_wire())


def answer(sa: IkeSa, payloads: ReceivedPayloads, now: float) -> tuple[Payload, ...]:
    """Answer an IKE_AUTH request that has the peer's proof."""
    handshake = sa.handshake
    identification = payloads.first(IdentificationInitiator)
    proof = payloads.first(AuthenticationPayload)
    try:
        if handshake is None or handshake.keys is None or identification is None or proof is None:
            raise AuthenticationError("incomplete-request", "IDi or AUTH is missing")
        key = _check_peer(sa, handshake, handshake.keys, identification, proof, payloads)
        own_proof = prove(sa, handshake, handshake.keys, key)
    except (AuthenticationError, CertificateError) as error:
        sa.environment.count(f"authentication-{error.reason}")
        claimed = None if identification is None else identification.identity
        sa.fail("authentication-failed", str(error), now=now, linger=True, claimed=claimed)
        return (_AUTHENTICATION_FAILED,)
    return (
        IdentificationResponder(sa.local_identity),
        *(sa.environment.certificate_payloads if key is None else ()),
        own_proof,
        *establish(sa, handshake, identification.identity, payloads, now),
    )


def establish(
    sa: IkeSa, handshake: Handshake, peer: Identity, payloads: ReceivedPayloads, now: float
) -> tuple[Payload, ...]:
    """The peer is authenticated.

    Args:
        sa: the IKE SA.
        handshake: its handshake.
        peer: who it is.
        payloads: the request that says what it wants.
        now: monotonic seconds.

    Returns:
        What the answer says to that.
    """
    is_initial_contact = payloads.notification(NotifyType.INITIAL_CONTACT) is not None
    if is_initial_contact:
        _close_older(sa, peer, now)
    configuration = payloads.first(ConfigurationPayload)
    sa.establish(peer, configuration, now, initial_contact=is_initial_contact)
    gateway = other_gateway(sa.environment, peer) if sa.takes_redirects else None
    if gateway is not None:
        # The peer deletes the SA, which is as good as any until then (RFC 5685 section 6).
        sa.environment.count("redirects-sent")
        return (redirect_payload(gateway),)
    seed = handshake.initiator_nonce + handshake.responder_nonce
    supported = mobike.support(sa) if mobike.agree(sa, payloads) else ()
    return (*_answer_wishes(sa, payloads, configuration, seed, now), *supported)


def _close_older(sa: IkeSa, peer: Identity, now: float) -> None:
    """The peer has lost all it knew: its other SAs are of no use (section 2.4)."""
    for older in tuple(sa.environment.by_peer.get(peer, ())):
        if older is not sa and older.state is State.ESTABLISHED:
            older.close("initial-contact", now=now)


def _answer_wishes(
    sa: IkeSa,
    payloads: ReceivedPayloads,
    configuration: ConfigurationPayload | None,
    seed: bytes,
    now: float,
) -> tuple[Payload, ...]:
    """Configuration first: what the child SA may carry can depend on the address given."""
    answer = None
    if configuration is not None and configuration.type == ConfigurationType.REQUEST:
        answer = sa.environment.policy.configuration_reply(sa, configuration)
    if answer is None:
        return _answer_child(sa, payloads, seed, now)
    reply = () if answer.reply is None else (answer.reply,)
    notification = () if answer.notify is None else (NotifyPayload(answer.notify),)
    if answer.notify is NotifyType.INTERNAL_ADDRESS_FAILURE:
        sa.environment.count("internal-address-failures-answered")
        return (*reply, *notification)
    return (*reply, *notification, *_answer_child(sa, payloads, seed, now))


def _answer_child(sa: IkeSa, payloads: ReceivedPayloads, seed: bytes, now: float) -> tuple[Payload, ...]:
    if payloads.first(SecurityAssociationPayload) is None:
        return ()
    try:
        return grant(sa, payloads, None).establish(sa, seed, now)
    except ChildRefused as refusal:
        return refuse_child(sa, refusal)
