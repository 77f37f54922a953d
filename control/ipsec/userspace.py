"""The userspace back end: ESP transport mode in Python, for whatever carries ESP packets (raw sockets, tests)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address

from msgspec.structs import replace

from control.ipsec.errors import EspError, IpsecBackendError, NoSecurityAssociation
from control.ipsec.esp import PROTOCOL_ESP, EspInbound, EspOutbound, read_spi
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.spi_sequence import SpiSequence
from control.ipsec.traffic_selector import packet_ports
from control.ipsec.udp_encapsulation import PROTOCOL_UDP, UdpEncapsulation, wrap_in_udp
from control.ipsec.usage_limits import UsageExpiry
from control.records import MutableRecord, Record


class Unprotected(Record, frozen=True):
    """A packet that arrived under ESP and was found genuine.

    Attributes:
        protocol: of the upper layer.
        payload: the upper-layer packet.
        security_association: the inbound one it came under; it says who sent the packet.
    """

    protocol: int
    payload: bytes
    security_association: SecurityAssociation


class InstalledPair(MutableRecord):
    """Two security associations at work.

    Attributes:
        inbound: from the peer.
        outbound: to the peer.
        outbound_waits: the outbound one is not taken if there is another; see ``IpsecBackend.install``.
        told: the limits whose being reached was told, by whether they are hard.
        opening: made with the first packet that arrives, as many associations never carry one.
        sealing: made with the first packet that leaves.
    """

    inbound: SecurityAssociation
    outbound: SecurityAssociation
    outbound_waits: bool
    told: frozenset[bool] = frozenset()
    opening: EspInbound | None = None
    sealing: EspOutbound | None = None


class UserspaceIpsec:
    """An :class:`control.ipsec.backend.IpsecBackend` that protects and opens packets itself.

    Attributes:
        statistics: ``protected`` and ``unprotected`` packets, and refused ones by the reason of their EspError.
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        """Start empty.

        Args:
            random: gives that many unpredictable bytes.
        """
        self.statistics: Counter[str] = Counter()
        self._random = random
        self._pairs: dict[int, InstalledPair] = {}
        # By source and destination as numbers: to hash an IPv6Address takes three times as long.
        self._outbound: dict[tuple[int, int], list[InstalledPair]] = {}
        self._spis = SpiSequence(random)
        self._expiries: list[UsageExpiry] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def allocate_spi(self) -> int:
        """See :meth:`control.ipsec.backend.IpsecBackend.allocate_spi`."""
        return self._spis.next(self._pairs)

    def install(
        self, inbound: SecurityAssociation, outbound: SecurityAssociation, *, outbound_waits: bool = False
    ) -> None:
        """See :meth:`control.ipsec.backend.IpsecBackend.install`."""
        spi = inbound.spi
        if spi in self._pairs:
            raise IpsecBackendError("spi-in-use", f"{spi:#010x}")
        pair = self._pairs[spi] = InstalledPair(inbound, outbound, outbound_waits)
        self._outbound.setdefault((int(outbound.source), int(outbound.destination)), []).append(pair)

    def remove(self, inbound_spi: int) -> None:
        """See :meth:`control.ipsec.backend.IpsecBackend.remove`."""
        pair = self._pairs.pop(inbound_spi, None)
        if pair is None:
            return
        outbound = pair.outbound
        addresses = (int(outbound.source), int(outbound.destination))
        self._outbound[addresses].remove(pair)
        if not self._outbound[addresses]:
            del self._outbound[addresses]

    def reroute(self, inbound_spi: int, encapsulation: UdpEncapsulation) -> None:
        """See :meth:`control.ipsec.backend.IpsecBackend.reroute`."""
        pair = self._pairs.get(inbound_spi)
        if pair is not None:
            pair.inbound = replace(pair.inbound, encapsulation=encapsulation)
            pair.outbound = replace(pair.outbound, encapsulation=encapsulation)

    def usage_expiries(self) -> Sequence[UsageExpiry]:
        """See :meth:`control.ipsec.backend.IpsecBackend.usage_expiries`."""
        if not self._expiries:
            return ()
        expiries, self._expiries = self._expiries, []
        return expiries

    def list(self) -> tuple[tuple[SecurityAssociation, SecurityAssociation], ...]:
        """See :meth:`control.ipsec.backend.IpsecBackend.list`."""
        return tuple((pair.inbound, pair.outbound) for pair in self._pairs.values())

    def outbound_for(
        self,
        source: IPv6Address,
        destination: IPv6Address,
        protocol: int,
        source_port: int | None,
        destination_port: int | None = None,
    ) -> InstalledPair:
        """The newest pair whose outbound association covers such a packet.

        Args:
            source: logical source address.
            destination: logical destination address.
            protocol: of the upper layer.
            source_port: for Mobility Header and ICMPv6 the message type in the high byte.
            destination_port: where the protocol has one.

        Raises:
            NoSecurityAssociation: nothing covers it; it must not be sent in the clear.
        """
        chosen: InstalledPair | None = None
        for pair in reversed(self._outbound.get((int(source), int(destination)), ())):
            if not (chosen and pair.outbound_waits) and pair.outbound.covers(protocol, source_port, destination_port):
                chosen = pair
                if not pair.outbound_waits:
                    return pair
        if chosen is None:
            self.statistics["no-security-association"] += 1
            raise NoSecurityAssociation(f"{source} to {destination}, protocol {protocol}, port {source_port}")
        return chosen

    def seal(
        self, pair: InstalledPair, protocol: int, payload: bytes, now: float, wire_ends: tuple[IPv6Address, IPv6Address]
    ) -> tuple[int, bytes]:
        """What follows the IPv6 headers on the wire, with its protocol number: ESP, in UDP where there is a NAT.

        Args:
            pair: of :meth:`outbound_for`.
            protocol: of the upper layer.
            payload: the upper-layer packet.
            now: monotonic seconds.
            wire_ends: source and destination address in the IPv6 header as the packet leaves.

        Raises:
            EspError: ``sequence-exhausted`` or ``usage-exceeded``.
        """
        association = pair.outbound
        try:
            self._account(pair, association, len(payload), now)
            sealing = pair.sealing
            if sealing is None:
                sealing = pair.sealing = EspOutbound(association, self._random)
            packet = sealing.protect(payload, protocol)
        except EspError as error:
            association.usage.errors += 1
            self.statistics[error.reason] += 1
            raise
        self.statistics["protected"] += 1
        encapsulation = association.encapsulation
        if encapsulation is None:
            return PROTOCOL_ESP, packet
        source, destination = wire_ends
        return PROTOCOL_UDP, wrap_in_udp(
            packet, source, encapsulation.local_port, destination, encapsulation.remote_port
        )

    def protect(
        self, source: IPv6Address, destination: IPv6Address, protocol: int, payload: bytes, now: float
    ) -> bytes:
        """What follows the IPv6 header of an upper-layer packet between two logical addresses.

        Raises:
            EspError: see :meth:`outbound_for` and :meth:`seal`.
        """
        pair = self.outbound_for(source, destination, protocol, *packet_ports(protocol, payload))
        return self.seal(pair, protocol, payload, now, (source, destination))[1]

    def unprotect(self, source: IPv6Address, destination: IPv6Address, packet: bytes, now: float) -> Unprotected:
        """What is inside an ESP packet, once it was found genuine, new and within the selectors of its association.

        Args:
            source: logical source address: the home address where a Home Address option named one.
            destination: logical destination address: the home address where a routing header named one.
            packet: the ESP packet, from the SPI on.
            now: monotonic seconds.

        Raises:
            EspError: it must be dropped.
        """
        try:
            pair = self._pairs.get(read_spi(packet))
            if pair is None:
                raise EspError("unknown-spi", f"{source} to {destination}")
        except EspError as error:
            self.statistics[error.reason] += 1
            raise
        association = pair.inbound
        try:
            opening = pair.opening
            if opening is None:
                opening = pair.opening = EspInbound(association)
            protocol, payload = opening.unprotect(packet)
            _check_selectors(association, source, destination, protocol, payload)
            self._account(pair, association, len(payload), now)
        except EspError as error:
            association.usage.errors += 1
            self.statistics[error.reason] += 1
            raise
        pair.outbound_waits = False
        self.statistics["unprotected"] += 1
        return Unprotected(protocol, payload, association)

    def _account(self, pair: InstalledPair, association: SecurityAssociation, size: int, now: float) -> None:
        """Count a packet of an association.

        Raises:
            EspError: ``usage-exceeded``: it has carried all that it may.
        """
        usage, limits = association.usage, association.limits
        packets, byte_count = usage.packets + 1, usage.bytes + size
        # The soft limit comes first, so that nearly every packet is looked at once.
        if limits is not None and limits.soft_reached(packets, byte_count):
            hard = limits.hard_reached(usage.packets, usage.bytes)
            self._expire(pair, hard=hard)
            if hard:
                raise EspError("usage-exceeded", f"SPI {association.spi:#010x}")
        usage.packets, usage.bytes, usage.last_used_at = packets, byte_count, now

    def _expire(self, pair: InstalledPair, *, hard: bool) -> None:
        if hard not in pair.told:
            pair.told |= {hard}
            self._expiries.append(UsageExpiry(pair.inbound.spi, hard))


def _check_selectors(
    security_association: SecurityAssociation,
    source: IPv6Address,
    destination: IPv6Address,
    protocol: int,
    payload: bytes,
) -> None:
    """Hold the opened packet against the selectors of the association it came under (RFC 4301 section 5.2 step 4)."""
    # Addresses as numbers, because IPv6Address compares in Python.
    if (
        int(source) != int(security_association.source)
        or int(destination) != int(security_association.destination)
        or not security_association.covers(protocol, *packet_ports(protocol, payload))
    ):
        raise EspError("selector-mismatch", f"{source} to {destination}, protocol {protocol}")
