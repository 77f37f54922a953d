"""What a security association accepts as its own, and how a negotiated child becomes two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

import pytest

from control.ipsec.algorithms import (
    AES_128_CBC_SHA256,
    AES_128_GCM,
    CipherSuite,
    EncryptionAlgorithm,
    IntegrityAlgorithm,
)
from control.ipsec.errors import IpsecBackendError
from control.ipsec.security_association import SecurityAssociation, security_association_pair
from control.ipsec.traffic_selector import TrafficSelector
from control.ipsec.udp_encapsulation import UdpEncapsulation

MakeAssociation = Callable[..., SecurityAssociation]
HOME_AGENT = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::17")


FLOW = UdpEncapsulation(4500, HOME_ADDRESS, 31_000)


@dataclass(frozen=True)
class Child:
    inbound_spi: int = 0x1001
    outbound_spi: int = 0x2002
    suite: CipherSuite = AES_128_CBC_SHA256
    inbound_encryption_key: bytes = b"\x01" * 16
    inbound_integrity_key: bytes = b"\x02" * 32
    outbound_encryption_key: bytes = b"\x03" * 16
    outbound_integrity_key: bytes = b"\x04" * 32
    local_selectors: tuple[TrafficSelector, ...] = (TrafficSelector.host(HOME_AGENT, 135),)
    remote_selectors: tuple[TrafficSelector, ...] = (TrafficSelector.host(HOME_ADDRESS, 135),)
    transport_mode: bool = True
    encapsulation: UdpEncapsulation | None = FLOW


def test_a_negotiated_child_becomes_both_directions() -> None:
    child = Child()
    inbound, outbound = security_association_pair(child, HOME_AGENT, HOME_ADDRESS, created_at=3.5)
    assert (inbound.spi, inbound.source, inbound.destination) == (0x1001, HOME_ADDRESS, HOME_AGENT)
    assert (inbound.encryption_key, inbound.integrity_key) == (b"\x01" * 16, b"\x02" * 32)
    assert (inbound.source_selectors, inbound.destination_selectors) == (child.remote_selectors, child.local_selectors)
    assert inbound.encapsulation == outbound.encapsulation == child.encapsulation
    assert (outbound.spi, outbound.source, outbound.destination) == (0x2002, HOME_AGENT, HOME_ADDRESS)
    assert (outbound.encryption_key, outbound.integrity_key) == (b"\x03" * 16, b"\x04" * 32)
    assert (outbound.source_selectors, outbound.destination_selectors) == (
        child.local_selectors,
        child.remote_selectors,
    )
    assert {sa.created_at for sa in (inbound, outbound)} == {3.5}


def test_tunnel_mode_is_refused() -> None:
    with pytest.raises(IpsecBackendError) as caught:
        security_association_pair(replace(Child(), transport_mode=False), HOME_AGENT, HOME_ADDRESS)
    assert caught.value.reason == "tunnel-mode"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spi": 0}, "bad-spi"),
        ({"spi": 255}, "bad-spi"),
        ({"spi": 2**32}, "bad-spi"),
        ({"encryption_key": bytes(19)}, "bad-key"),
        ({"integrity_key": bytes(32)}, "bad-key"),
        ({"suite": CipherSuite(EncryptionAlgorithm.AES_CBC, 128)}, "bad-suite"),
        ({"suite": CipherSuite(EncryptionAlgorithm.AES_GCM_16, 160)}, "bad-suite"),
        ({"suite": CipherSuite(EncryptionAlgorithm.NULL, 0)}, "bad-suite"),
        ({"suite": CipherSuite(EncryptionAlgorithm.NULL, 128, IntegrityAlgorithm.HMAC_SHA2_256_128)}, "bad-suite"),
    ],
)
def test_unusable_associations_are_refused(
    make_association: MakeAssociation, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(IpsecBackendError) as caught:
        make_association(**({"suite": AES_128_GCM} | changes))
    assert caught.value.reason == reason


def test_keys_do_not_show(make_association: MakeAssociation) -> None:
    association = make_association(AES_128_CBC_SHA256, encryption_key=b"E" * 16, integrity_key=b"I" * 32)
    assert "EEEE" not in repr(association)
    assert "IIII" not in repr(association)


def test_the_message_type_is_the_senders_affair(make_association: MakeAssociation) -> None:
    """Mobile prefix discovery (RFC 4877 section 7.2.3): advertisements one way, solicitations the other."""
    advertisement, solicitation = 147 << 8, 146 << 8
    association = make_association(
        AES_128_GCM,
        source_selectors=(TrafficSelector(HOME_AGENT, HOME_AGENT, 58, advertisement, advertisement | 0xFF),),
        destination_selectors=(TrafficSelector(HOME_ADDRESS, HOME_ADDRESS, 58, solicitation, solicitation | 0xFF),),
    )
    assert association.covers(58, advertisement, None)
    assert not association.covers(58, solicitation, None)
    assert not association.covers(135, advertisement, None)
    assert not association.covers(58, None, None)


def test_ports_count_on_both_sides_where_there_are_two(make_association: MakeAssociation) -> None:
    association = make_association(
        AES_128_GCM,
        source_selectors=(TrafficSelector(HOME_AGENT, HOME_AGENT, 17, 500, 500),),
        destination_selectors=(
            TrafficSelector(HOME_ADDRESS, HOME_ADDRESS, 17, 4500, 4500),
            TrafficSelector(HOME_ADDRESS, HOME_ADDRESS, 17, 53, 53),
        ),
    )
    assert association.covers(17, 500, 4500)
    assert association.covers(17, 500, 53)
    assert not association.covers(17, 500, 54)
    assert not association.covers(17, 501, 4500)
    assert not association.covers(6, 500, 4500)
