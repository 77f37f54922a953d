"""The codecs agree byte for byte with scapy's, written by others from the same RFC."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from scapy.contrib import ikev2 as scapy_ikev2

from control.ikev2 import payloads as p
from control.ikev2.message import Header, Message, encode_message, encrypted_prefix, parse_message, split_encrypted
from control.ikev2.numbers import (
    AuthenticationMethod,
    ConfigurationAttributeType,
    ConfigurationType,
    DiffieHellmanGroup,
    ExchangeType,
    IdentificationType,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
)
from control.ipsec.algorithms import EncryptionAlgorithm, IntegrityAlgorithm
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector

INITIATOR = b"initiatr"
RESPONDER = b"respondr"
HOME_AGENT = "2001:db8:a2::1"
HOME_ADDRESS = "2001:db8:100::7"


def scapy_transforms(*transforms):
    chain = None
    for index, (transform_type, number, key_bits) in enumerate(transforms):
        fields = {"length": 12, "key_length": key_bits} if key_bits else {}
        layer = scapy_ikev2.IKEv2_Transform(
            next_payload=0 if index == len(transforms) - 1 else 3,
            transform_type=transform_type,
            transform_id=number,
            **fields,
        )
        chain = layer if chain is None else chain / layer
    return chain


def scapy_security_association():
    return scapy_ikev2.IKEv2_SA(
        prop=scapy_ikev2.IKEv2_Proposal(
            next_payload=2,
            proposal=1,
            proto=3,
            SPI=b"\x01\x02\x03\x04",
            trans_nb=3,
            trans=scapy_transforms((1, 20, 128), (1, 20, 256), (5, 0, None)),
        )
        / scapy_ikev2.IKEv2_Proposal(
            next_payload=0,
            proposal=2,
            proto=3,
            SPI=b"\x01\x02\x03\x04",
            trans_nb=3,
            trans=scapy_transforms((1, 12, 128), (3, 12, None), (5, 0, None)),
        )
    )


def our_security_association():
    spi = b"\x01\x02\x03\x04"
    no_esn = p.Transform(TransformType.EXTENDED_SEQUENCE_NUMBERS, 0)
    return p.SecurityAssociationPayload(
        (
            p.Proposal(
                1,
                ProtocolId.ESP,
                spi,
                (
                    p.Transform(TransformType.ENCRYPTION, EncryptionAlgorithm.AES_GCM_16, 128),
                    p.Transform(TransformType.ENCRYPTION, EncryptionAlgorithm.AES_GCM_16, 256),
                    no_esn,
                ),
            ),
            p.Proposal(
                2,
                ProtocolId.ESP,
                spi,
                (
                    p.Transform(TransformType.ENCRYPTION, EncryptionAlgorithm.AES_CBC, 128),
                    p.Transform(TransformType.INTEGRITY, IntegrityAlgorithm.HMAC_SHA2_256_128),
                    no_esn,
                ),
            ),
        )
    )


def scapy_selectors(layer, address):
    selector = scapy_ikev2.IPv6TrafficSelector(
        length=40,
        IP_protocol_ID=135,
        start_port=0,
        end_port=65535,
        starting_address_v6=address,
        ending_address_v6=address,
    )
    return layer(traffic_selector=[selector])


def host(address):
    return (TrafficSelector.host(IPv6Address(address), PROTOCOL_MOBILITY),)


ADDRESS_VALUE = IPv6Address(HOME_ADDRESS).packed + b"\x80"

PAYLOADS = {
    "SA": (scapy_security_association(), our_security_association()),
    "KE": (
        scapy_ikev2.IKEv2_KE(group=31, ke=b"k" * 32),
        p.KeyExchangePayload(DiffieHellmanGroup.CURVE25519, b"k" * 32),
    ),
    "nonce": (scapy_ikev2.IKEv2_Nonce(nonce=b"n" * 32), p.NoncePayload(b"n" * 32)),
    "status": (
        scapy_ikev2.IKEv2_Notify(proto=0, type=16391),
        p.NotifyPayload(NotifyType.USE_TRANSPORT_MODE),
    ),
    "rekey": (
        scapy_ikev2.IKEv2_Notify(proto=3, type=16393, SPI=b"abcd"),
        p.NotifyPayload(NotifyType.REKEY_SA, ProtocolId.ESP, b"abcd"),
    ),
    "cookie": (
        scapy_ikev2.IKEv2_Notify(proto=0, type=16390, notify=b"cookie"),
        p.NotifyPayload(NotifyType.COOKIE, data=b"cookie"),
    ),
    "hash algorithms": (
        scapy_ikev2.IKEv2_Notify(proto=0, type=16431, notify=b"\0\2\0\5"),
        p.NotifyPayload.signature_hash_algorithms((2, 5)),
    ),
    "IDi": (
        scapy_ikev2.IKEv2_IDi(IDtype=2, ID=b"ha2.example.org"),
        p.IdentificationInitiator(p.Identity(IdentificationType.FQDN, b"ha2.example.org")),
    ),
    "IDr": (
        scapy_ikev2.IKEv2_IDr(IDtype=5, ID=HOME_ADDRESS),
        p.IdentificationResponder(p.Identity.from_text(HOME_ADDRESS)),
    ),
    "AUTH": (
        scapy_ikev2.IKEv2_AUTH(auth_type=2, load=b"a" * 32),
        p.AuthenticationPayload(AuthenticationMethod.SHARED_KEY, b"a" * 32),
    ),
    "CERTREQ": (
        scapy_ikev2.IKEv2_CERTREQ(cert_encoding=4, cert_authority=b"h" * 20),
        p.CertificateRequestPayload(4, b"h" * 20),
    ),
    "CERT": (
        scapy_ikev2.IKEv2_CERT(cert_encoding=12, cert_data=b"hash and URL"),
        p.CertificatePayload(12, b"hash and URL"),
    ),
    "TSi": (
        scapy_selectors(scapy_ikev2.IKEv2_TSi, HOME_AGENT),
        p.TrafficSelectorInitiator(host(HOME_AGENT)),
    ),
    "TSr": (
        scapy_selectors(scapy_ikev2.IKEv2_TSr, HOME_ADDRESS),
        p.TrafficSelectorResponder(host(HOME_ADDRESS)),
    ),
    "IPv4 TSr": (
        scapy_ikev2.IKEv2_TSr(
            traffic_selector=[
                scapy_ikev2.IPv4TrafficSelector(
                    IP_protocol_ID=17, starting_address_v4="192.0.2.1", ending_address_v4="192.0.2.9"
                )
            ]
        ),
        p.TrafficSelectorResponder((p.UnknownSelector(7, 17, bytes.fromhex("0000ffff c0000201 c0000209")),)),
    ),
    "delete IKE": (
        scapy_ikev2.IKEv2_Delete(proto=1, SPIsize=0, SPInum=0),
        p.DeletePayload(ProtocolId.IKE),
    ),
    "delete ESP": (
        scapy_ikev2.IKEv2_Delete(proto=3, SPIsize=4, SPInum=2, SPI=[b"abcd", b"efgh"]),
        p.DeletePayload(ProtocolId.ESP, (b"abcd", b"efgh")),
    ),
    "vendor": (scapy_ikev2.IKEv2_VendorID(vendorID=b"vendor"), p.VendorIdPayload(b"vendor")),
    "CP request": (
        scapy_ikev2.IKEv2_CP(
            CFGType=1,
            attributes=[scapy_ikev2.ConfigurationAttribute(type=8, length=0, value=b"")],
        ),
        p.ConfigurationPayload(
            ConfigurationType.REQUEST,
            (p.ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS),),
        ),
    ),
    "CP reply": (
        scapy_ikev2.IKEv2_CP(
            CFGType=2,
            attributes=[scapy_ikev2.ConfigurationAttribute(type=8, length=17, value=ADDRESS_VALUE)],
        ),
        p.ConfigurationPayload(
            ConfigurationType.REPLY,
            (p.ConfigurationAttribute.internal_ip6_address(IPv6Address(HOME_ADDRESS)),),
        ),
    ),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_has_scapys_bytes(name):
    theirs, ours = PAYLOADS[name]
    expected = bytes(theirs)[4:]

    assert ours.to_wire() == expected
    assert type(ours).from_wire(expected) == ours


def test_message_has_scapys_bytes():
    names = ["SA", "KE", "nonce", "cookie", "IDi", "IDr", "TSi", "TSr", "CP reply", "delete ESP"]
    header = Header(INITIATOR, RESPONDER, ExchangeType.CREATE_CHILD_SA, False, True, 9)
    message = Message(header, tuple(PAYLOADS[name][1] for name in names))
    types = [payload.payload_type for payload in message.payloads] + [0]
    chain = scapy_ikev2.IKEv2(
        init_SPI=INITIATOR, resp_SPI=RESPONDER, next_payload=types[0], exch_type=36, flags="Response", id=9
    )
    for name, next_type in zip(names, types[1:], strict=True):
        layer = PAYLOADS[name][0].copy()
        layer.next_payload = next_type
        chain = chain / layer

    assert encode_message(message) == bytes(chain)
    assert parse_message(bytes(chain)) == message


def test_encrypted_message_has_scapys_bytes():
    header = Header(INITIATOR, RESPONDER, ExchangeType.IKE_AUTH, True, False, 1)
    theirs = bytes(
        scapy_ikev2.IKEv2(
            init_SPI=INITIATOR, resp_SPI=RESPONDER, next_payload=46, exch_type=35, flags="Initiator", id=1
        )
        / scapy_ikev2.IKEv2_Encrypted(next_payload=35, load=b"ciphertext")
    )

    split = split_encrypted(theirs)

    assert encrypted_prefix(header, PayloadType.IDENTIFICATION_INITIATOR, 10) + b"ciphertext" == theirs
    assert (split.header, split.first_inner_type, split.body) == (header, 35, b"ciphertext")
