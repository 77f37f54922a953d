"""What applies security associations to packets: the interface of the userspace and the kernel back end."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Protocol

from control.ipsec.security_association import SecurityAssociation
from control.ipsec.udp_encapsulation import UdpEncapsulation
from control.ipsec.usage_limits import UsageExpiry


class IpsecBackend(Protocol):
    """Holds pairs of security associations and applies them.

    Policies are derived from the selectors of the associations: what an installed outbound association covers
    leaves only under it, and what arrives under an inbound one must fall into its selectors. A node's addresses are
    the logical ones, so that a move of the node changes nothing here.
    """

    def allocate_spi(self) -> int:
        """An inbound SPI that no installed association uses and that is not given out again soon."""

    def install(
        self, inbound: SecurityAssociation, outbound: SecurityAssociation, *, outbound_waits: bool = False
    ) -> None:
        """Put a pair to use at once; for packets that several outbound ones cover, the newest is taken.

        With ``outbound_waits`` the outbound one is taken only for packets that no other covers, until something genuine
        has arrived under the inbound one: the peer may not be ready to receive before (RFC 7296 section 2.8).

        Raises:
            IpsecBackendError: the inbound SPI is taken, or the back end cannot apply the association.
        """

    def remove(self, inbound_spi: int) -> None:
        """Take the pair of this inbound SPI out of use; without effect if there is none."""

    def reroute(self, inbound_spi: int, encapsulation: UdpEncapsulation) -> None:
        """The packets of this inbound SPI's pair travel in another UDP flow; without effect if there is none."""

    def usage_expiries(self) -> Sequence[UsageExpiry]:
        """Limits that were reached, drained; each at most once for a pair. What was removed since may be among them."""

    def list(self) -> tuple[tuple[SecurityAssociation, SecurityAssociation], ...]:
        """The installed pairs, inbound first, in the order in which they were installed."""


class KernelIpsecBackend(IpsecBackend, Protocol):
    """A back end that sees no packets: the kernel applies the associations to what the sockets send and receive."""

    def outbound_for(self, destination: IPv6Address, protocol: int, source_port: int | None) -> SecurityAssociation:
        """An installed outbound association that covers such a packet; for ports see ``SecurityAssociation.covers``.

        Raises:
            NoSecurityAssociation: there is none, so the packet must not leave.
        """
