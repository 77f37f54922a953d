"""The payloads of IKEv2, a file each (RFC 7296 section 3).

Every class is immutable and has ``payload_type``, ``to_wire()`` giving the body without the generic header, and
``from_wire(body)``, which raises :class:`control.wire.WireError` and nothing else. Reserved fields are sent as zero
and ignored on receipt.
"""

from __future__ import annotations

from control.ikev2.payloads.authentication import AuthenticationPayload, DigitalSignature
from control.ikev2.payloads.certificate import CertificatePayload, CertificateRequestPayload
from control.ikev2.payloads.configuration import ConfigurationAttribute, ConfigurationPayload
from control.ikev2.payloads.delete import DeletePayload
from control.ikev2.payloads.eap import EapPayload
from control.ikev2.payloads.encoded import EncodedPayload, encoded
from control.ikev2.payloads.identification import IdentificationInitiator, IdentificationResponder, Identity
from control.ikev2.payloads.key_exchange import KeyExchangePayload
from control.ikev2.payloads.nonce import NoncePayload
from control.ikev2.payloads.notify import NotifyPayload
from control.ikev2.payloads.received import ReceivedPayloads
from control.ikev2.payloads.security_association import (
    Proposal,
    SecurityAssociationPayload,
    Transform,
    TransformAttribute,
)
from control.ikev2.payloads.traffic_selector import (
    TrafficSelectorInitiator,
    TrafficSelectorResponder,
    UnknownSelector,
)
from control.ikev2.payloads.unknown import UnknownPayload
from control.ikev2.payloads.vendor_id import VendorIdPayload

KnownPayload = (
    SecurityAssociationPayload
    | KeyExchangePayload
    | IdentificationInitiator
    | IdentificationResponder
    | CertificatePayload
    | CertificateRequestPayload
    | AuthenticationPayload
    | NoncePayload
    | NotifyPayload
    | DeletePayload
    | VendorIdPayload
    | TrafficSelectorInitiator
    | TrafficSelectorResponder
    | ConfigurationPayload
    | EapPayload
)
"""A payload this implementation understands."""

ReceivedPayload = KnownPayload | UnknownPayload
"""Any payload of a message that came. Not the Encrypted payload, which :mod:`control.ikev2.message` takes apart
itself."""

Payload = ReceivedPayload | EncodedPayload
"""Any payload of a message to be sent."""

PAYLOAD_CLASSES: dict[int, type[KnownPayload]] = {
    payload_class.payload_type: payload_class
    for payload_class in (
        SecurityAssociationPayload,
        KeyExchangePayload,
        IdentificationInitiator,
        IdentificationResponder,
        CertificatePayload,
        CertificateRequestPayload,
        AuthenticationPayload,
        NoncePayload,
        NotifyPayload,
        DeletePayload,
        VendorIdPayload,
        TrafficSelectorInitiator,
        TrafficSelectorResponder,
        ConfigurationPayload,
        EapPayload,
    )
}
"""The class of each payload type that is understood."""

__all__ = [
    "PAYLOAD_CLASSES",
    "AuthenticationPayload",
    "CertificatePayload",
    "CertificateRequestPayload",
    "ConfigurationAttribute",
    "ConfigurationPayload",
    "DeletePayload",
    "DigitalSignature",
    "EapPayload",
    "EncodedPayload",
    "IdentificationInitiator",
    "IdentificationResponder",
    "Identity",
    "KeyExchangePayload",
    "KnownPayload",
    "NoncePayload",
    "NotifyPayload",
    "Payload",
    "Proposal",
    "ReceivedPayload",
    "ReceivedPayloads",
    "SecurityAssociationPayload",
    "TrafficSelectorInitiator",
    "TrafficSelectorResponder",
    "Transform",
    "TransformAttribute",
    "UnknownPayload",
    "UnknownSelector",
    "VendorIdPayload",
    "encoded",
]
