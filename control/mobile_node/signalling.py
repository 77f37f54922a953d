"""Mobility Header messages to and from home agents, protected by ESP (RFC 6275 section 5.1, RFC 4877)."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.ipsec.security_association import SecurityAssociation
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY
from control.ipsec.userspace import UserspaceIpsec
from control.mobility.extension_headers import build_from_mobile_node
from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.messages import MobilityMessage
from control.wire import WireError

PROTOCOL_ESP = 50


class MobileSignalling:
    """Protects what goes to a home agent and opens what comes from one.

    The security associations name the home address; on the wire the care-of address stands in its place and the
    home address travels in a Home Address option or a type 2 routing header (RFC 6275 sections 6.3 and 6.4).

    Attributes:
        care_of_address: where the node is; its owner keeps it up to date.
    """

    def __init__(self, care_of_address: IPv6Address, ipsec: UserspaceIpsec) -> None:
        self.care_of_address = care_of_address
        self._ipsec = ipsec

    def protect(
        self, message: MobilityMessage, home_address: IPv6Address, home_agent: IPv6Address, now: float
    ) -> bytes:
        """A whole IPv6 packet that carries ``message`` to a home agent.

        Raises:
            NoSecurityAssociation: none with this home agent covers the message.
            EspError: the association's sequence numbers are used up.
        """
        pair = self._ipsec.outbound_for(home_address, home_agent, PROTOCOL_MOBILITY, message.message_type << 8)
        header = build_mobility_message(message, home_address, home_agent)
        wire_ends = (self.care_of_address, home_agent)
        protocol, protected = self._ipsec.seal(pair, PROTOCOL_MOBILITY, header, now, wire_ends)
        return build_from_mobile_node(self.care_of_address, home_agent, home_address, protocol, protected)

    def open(
        self, packet: bytes, home_agent: IPv6Address, home_address: IPv6Address, now: float
    ) -> tuple[MobilityMessage, SecurityAssociation]:
        """Check and decrypt an ESP packet of a home agent.

        Raises:
            EspError: not one of ours, a replay, altered, or not what its security association is for.
            WireError: properly protected, but not a well-formed Mobility Header.
        """
        opened = self._ipsec.unprotect(home_agent, home_address, packet, now)
        if opened.protocol != PROTOCOL_MOBILITY:
            raise WireError("unexpected-protocol", f"protocol {opened.protocol} in ESP")
        message = parse_mobility_message(opened.payload, home_agent, home_address)
        return message, opened.security_association
