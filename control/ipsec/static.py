"""Security associations keyed by hand (RFC 6275 section 5.1, RFC 3776 sections 4.1 and 5.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address

from control.ipsec.algorithms import (
    AES_128_CBC_SHA256,
    AES_256_CBC_SHA256,
    NULL_SHA256,
    CipherSuite,
    EncryptionAlgorithm,
    IntegrityAlgorithm,
)
from control.ipsec.security_association import FIRST_SPI, SecurityAssociation
from control.ipsec.spi_sequence import FIRST_DYNAMIC_SPI
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, PROTOCOL_MOBILITY, TrafficSelector

STATIC_SPIS = range(FIRST_SPI, FIRST_DYNAMIC_SPI)
"""Inbound SPIs that are never given to negotiated associations."""

STATIC_SUITES = {
    "aes128-sha256": AES_128_CBC_SHA256,
    "aes256-sha256": AES_256_CBC_SHA256,
    "aes256-sha384": CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_384_192),
    "aes256-sha512": CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_512_256),
    "null-sha256": NULL_SHA256,
}
"""Algorithms by the names operators write. AES-GCM is not among them: a key that outlives a restart would see an
initialization vector twice, which gives the traffic and the integrity key away (RFC 4106 sections 2 and 8.1)."""

PROTECTED_PROTOCOLS = {"mobility": PROTOCOL_MOBILITY, "prefix-discovery": PROTOCOL_ICMPV6}
"""What a pair can be for: the Mobility Header, or ICMPv6 between the two hosts (mobile prefix discovery)."""

NO_REPLAY_WINDOW = 0
"""Replays under manual keys are not looked for: a sender that restarts counts from 1 again (RFC 4303 section 3.3.3)."""


@dataclass(frozen=True, slots=True)
class StaticKeying:
    """One direction.

    Attributes:
        spi: Security Parameters Index, chosen by the receiver's operator.
        suite: algorithms, one of :data:`STATIC_SUITES`.
        key: the encryption key, then the integrity key.
    """

    spi: int
    suite: CipherSuite
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StaticPair:
    """Both directions, as seen from the one who installs them.

    Attributes:
        protocol: of the upper layer.
        inbound: from the peer.
        outbound: to the peer.
    """

    protocol: int
    inbound: StaticKeying
    outbound: StaticKeying

    @property
    def hides_nothing(self) -> bool:
        """Whether a direction is not encrypted."""
        return EncryptionAlgorithm.NULL in (self.inbound.suite.encryption, self.outbound.suite.encryption)

    def associations(
        self, local_address: IPv6Address, remote_address: IPv6Address, created_at: float
    ) -> tuple[SecurityAssociation, SecurityAssociation]:
        """The inbound and the outbound association between two logical addresses.

        Args:
            local_address: the home agent's address, or on a mobile node the home address.
            remote_address: the peer's.
            created_at: monotonic seconds.

        Raises:
            IpsecBackendError: a reserved SPI, or a key that does not fit the algorithm.
        """
        return (
            self._association(self.inbound, remote_address, local_address, created_at),
            self._association(self.outbound, local_address, remote_address, created_at),
        )

    def _association(
        self, keying: StaticKeying, source: IPv6Address, destination: IPv6Address, created_at: float
    ) -> SecurityAssociation:
        split = keying.suite.encryption_key_size
        return SecurityAssociation(
            spi=keying.spi,
            source=source,
            destination=destination,
            source_selectors=(TrafficSelector.host(source, self.protocol),),
            destination_selectors=(TrafficSelector.host(destination, self.protocol),),
            suite=keying.suite,
            encryption_key=keying.key[:split],
            integrity_key=keying.key[split:],
            replay_window=NO_REPLAY_WINDOW,
            created_at=created_at,
            limits=None,
        )
