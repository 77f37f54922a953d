"""The userspace back end: ESP transport mode in Python, for whatever carries ESP packets (raw sockets, tests)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv6Address

from control.ipsec.errors import EspError, IpsecBackendError, NoSecurityAssociation
from control.ipsec.esp import PROTOCOL_ESP, EspInbound, EspOutbound, read_spi
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.spi_sequence import SpiSequence
from control.ipsec.traffic_selector import packet_ports
from control.ipsec.udp_encapsulation import PROTOCOL_UDP, UdpEncapsulation, wrap_in_udp
from control.ipsec.usage_limits import UsageExpiry
from control.records import dataclass


@dataclass(frozen=True, slots=True)
class Unprotected:
    """A packet that arrived under ESP and was found genuine.

    Attributes:
        protocol: of the upper layer.
        payload: the upper-layer packet.
        security_association: the inbound one it came under; it says who sent the packet.
    """

    protocol: int
    payload: bytes
    security_association: SecurityAssociation


@dataclass(slots=True)
class _Pair:
    inbound: EspInbound
    outbound: EspOutbound
    outbound_waits: bool
    told: frozenset[bool] = frozenset()


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
        self._pairs: dict[int, _Pair] = {}
        # By source and destination as numbers: to hash an IPv6Address takes three times as long.
        self._outbound: dict[tuple[int, int], list[_Pair]] = {}
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
        if inbound.spi in self._pairs:
            raise IpsecBackendError("spi-in-use", f"{inbound.spi:#010x}")
        pair = _Pair(EspInbound(inbound), EspOutbound(outbound, self._random), outbound_waits)
        self._pairs[inbound.spi] = pair
        self._outbound.setdefault((int(outbound.source), int(outbound.destination)), []).append(pair)

    def remove(self, inbound_spi: int) -> None:
        """See :meth:`control.ipsec.backend.IpsecBackend.remove`."""
        pair = self._pairs.pop(inbound_spi, None)
        if pair is None:
            return
        outbound = pair.outbound.security_association
        addresses = (int(outbound.source), int(outbound.destination))
        self._outbound[addresses].remove(pair)
        if not self._outbound[addresses]:
            del self._outbound[addresses]

    def reroute(self, inbound_spi: int, encapsulation: UdpEncapsulation) -> None:
        """See :meth:`control.ipsec.backend.IpsecBackend.reroute`."""
        pair = self._pairs.get(inbound_spi)
        if pair is not None:
            for esp in (pair.inbound, pair.outbound):
                esp.security_association = replace(esp.security_association, encapsulation=encapsulation)

    def usage_expiries(self) -> Sequence[UsageExpiry]:
        """See :meth:`control.ipsec.backend.IpsecBackend.usage_expiries`."""
        if not self._expiries:
            return ()
        expiries, self._expiries = self._expiries, []
        return expiries

    def list(self) -> tuple[tuple[SecurityAssociation, SecurityAssociation], ...]:
        """See :meth:`control.ipsec.backend.IpsecBackend.list`."""
        return tuple(
            (pair.inbound.security_association, pair.outbound.security_association) for pair in self._pairs.values()
        )

    def protect(
        self, source: IPv6Address, destination: IPv6Address, protocol: int, payload: bytes, port: int, now: float
    ) -> bytes:
        """The ESP packet that carries an upper-layer packet, under the newest association that covers it.

        Args:
            source: logical source address.
            destination: logical destination address.
            protocol: of the upper layer.
            payload: the upper-layer packet.
            port: its source port; for Mobility Header and ICMPv6 the message type in the high byte.
            now: monotonic seconds.

        Raises:
            NoSecurityAssociation: nothing covers it; it must not be sent in the clear.
            EspError: ``sequence-exhausted`` or ``usage-exceeded``.
        """
        return self._protect(source, destination, protocol, payload, port, now)[0]

    def protect_for_transit(
        self,
        ends: tuple[IPv6Address, IPv6Address],
        protocol: int,
        payload: bytes,
        port: int,
        now: float,
        wire_ends: tuple[IPv6Address, IPv6Address],
    ) -> tuple[int, bytes]:
        """What follows the IPv6 headers on the wire, UDP included where there is a NAT, and its protocol number.

        Args:
            ends: logical source and destination address.
            protocol: see :meth:`protect`.
            payload: see :meth:`protect`.
            port: see :meth:`protect`.
            now: monotonic seconds.
            wire_ends: source and destination address in the IPv6 header as the packet leaves.

        Raises:
            EspError: see :meth:`protect`.
        """
        packet, encapsulation = self._protect(*ends, protocol, payload, port, now)
        if encapsulation is None:
            return PROTOCOL_ESP, packet
        source, destination = wire_ends
        return PROTOCOL_UDP, wrap_in_udp(
            packet, source, encapsulation.local_port, destination, encapsulation.remote_port
        )

    def _protect(
        self, source: IPv6Address, destination: IPv6Address, protocol: int, payload: bytes, port: int, now: float
    ) -> tuple[bytes, UdpEncapsulation | None]:
        destination_port = packet_ports(protocol, payload)[1]
        chosen: _Pair | None = None
        for pair in reversed(self._outbound.get((int(source), int(destination)), ())):
            if not (chosen and pair.outbound_waits) and pair.outbound.security_association.covers(
                protocol, port, destination_port
            ):
                chosen = pair
                if not pair.outbound_waits:
                    break
        if chosen is None:
            self.statistics["no-security-association"] += 1
            raise NoSecurityAssociation(f"{source} to {destination}, protocol {protocol}, port {port:#06x}")
        esp = chosen.outbound
        usage = esp.security_association.usage
        try:
            self._check_usage(chosen, esp.security_association, esp.sequence_number)
            packet = esp.protect(payload, protocol)
        except EspError as error:
            usage.errors += 1
            self.statistics[error.reason] += 1
            raise
        usage.packets += 1
        usage.bytes += len(payload)
        usage.last_used_at = now
        self._note_usage(chosen, esp.security_association, esp.sequence_number)
        self.statistics["protected"] += 1
        return packet, esp.security_association.encapsulation

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
        security_association = pair.inbound.security_association
        usage = security_association.usage
        try:
            self._check_usage(pair, security_association)
            protocol, payload = pair.inbound.unprotect(packet)
            _check_selectors(security_association, source, destination, protocol, payload)
        except EspError as error:
            usage.errors += 1
            self.statistics[error.reason] += 1
            raise
        usage.packets += 1
        usage.bytes += len(payload)
        usage.last_used_at = now
        pair.outbound_waits = False
        self._note_usage(pair, security_association)
        self.statistics["unprotected"] += 1
        return Unprotected(protocol, payload, security_association)

    def _check_usage(self, pair: _Pair, association: SecurityAssociation, sequence_number: int = 0) -> None:
        """Refuse what goes beyond a hard limit.

        Raises:
            EspError: ``usage-exceeded``.
        """
        limits, usage = association.limits, association.usage
        if limits is not None and limits.hard_reached(max(usage.packets, sequence_number), usage.bytes):
            self._expire(pair, hard=True)
            raise EspError("usage-exceeded", f"SPI {association.spi:#010x}")

    def _note_usage(self, pair: _Pair, association: SecurityAssociation, sequence_number: int = 0) -> None:
        limits, usage = association.limits, association.usage
        if limits is not None and limits.soft_reached(max(usage.packets, sequence_number), usage.bytes):
            self._expire(pair, hard=False)

    def _expire(self, pair: _Pair, *, hard: bool) -> None:
        if hard not in pair.told:
            pair.told |= {hard}
            self._expiries.append(UsageExpiry(pair.inbound.security_association.spi, hard))


def _check_selectors(
    security_association: SecurityAssociation,
    source: IPv6Address,
    destination: IPv6Address,
    protocol: int,
    payload: bytes,
) -> None:
    """Hold the opened packet against the selectors of the association it came under (RFC 4301 section 5.2 step 4)."""
    addresses_match = (source, destination) == (security_association.source, security_association.destination)
    if not addresses_match or not security_association.covers(protocol, *packet_ports(protocol, payload)):
        raise EspError("selector-mismatch", f"{source} to {destination}, protocol {protocol}")
