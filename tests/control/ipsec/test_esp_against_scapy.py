"""ESP packets byte for byte against scapy's, in both directions and for every suite, in IPv6 transport mode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting
from scapy.layers.ipsec import ESP
from scapy.layers.ipsec import SecurityAssociation as ScapySecurityAssociation
from scapy.packet import Packet, Raw, raw

from control.ipsec.algorithms import CipherSuite, EncryptionAlgorithm, IntegrityAlgorithm
from control.ipsec.esp import EspInbound, EspOutbound
from control.ipsec.security_association import SecurityAssociation

MakeAssociation = Callable[..., SecurityAssociation]

CIPHERS = {
    EncryptionAlgorithm.AES_GCM_16: "AES-GCM",
    EncryptionAlgorithm.CHACHA20_POLY1305: "CHACHA20-POLY1305",
    EncryptionAlgorithm.AES_CBC: "AES-CBC",
    EncryptionAlgorithm.NULL: "NULL",
}
HASHES = {
    IntegrityAlgorithm.NONE: "NULL",
    IntegrityAlgorithm.HMAC_SHA2_256_128: "SHA2-256-128",
    IntegrityAlgorithm.HMAC_SHA2_384_192: "SHA2-384-192",
    IntegrityAlgorithm.HMAC_SHA2_512_256: "SHA2-512-256",
}
LENGTHS = [*range(0, 40, 3), 255, 1280]


def scapy_association(association: SecurityAssociation) -> ScapySecurityAssociation:
    return ScapySecurityAssociation(
        ESP,
        spi=association.spi,
        crypt_algo=CIPHERS[association.suite.encryption],
        crypt_key=association.encryption_key,
        auth_algo=HASHES[association.suite.integrity],
        auth_key=association.integrity_key,
    )


def plain_packet(payload: bytes) -> Packet:
    return IPv6(src="2001:db8:a1::1", dst="2001:db8:c::17", nh=135) / Raw(payload)


@pytest.mark.parametrize("length", LENGTHS)
def test_scapy_makes_the_same_bytes(suite: CipherSuite, length: int, make_association: MakeAssociation) -> None:
    association = make_association(suite)
    payload = bytes(n & 0xFF for n in range(length))
    iv = (bytes(7) + b"\x05" if suite.is_combined_mode else bytes(range(16)))[
        : 0 if suite.encryption is EncryptionAlgorithm.NULL else None
    ]
    outbound = EspOutbound(association, lambda size: bytes(range(size)))
    outbound.sequence_number = 4
    ours = outbound.protect(payload, 135)
    theirs = scapy_association(association).encrypt(plain_packet(payload), seq_num=5, iv=iv)
    assert ours == raw(theirs[ESP])


@pytest.mark.parametrize("length", LENGTHS)
def test_scapy_opens_ours(
    suite: CipherSuite, length: int, make_association: MakeAssociation, random_bytes: Callable[[int], bytes]
) -> None:
    association = make_association(suite)
    payload = random_bytes(length)
    esp = EspOutbound(association, random_bytes).protect(payload, 135)
    packet = IPv6(raw(IPv6(src="2001:db8:a1::1", dst="2001:db8:c::17", nh=50) / Raw(esp)))
    opened = scapy_association(association).decrypt(packet)
    assert opened.nh == 135
    assert raw(opened.payload) == payload


@pytest.mark.parametrize("length", LENGTHS)
def test_ours_opens_scapys(
    suite: CipherSuite, length: int, make_association: MakeAssociation, random_bytes: Callable[[int], bytes]
) -> None:
    association = make_association(suite)
    payload = random_bytes(length)
    packet = scapy_association(association).encrypt(plain_packet(payload))
    assert EspInbound(association).unprotect(raw(packet[ESP])) == (135, payload)


def test_scapy_opens_ours_behind_extension_headers(
    suite: CipherSuite, make_association: MakeAssociation, random_bytes: Callable[[int], bytes]
) -> None:
    association = make_association(suite)
    for extension in (
        IPv6ExtHdrRouting(type=2, addresses=["2001:db8:100::17"], segleft=1, nh=50),
        IPv6ExtHdrDestOpt(nh=50),
    ):
        esp = EspOutbound(association, random_bytes).protect(b"home agent switch", 135)
        packet = IPv6(raw(IPv6(src="2001:db8:a1::1", dst="2001:db8:c::17") / extension / Raw(esp)))
        opened = scapy_association(association).decrypt(packet)
        assert opened.payload.nh == 135
        assert raw(opened.payload.payload) == b"home agent switch"
