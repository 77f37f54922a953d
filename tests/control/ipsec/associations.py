"""A security association between two hosts, for any test that needs one."""

from __future__ import annotations

import random
from ipaddress import IPv6Address

from control.ipsec.algorithms import AES_128_GCM, CipherSuite
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector
from control.ipsec.usage_limits import DEFAULT_USAGE_LIMITS, UsageLimits


def association_between(
    spi: int,
    source: IPv6Address,
    destination: IPv6Address,
    suite: CipherSuite = AES_128_GCM,
    *,
    protocol: int = PROTOCOL_MOBILITY,
    limits: UsageLimits = DEFAULT_USAGE_LIMITS,
) -> SecurityAssociation:
    """A new object each time, for they count; the SPI decides the keys, so that both ends have the same."""
    keys = random.Random(spi)
    return SecurityAssociation(
        spi,
        source,
        destination,
        (TrafficSelector.host(source, protocol),),
        (TrafficSelector.host(destination, protocol),),
        suite,
        keys.randbytes(suite.encryption_key_size),
        keys.randbytes(suite.integrity_key_size),
        limits=limits,
    )
