"""Mobility Header messages between home agent and mobile node, protected by ESP (RFC 6275 section 5.1, RFC 4877)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv6Address

from control.ikev2.child import ChildSa
from control.ipsec.backend import IpsecBackend, KernelIpsecBackend
from control.ipsec.errors import EspError
from control.ipsec.security_association import SecurityAssociation, security_association_pair
from control.ipsec.static import StaticPair
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY
from control.ipsec.usage_limits import DEFAULT_USAGE_LIMITS, UsageExpiry, UsageLimits
from control.ipsec.userspace import InstalledPair, UserspaceIpsec
from control.mobility.extension_headers import build_ipv6, build_to_mobile_node
from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.messages import MobilityMessage
from control.records import Record
from control.wire import WireError

PROTOCOL_ESP = 50


class MessageToNode(Record, frozen=True):
    """A Mobility Header that the kernel is to protect and to give a routing header.

    Attributes:
        home_address: the node's, which the checksum is over.
        care_of_address: where the node is.
        payload: from the Mobility Header on.
    """

    home_address: IPv6Address
    care_of_address: IPv6Address
    payload: bytes


Outgoing = bytes | MessageToNode
"""A whole IPv6 packet, or what the kernel makes one of."""

Protection = Callable[[bytes], Outgoing]
"""Makes of a Mobility Header what carries it to a node; raises EspError if its association has carried all it may."""


class ProtectedSignalling(ABC):
    """Protects what goes to a node and opens what comes from it.

    The security associations name the home address; on the wire the care-of address stands in its place and the
    home address travels in a type 2 routing header or a Home Address option (RFC 6275 sections 6.3 and 6.4).
    """

    def __init__(
        self,
        home_agent: IPv6Address,
        ipsec: IpsecBackend,
        installed: Callable[[SecurityAssociation, SecurityAssociation], None] | None = None,
        limits: UsageLimits = DEFAULT_USAGE_LIMITS,
    ) -> None:
        """Start without any.

        Args:
            home_agent: our address.
            ipsec: the back end.
            installed: told of every pair of security associations put to work, for the export of keys.
            limits: how much each direction of a child SA may carry.
        """
        self._home_agent = home_agent
        self._ipsec = ipsec
        self._install = ipsec.install if installed is None else partial(self._install_and_tell, installed)
        self._limits = limits

    def install(self, child: ChildSa, home_address: IPv6Address, now: float, *, outbound_waits: bool = False) -> None:
        """Put both directions of a child SA to work; for ``outbound_waits`` see :class:`IpsecBackend`.

        Raises:
            IpsecBackendError: the back end cannot apply what was negotiated, tunnel mode for example.
        """
        pair = security_association_pair(child, self._home_agent, home_address, created_at=now, limits=self._limits)
        self._install(*pair, outbound_waits=outbound_waits)

    def install_static(self, pair: StaticPair, home_address: IPv6Address, now: float) -> None:
        """Put a pair that was keyed by hand to work.

        Raises:
            IpsecBackendError: the back end cannot apply it.
        """
        self._install(*pair.associations(self._home_agent, home_address, now))

    def _install_and_tell(
        self,
        installed: Callable[[SecurityAssociation, SecurityAssociation], None],
        inbound: SecurityAssociation,
        outbound: SecurityAssociation,
        *,
        outbound_waits: bool = False,
    ) -> None:
        self._ipsec.install(inbound, outbound, outbound_waits=outbound_waits)
        installed(inbound, outbound)

    def remove(self, child: ChildSa) -> None:
        """Take both directions of a child SA out of use."""
        self._ipsec.remove(child.inbound_spi)

    def reroute(self, child: ChildSa) -> None:
        """The packets of a child SA, in UDP, go another way now."""
        if child.encapsulation is not None:
            self._ipsec.reroute(child.inbound_spi, child.encapsulation)

    def usage_expiries(self) -> Sequence[UsageExpiry]:
        """See :meth:`IpsecBackend.usage_expiries`."""
        return self._ipsec.usage_expiries()

    def encode(self, message: MobilityMessage, home_address: IPv6Address) -> bytes:
        """A message to a node, from the Mobility Header on."""
        return build_mobility_message(message, self._home_agent, home_address)

    @abstractmethod
    def protection_for(
        self, message_type: int, home_address: IPv6Address, care_of_address: IPv6Address, now: float
    ) -> Protection:
        """What protects a message of that type to a node; it stays good when other associations come and go.

        Raises:
            NoSecurityAssociation: none with this node covers the message.
        """

    def decode(self, payload: bytes, home_address: IPv6Address) -> MobilityMessage:
        """A message of a node, from the Mobility Header on.

        Raises:
            WireError: not a well-formed Mobility Header.
        """
        return parse_mobility_message(payload, home_address, self._home_agent)

    @abstractmethod
    def open(self, packet: bytes, home_address: IPv6Address, now: float) -> tuple[bytes, SecurityAssociation]:
        """Check and decrypt an ESP packet of a node.

        Returns:
            What is in it, from the Mobility Header on, and the association it came under.

        Raises:
            EspError: not one of ours, a replay, altered, or not what its security association is for.
            WireError: properly protected, but not a Mobility Header.
        """

    def read(self, payload: bytes, association: SecurityAssociation, home_address: IPv6Address) -> MobilityMessage:
        """The message in a payload that came under ``association``.

        Raises:
            EspError: ``selector-mismatch``: not what the security association is for.
            WireError: not a well-formed Mobility Header.
        """
        # The third byte of the Mobility Header is its type; selectors hold it in the high byte of the port.
        kind = payload[2] << 8 if len(payload) > 2 else None
        if association.source != home_address or not association.covers(PROTOCOL_MOBILITY, kind, None):
            raise EspError("selector-mismatch", f"from {home_address} under SPI {association.spi:#010x}")
        return self.decode(payload, home_address)


class UserspaceSignalling(ProtectedSignalling):
    """ESP is done here; whole packets come and go."""

    def __init__(
        self,
        home_agent: IPv6Address,
        ipsec: UserspaceIpsec,
        installed: Callable[[SecurityAssociation, SecurityAssociation], None] | None = None,
        limits: UsageLimits = DEFAULT_USAGE_LIMITS,
    ) -> None:
        """See :class:`ProtectedSignalling`."""
        super().__init__(home_agent, ipsec, installed, limits)
        self._esp = ipsec

    def protection_for(
        self, message_type: int, home_address: IPv6Address, care_of_address: IPv6Address, now: float
    ) -> Protection:
        """See :meth:`ProtectedSignalling.protection_for`; it makes whole IPv6 packets."""
        pair = self._esp.outbound_for(self._home_agent, home_address, PROTOCOL_MOBILITY, message_type << 8)
        return partial(self._protect, pair, home_address, care_of_address, now)

    def _protect(
        self,
        pair: InstalledPair,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        now: float,
        header: bytes,
    ) -> bytes:
        wire_ends = (self._home_agent, care_of_address)
        protocol, protected = self._esp.seal(pair, PROTOCOL_MOBILITY, header, now, wire_ends)
        if int(care_of_address) == int(home_address):  # as numbers, because IPv6Address compares in Python
            # The node is at home: no routing header (RFC 6275 section 9.5.4).
            return build_ipv6(self._home_agent, home_address, protocol, protected)
        return build_to_mobile_node(self._home_agent, care_of_address, home_address, protocol, protected)

    def open(self, packet: bytes, home_address: IPv6Address, now: float) -> tuple[bytes, SecurityAssociation]:
        """See :meth:`ProtectedSignalling.open`."""
        opened = self._esp.unprotect(home_address, self._home_agent, packet, now)
        if opened.protocol != PROTOCOL_MOBILITY:
            raise WireError("unexpected-protocol", f"protocol {opened.protocol} in ESP")
        return opened.payload, opened.security_association


class KernelSignalling(ProtectedSignalling):
    """ESP is done by the kernel: Mobility Headers come and go."""

    def __init__(
        self,
        home_agent: IPv6Address,
        ipsec: KernelIpsecBackend,
        installed: Callable[[SecurityAssociation, SecurityAssociation], None] | None = None,
        limits: UsageLimits = DEFAULT_USAGE_LIMITS,
    ) -> None:
        """See :class:`ProtectedSignalling`."""
        super().__init__(home_agent, ipsec, installed, limits)
        self._kernel = ipsec

    def protection_for(
        self, message_type: int, home_address: IPv6Address, care_of_address: IPv6Address, now: float
    ) -> Protection:
        """The kernel's, because an association says so; see :meth:`ProtectedSignalling.protection_for`."""
        self._kernel.outbound_for(home_address, PROTOCOL_MOBILITY, message_type << 8)
        return partial(MessageToNode, home_address, care_of_address)

    def open(self, packet: bytes, home_address: IPv6Address, now: float) -> tuple[bytes, SecurityAssociation]:
        """Refuses: whatever the kernel has not opened is of no association of ours."""
        raise EspError("unknown-spi", "the kernel opens ESP")
