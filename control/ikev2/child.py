"""Child security associations: what is asked for, what policy allows, what was agreed."""

from __future__ import annotations

from typing import ClassVar

from control.ikev2.numbers import DiffieHellmanGroup
from control.ikev2.proposals import EspProposal
from control.ipsec.algorithms import CipherSuite
from control.ipsec.traffic_selector import TrafficSelector
from control.ipsec.udp_encapsulation import UdpEncapsulation
from control.records import Record


class ChildRequest(Record, frozen=True):
    """A child SA this side wants (TSi and TSr of its request).

    Attributes:
        local_selectors: traffic of this side, most preferred first; the responder may narrow it.
        remote_selectors: traffic of the peer.
        name: the caller's label, handed back in the events about this child.
        transport_mode: ask for transport mode; tunnel mode is what results if the peer declines.
        proposals: ESP algorithms, None for the configuration's.
    """

    local_selectors: tuple[TrafficSelector, ...]
    remote_selectors: tuple[TrafficSelector, ...]
    name: str | None = None
    transport_mode: bool = True
    proposals: tuple[EspProposal, ...] | None = None


class ChildPolicy(Record, frozen=True):
    """What the responder grants of a requested child SA (RFC 7296 section 2.9).

    Attributes:
        local_selectors: the granted subset of the responder's own traffic.
        remote_selectors: the granted subset of the initiator's traffic.
        name: the application's label for the child.
        transport_mode: whether transport mode is granted when the initiator asked for it.
    """

    local_selectors: tuple[TrafficSelector, ...]
    remote_selectors: tuple[TrafficSelector, ...]
    name: str | None = None
    transport_mode: bool = True


class ChildSa(Record, frozen=True):
    """An agreed pair of ESP security associations with its keys.

    Attributes:
        inbound_spi: the SPI this side chose; packets to this side carry it.
        outbound_spi: the SPI the peer chose.
        suite: the negotiated algorithms.
        inbound_encryption_key: key (and salt, for AES-GCM at the end) of packets to this side.
        inbound_integrity_key: integrity key of packets to this side, empty for combined-mode ciphers.
        outbound_encryption_key: the same for packets from this side.
        outbound_integrity_key: the same for packets from this side.
        local_selectors: traffic of this side.
        remote_selectors: traffic of the peer.
        transport_mode: False means tunnel mode.
        name: the label of the ChildRequest or ChildPolicy.
        initiated: whether this side asked for the child.
        group: of the key exchange the keys were made with, None if only the IKE SA's keys went into them.
        encapsulation: the UDP flow its packets travel in, None without UDP. PeerAddressChanged tells of another one.
    """

    hidden_fields: ClassVar[frozenset[str]] = frozenset(
        {"inbound_encryption_key", "inbound_integrity_key", "outbound_encryption_key", "outbound_integrity_key"}
    )

    inbound_spi: int
    outbound_spi: int
    suite: CipherSuite
    inbound_encryption_key: bytes
    inbound_integrity_key: bytes
    outbound_encryption_key: bytes
    outbound_integrity_key: bytes
    local_selectors: tuple[TrafficSelector, ...]
    remote_selectors: tuple[TrafficSelector, ...]
    transport_mode: bool
    name: str | None = None
    initiated: bool = False
    group: DiffieHellmanGroup | None = None
    encapsulation: UdpEncapsulation | None = None
