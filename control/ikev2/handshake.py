"""What an IKE SA needs to know only until it is established."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

from control.eap.peer import EapPeer
from control.ikev2.authentication import PaddedKey
from control.ikev2.child import ChildRequest
from control.ikev2.dh import KeyPair
from control.ikev2.keys import IkeKeys
from control.ikev2.payloads import ConfigurationPayload, Identity
from control.ikev2.redirect import Gateway
from control.records import MutableRecord

if TYPE_CHECKING:
    from control.ikev2.exchanges.eap_answer import EapConversation


class Handshake(MutableRecord):
    """The material of IKE_SA_INIT and the wishes for IKE_AUTH.

    Attributes:
        initiator_nonce: Ni.
        responder_nonce: Nr.
        key_pair: the initiator's, until the secret is computed.
        init_request: the IKE_SA_INIT request that was answered, as sent.
        init_response: its answer, as sent.
        keys: what followed from them.
        peer_hashes: the peer's SIGNATURE_HASH_ALGORITHMS, None if it sent none.
        shared_key: what both sides prove themselves with, None if that is something else.
        remote_identity: whom the initiator wants to reach, None for anybody its policy accepts.
        first_child: the child SA the initiator wants to have with the IKE SA.
        configuration: the initiator's CP payload.
        init_tries: how often IKE_SA_INIT is sent in all, None for as often as any request.
        initial_contact: whether the initiator says that it has no older SAs with the peer.
        eap: at the responder what is kept from round to round, None without EAP.
        eap_peer: at the initiator what proves it by EAP, None if it has a shared key or a certificate.
        redirected_from: the gateway that has sent the initiator here, None for none.
        hint: what an unauthenticated refusal of IKE_SA_INIT said, to be reported if nothing better comes.
    """

    hidden_fields: ClassVar[frozenset[str]] = frozenset({"key_pair", "init_request", "init_response"})

    initiator_nonce: bytes = b""
    responder_nonce: bytes = b""
    key_pair: KeyPair | None = None
    init_request: bytes = b""
    init_response: bytes = b""
    keys: IkeKeys | None = None
    peer_hashes: Collection[int] | None = None
    shared_key: PaddedKey | None = None
    remote_identity: Identity | None = None
    first_child: ChildRequest | None = None
    configuration: ConfigurationPayload | None = None
    init_tries: int | None = None
    initial_contact: bool = False
    redirected_from: Gateway | None = None
    hint: str | None = None
    eap: EapConversation | None = None
    eap_peer: EapPeer | None = None
