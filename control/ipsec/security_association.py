"""One security association: what the Security Association Database holds for one direction (RFC 4301 section 4.4.2)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import ClassVar, Protocol

from msgspec import field

from control.ipsec.algorithms import CipherSuite, EncryptionAlgorithm
from control.ipsec.errors import IpsecBackendError
from control.ipsec.replay_window import DEFAULT_REPLAY_WINDOW
from control.ipsec.traffic_selector import EVERY_PORT, PROTOCOLS_WITH_MESSAGE_TYPE, TrafficSelector, any_matches
from control.ipsec.udp_encapsulation import UdpEncapsulation
from control.ipsec.usage_limits import DEFAULT_USAGE_LIMITS, UsageLimits
from control.records import MutableRecord, Record

FIRST_SPI = 256
"""SPIs 1 to 255 are reserved by IANA, 0 is for local use (RFC 4303 section 2.1)."""
LAST_SPI = 0xFFFF_FFFF


class SecurityAssociationUsage(MutableRecord):
    """What went through a security association.

    Attributes:
        packets: packets protected, or received and found genuine.
        bytes: upper-layer bytes in them, without ESP's own.
        errors: packets refused (inbound) or not sendable (outbound).
        last_used_at: monotonic seconds of the last good packet, None before the first.
    """

    packets: int = 0
    bytes: int = 0
    errors: int = 0
    last_used_at: float | None = None


class SecurityAssociation(Record, frozen=True, eq=False):
    """One direction of an ESP transport-mode association.

    The addresses are the logical ones: the home address and the home agent's address, wherever the node is
    (RFC 4877 section 3). The selectors are in the direction of the packet.

    Attributes:
        spi: Security Parameters Index, chosen by the receiver.
        source: logical source address of its packets.
        destination: logical destination address.
        source_selectors: which sources, protocols and source ports it is for; any one suffices.
        destination_selectors: the same for the destination side.
        suite: algorithms.
        encryption_key: key material of the cipher, for AES-GCM with the salt at the end; empty for NULL.
        integrity_key: key of the separate integrity algorithm; empty for AES-GCM.
        replay_window: size of the receiver's window in packets; 0: replays are not looked for.
        created_at: monotonic seconds.
        encapsulation: the UDP flow its packets travel in, None without UDP.
        limits: how much it may carry; None without end, for keys that nobody replaces.
        usage: counters that the back end keeps up.
    """

    hidden_fields: ClassVar[frozenset[str]] = frozenset({"encryption_key", "integrity_key"})

    spi: int
    source: IPv6Address
    destination: IPv6Address
    source_selectors: tuple[TrafficSelector, ...]
    destination_selectors: tuple[TrafficSelector, ...]
    suite: CipherSuite
    encryption_key: bytes
    integrity_key: bytes = b""
    replay_window: int = DEFAULT_REPLAY_WINDOW
    created_at: float = 0.0
    encapsulation: UdpEncapsulation | None = None
    limits: UsageLimits | None = DEFAULT_USAGE_LIMITS
    usage: SecurityAssociationUsage = field(default_factory=SecurityAssociationUsage)

    def __post_init__(self) -> None:
        """Refuse what no back end could use.

        Raises:
            IpsecBackendError: reserved SPI, incomplete or unfit suite, or key material of the wrong size.
        """
        if not FIRST_SPI <= self.spi <= LAST_SPI:
            raise IpsecBackendError("bad-spi", f"{self.spi:#010x} is reserved or does not fit 32 bits")
        suite = self.suite
        if not suite.is_complete:
            raise IpsecBackendError("bad-suite", f"{suite} does not both encrypt and authenticate as ESP needs")
        if not self.replay_window and suite.encryption is EncryptionAlgorithm.AES_GCM_16:
            raise IpsecBackendError("bad-suite", "AES-GCM needs numbers that never repeat (RFC 4106 section 2)")
        encryption, integrity = len(self.encryption_key), len(self.integrity_key)
        if encryption != suite.encryption_key_size or integrity != suite.integrity_key_size:
            raise IpsecBackendError("bad-key", f"{encryption, integrity} bytes of key material do not fit {suite}")

    def covers(self, protocol: int, source_port: int | None, destination_port: int | None) -> bool:
        """Whether a packet between this association's addresses falls into its selectors (RFC 4301 section 5)."""
        if not any_matches(self.source_selectors, self.source, protocol, source_port):
            return False
        if protocol in PROTOCOLS_WITH_MESSAGE_TYPE:
            destination_port = EVERY_PORT
        return any_matches(self.destination_selectors, self.destination, protocol, destination_port)


class NegotiatedChild(Protocol):
    """What a key exchange hands over: keys and selectors of both directions of one child association."""

    @property
    def inbound_spi(self) -> int:
        """The SPI we chose."""

    @property
    def outbound_spi(self) -> int:
        """The SPI the peer chose."""

    @property
    def suite(self) -> CipherSuite:
        """Algorithms of both directions."""

    @property
    def inbound_encryption_key(self) -> bytes:
        """Key material of the peer's cipher."""

    @property
    def inbound_integrity_key(self) -> bytes:
        """Key of the peer's integrity algorithm."""

    @property
    def outbound_encryption_key(self) -> bytes:
        """Key material of our cipher."""

    @property
    def outbound_integrity_key(self) -> bytes:
        """Key of our integrity algorithm."""

    @property
    def local_selectors(self) -> tuple[TrafficSelector, ...]:
        """What our side may send and receive."""

    @property
    def remote_selectors(self) -> tuple[TrafficSelector, ...]:
        """The same for the peer's side."""

    @property
    def transport_mode(self) -> bool:
        """Whether both agreed on it (RFC 7296 section 1.3.1)."""

    @property
    def encapsulation(self) -> UdpEncapsulation | None:
        """The UDP flow its packets travel in."""


def security_association_pair(
    child: NegotiatedChild,
    local_address: IPv6Address,
    remote_address: IPv6Address,
    *,
    created_at: float = 0.0,
    limits: UsageLimits = DEFAULT_USAGE_LIMITS,
) -> tuple[SecurityAssociation, SecurityAssociation]:
    """The inbound and the outbound association of a negotiated child.

    Args:
        child: keys and selectors.
        local_address: our logical address: the home agent's, or on a mobile node the home address.
        remote_address: the peer's logical address.
        created_at: monotonic seconds.
        limits: how much each of them may carry.

    Raises:
        IpsecBackendError: tunnel mode, a reserved SPI, or keys that do not fit the suite.
    """
    if not child.transport_mode:
        raise IpsecBackendError("tunnel-mode", "only transport mode protects Mobile IPv6 signalling here")
    local, remote, suite = child.local_selectors, child.remote_selectors, child.suite
    window, encapsulation = DEFAULT_REPLAY_WINDOW, child.encapsulation
    # By position: twelve names for each take longer than all that is in them.
    inbound = SecurityAssociation(
        child.inbound_spi,
        remote_address,
        local_address,
        remote,
        local,
        suite,
        child.inbound_encryption_key,
        child.inbound_integrity_key,
        window,
        created_at,
        encapsulation,
        limits,
    )
    outbound = SecurityAssociation(
        child.outbound_spi,
        local_address,
        remote_address,
        local,
        remote,
        suite,
        child.outbound_encryption_key,
        child.outbound_integrity_key,
        window,
        created_at,
        encapsulation,
        limits,
    )
    return inbound, outbound
