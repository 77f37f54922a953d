"""What the tests of IPsec share: every suite, and associations with fixed keys."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import IPv6Address

import pytest
from msgspec.structs import replace

from control.ipsec.algorithms import CipherSuite, EncryptionAlgorithm, IntegrityAlgorithm
from control.ipsec.security_association import SecurityAssociation
from tests.control.ipsec.associations import association_between

HOME_AGENT = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::17")

SUITES = [
    *(CipherSuite(EncryptionAlgorithm.AES_GCM_16, bits) for bits in (128, 192, 256)),
    CipherSuite(EncryptionAlgorithm.CHACHA20_POLY1305, 0),
    *(
        CipherSuite(EncryptionAlgorithm.AES_CBC, bits, integrity)
        for bits in (128, 192, 256)
        for integrity in list(IntegrityAlgorithm)[1:]
    ),
    *(CipherSuite(EncryptionAlgorithm.NULL, 0, integrity) for integrity in list(IntegrityAlgorithm)[1:]),
]


@pytest.fixture(params=SUITES, ids=str)
def suite(request: pytest.FixtureRequest) -> CipherSuite:
    return request.param


@pytest.fixture
def make_association() -> Callable[..., SecurityAssociation]:
    def make(suite: CipherSuite, **changes: object) -> SecurityAssociation:
        return replace(association_between(0x1234ABCD, HOME_AGENT, HOME_ADDRESS, suite), **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def random_bytes() -> Callable[[int], bytes]:
    return random.Random(7).randbytes


@pytest.fixture
def suites() -> list[CipherSuite]:
    return SUITES
