"""Security associations as the kernel holds them (``xfrm_usersa_info``): ESP over IPv6."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address

from datapath.xfrm.attributes import attribute, attributes
from datapath.xfrm.errors import XfrmMalformed
from datapath.xfrm.numbers import (
    ENCAPSULATION_ESP_IN_UDP,
    FAMILY_INET6,
    NO_LIMIT,
    PROTOCOL_ESP,
    AttributeType,
    ExtraFlag,
    Mode,
)
from datapath.xfrm.selectors import Selector
from datapath.xfrm.structs import (
    ALGORITHM_WITH_CHECK,
    CIPHER,
    ENCAPSULATION,
    EXTRA_FLAGS,
    LIFETIME,
    LIFETIME_LIMITS,
    MARK_VALUE,
    REPLAY,
    SPI_RANGE,
    STATE,
    STATE_ID,
    STATE_KEY,
)


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """What a state may carry; at a soft limit the kernel says so, at a hard one it takes the state away."""

    soft_bytes: int = NO_LIMIT
    hard_bytes: int = NO_LIMIT
    soft_packets: int = NO_LIMIT
    hard_packets: int = NO_LIMIT

    def to_wire(self) -> bytes:
        """The structure ``xfrm_lifetime_cfg``; time is not limited."""
        numbers = (self.soft_bytes, self.hard_bytes, self.soft_packets, self.hard_packets)
        return LIFETIME_LIMITS.pack(*numbers, 0, 0, 0, 0)


NO_LIMITS = UsageLimits()


@dataclass(frozen=True, slots=True)
class Algorithm:
    """An algorithm by the name the kernel's crypto has for it, with its key.

    Attributes:
        check_bits: length of the integrity check value in bits, 0 for a cipher that has none.
    """

    name: str
    key: bytes = field(repr=False)
    check_bits: int = 0


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """ESP in UDP (RFC 3948); what arrives needs a socket of the port with the option ``UDP_ENCAP``.

    Attributes:
        source_port: of the packets of the state.
        destination_port: the same.
    """

    source_port: int
    destination_port: int

    def to_wire(self) -> bytes:
        """The structure. The kernel makes no use of an original address."""
        ports = self.source_port.to_bytes(2, "big"), self.destination_port.to_bytes(2, "big")
        return ENCAPSULATION.pack(ENCAPSULATION_ESP_IN_UDP, *ports, bytes(16))

    @classmethod
    def from_wire(cls, data: bytes) -> Encapsulation | None:
        """The ports, or None if it is another kind of encapsulation.

        Raises:
            XfrmMalformed: not of the right length.
        """
        if len(data) != ENCAPSULATION.size:
            raise XfrmMalformed(f"an encapsulation of {len(data)} bytes")
        kind, source_port, destination_port, _ = ENCAPSULATION.unpack(data)
        if kind != ENCAPSULATION_ESP_IN_UDP:
            return None
        return cls(int.from_bytes(source_port, "big"), int.from_bytes(destination_port, "big"))


@dataclass(frozen=True, slots=True)
class State:
    """One direction of an association, with either ``aead`` or both ``cipher`` and ``authentication``.

    Attributes:
        reqid: what policies refer to it by.
        replay_window: in packets; 0: replays are not looked for, and sequence numbers sent may cycle.
        mark: put on every packet it has opened (``SO_RCVMARK`` shows it), 0 for none.
        encapsulation: None for packets without UDP.
        limits: what it may carry.
        mode: in tunnel mode ``source`` and ``destination`` are the outer addresses, ``selector`` is of what is inside.
    """

    source: IPv6Address
    destination: IPv6Address
    spi: int
    reqid: int
    selector: Selector
    replay_window: int
    mark: int = 0
    aead: Algorithm | None = None
    cipher: Algorithm | None = None
    authentication: Algorithm | None = None
    encapsulation: Encapsulation | None = None
    limits: UsageLimits = NO_LIMITS
    mode: Mode = Mode.TRANSPORT

    def to_wire(self) -> bytes:
        """The body of ``XFRM_MSG_NEWSA`` and ``XFRM_MSG_UPDSA``."""
        identifier = STATE_ID.pack(self.destination.packed, self.spi.to_bytes(4, "big"), PROTOCOL_ESP)
        fixed = STATE.pack(
            self.selector.to_wire(),
            identifier,
            self.source.packed,
            self.limits.to_wire(),
            bytes(LIFETIME.size),
            *(0, 0, 0),
            *(0, self.reqid, FAMILY_INET6, self.mode, 0, 0),
        )
        return fixed + b"".join(self._attributes())

    def _attributes(self) -> list[bytes]:
        if self.replay_window:
            words = (self.replay_window + 31) // 32
            value = REPLAY.pack(words, 0, 0, 0, 0, self.replay_window) + bytes(4 * words)
            result = [attribute(AttributeType.REPLAY_ESN_VAL, value)]
        else:
            result = [attribute(AttributeType.SA_EXTRA_FLAGS, EXTRA_FLAGS.pack(ExtraFlag.OSEQ_MAY_WRAP))]
        if self.mark:
            result.append(attribute(AttributeType.SET_MARK, MARK_VALUE.pack(self.mark)))
        if self.encapsulation is not None:
            result.append(attribute(AttributeType.ENCAP, self.encapsulation.to_wire()))
        if self.aead is not None:
            result.append(attribute(AttributeType.ALG_AEAD, _with_check(self.aead)))
        if self.cipher is not None:
            fixed = CIPHER.pack(self.cipher.name.encode(), 8 * len(self.cipher.key))
            result.append(attribute(AttributeType.ALG_CRYPT, fixed + self.cipher.key))
        if self.authentication is not None:
            result.append(attribute(AttributeType.ALG_AUTH_TRUNC, _with_check(self.authentication)))
        return result


@dataclass(frozen=True, slots=True)
class StateReport:
    """What the kernel says about a state: which it is, and what went through it.

    Attributes:
        selector: None if it is not between two IPv6 hosts.
        mode: 0 is transport.
        errors: packets refused as replays or as not genuine.
        first_used_at: seconds since the epoch, 0 before the first packet.
    """

    source: IPv6Address
    destination: IPv6Address
    spi: int
    reqid: int
    selector: Selector | None
    mode: int
    mark: int
    bytes: int
    packets: int
    errors: int
    first_used_at: int
    encapsulation: Encapsulation | None = None


def spi_request(key: State, lowest: int, highest: int) -> bytes:
    """The body of ``XFRM_MSG_ALLOCSPI``: an SPI between two, both included, for a state with the ends of ``key``."""
    return SPI_RANGE.pack(key.to_wire()[: STATE.size], lowest, highest)


def state_key(destination: IPv6Address, spi: int) -> bytes:
    """The body of ``XFRM_MSG_DELSA``."""
    return STATE_KEY.pack(destination.packed, spi.to_bytes(4, "big"), FAMILY_INET6, PROTOCOL_ESP)


def parse_state(body: bytes) -> StateReport | None:
    """One state of a dump; None if it is not ESP over IPv6.

    Raises:
        XfrmMalformed: too short.
    """
    if len(body) < STATE.size:
        raise XfrmMalformed(f"a state of {len(body)} bytes")
    selector, identifier, source, _, lifetime, *rest = STATE.unpack_from(body)
    late, replays, forged, _, reqid, family, mode, _, _ = rest
    destination, spi, protocol = STATE_ID.unpack(identifier)
    if (family, protocol) != (FAMILY_INET6, PROTOCOL_ESP):
        return None
    byte_count, packets, _, used_at = LIFETIME.unpack(lifetime)
    found = dict(attributes(body[STATE.size :]))
    mark = found.get(AttributeType.SET_MARK, bytes(MARK_VALUE.size))
    encapsulation = found.get(AttributeType.ENCAP)
    return StateReport(
        source=IPv6Address(source),
        destination=IPv6Address(destination),
        spi=int.from_bytes(spi, "big"),
        reqid=reqid,
        selector=Selector.from_wire(selector),
        mode=mode,
        mark=MARK_VALUE.unpack(mark)[0],
        bytes=byte_count,
        packets=packets,
        errors=late + replays + forged,
        first_used_at=used_at,
        encapsulation=None if encapsulation is None else Encapsulation.from_wire(encapsulation),
    )


def _with_check(algorithm: Algorithm) -> bytes:
    return (
        ALGORITHM_WITH_CHECK.pack(algorithm.name.encode(), 8 * len(algorithm.key), algorithm.check_bits) + algorithm.key
    )
