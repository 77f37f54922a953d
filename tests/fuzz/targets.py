"""What is fuzzed: functions that take any bytes and must neither raise nor pile anything up, and where to begin.

A parser gives a value or its typed error; whatever else it raises is a finding. What comes out of a parser must be
encodable or refused by a typed error, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address

from control.eap.packet import EapError, EapPacket
from control.ikev2.message import encode_message, parse_message, split_encrypted
from control.ikev2.numbers import ExchangeType
from control.ikev2.payload_chain import encode_payload_chain, parse_payloads
from control.ipsec.algorithms import AES_128_CBC_SHA256, AES_128_GCM, NULL_SHA256, CipherSuite
from control.ipsec.errors import EspError
from control.ipsec.esp import EspInbound, EspOutbound
from control.ipsec.esp_cipher import esp_cipher
from control.ipsec.security_association import SecurityAssociation
from control.mobility.extension_headers import build_from_mobile_node, parse_ipv6
from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.messages import BindingRefreshRequest, BindingUpdate, HomeAgentSwitch
from control.mobility.numbers import MOBILITY_HEADER_PROTOCOL
from control.wire import WireError, internet_checksum, ipv6_pseudo_header
from tests.control.ipsec.associations import association_between
from tests.fuzz.ike_pair import AGENT, NODE, IkePair, conversation, opened_chains, sealed

_SOURCE, _DESTINATION = IPv6Address("2001:db8:100::11"), IPv6Address("2001:db8:a1::1")
_SPI = bytes.fromhex("00001234")
_SUITES = (AES_128_GCM, AES_128_CBC_SHA256, NULL_SHA256)
_EXCHANGES = tuple(ExchangeType)


@dataclass(frozen=True, slots=True)
class Target:
    """One function to be fuzzed.

    Attributes:
        run: takes any bytes.
        seeds: makes inputs that get far.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


def ike_message(data: bytes) -> None:
    """A datagram: in the clear, or up to where decryption begins."""
    with suppress(WireError):
        encode_message(parse_message(data))
    with suppress(WireError):
        split_encrypted(data)


def ike_payloads(data: bytes) -> None:
    """The type of the first payload, and a chain of payloads."""
    with suppress(WireError):
        encode_payload_chain(parse_payloads(data[0] if data else 0, data[1:]))


def ike_datagrams(data: bytes) -> None:
    """Datagrams in the way of an honest handshake: which side, after how many steps, and the datagram."""
    if len(data) < 2:
        return
    pair = IkePair()
    for _ in range(data[0] % 6):
        pair.step()
    pair.receive(NODE if data[1] & 1 else AGENT, data[2:])
    pair.check()


def ike_authentic(data: bytes) -> None:
    """Authentic messages with any contents: sender, request or answer, steps before, exchange, first payload type."""
    if len(data) < 4:
        return
    pair = IkePair()
    for _ in range(2 + data[0] % 4):
        pair.step()
    sender, receiver = (NODE, AGENT) if data[1] & 1 else (AGENT, NODE)
    is_response = bool(data[1] & 2)
    exchange = _EXCHANGES[data[2] % len(_EXCHANGES)]
    for sa in pair.sas(sender):
        if sa.cipher is not None:
            if is_response and pair.sas(receiver):
                other = pair.sas(receiver)[0]
                if other.is_established:
                    other.probe_liveness(pair.now)
            pair.receive(receiver, sealed(sa, exchange, is_response, data[3], data[4:]))
    pair.check()


def _association(suite: CipherSuite) -> SecurityAssociation:
    return association_between(int.from_bytes(_SPI, "big"), _SOURCE, _DESTINATION, suite, protocol=0)


def esp(data: bytes) -> None:
    """A whole ESP packet, and the same bytes as the plaintext of an authentic one."""
    for suite in _SUITES:
        association = _association(suite)
        inbound = EspInbound(association)
        for packet in (data, _SPI + data):
            with suppress(EspError):
                inbound.unprotect(packet)
        cipher = esp_cipher(suite)
        header = _SPI + (7).to_bytes(4, "big")
        plaintext = data[: len(data) // cipher.alignment * cipher.alignment]
        with suppress(EspError):
            inbound.unprotect(header + cipher.seal(association, header, 7, plaintext, bytes))


def mobility(data: bytes) -> None:
    """A Mobility Header with its checksum and length put right, and as it is."""
    right = bytearray(data[:2040] + bytes(-len(data[:2040]) % 8))
    if len(right) >= 8:
        right[1] = len(right) // 8 - 1
        right[4:6] = bytes(2)
        pseudo_header = ipv6_pseudo_header(_SOURCE, _DESTINATION, len(right), MOBILITY_HEADER_PROTOCOL)
        right[4:6] = internet_checksum(pseudo_header + right).to_bytes(2, "big")
    for candidate in (data, bytes(right)):
        with suppress(WireError):
            build_mobility_message(parse_mobility_message(candidate, _SOURCE, _DESTINATION), _SOURCE, _DESTINATION)


def ipv6_packet(data: bytes) -> None:
    """An IPv6 packet with extension headers."""
    with suppress(WireError):
        parse_ipv6(data)


def eap_packet(data: bytes) -> None:
    """An EAP packet."""
    with suppress(EapError):
        EapPacket.from_wire(data)


def _authentic_seeds() -> Iterable[bytes]:
    for _, first_type, chain in opened_chains():
        for flags in (0, 1, 2, 3):
            for exchange in (1, 2, 3):
                yield bytes((3, flags, exchange, first_type)) + chain
        yield bytes((0, 1, 1, first_type)) + chain


def _mobility_seeds() -> Iterable[bytes]:
    for message in (
        BindingUpdate(7, 60),
        BindingRefreshRequest(),
        HomeAgentSwitch((_DESTINATION,), bootstrap=True),
    ):
        yield build_mobility_message(message, _SOURCE, _DESTINATION)


def _packet_seeds() -> Iterable[bytes]:
    return [build_from_mobile_node(_SOURCE, _DESTINATION, _SOURCE, 135, seed) for seed in _mobility_seeds()]


def _esp_seeds() -> Iterable[bytes]:
    for suite in _SUITES:
        association = _association(suite)
        yield EspOutbound(association, bytes).protect(b"upper layer", 135)
    yield b"upper layer\x01\x02\x03\x04\x05\x03\x87"


TARGETS: dict[str, Target] = {
    "ike-message": Target(ike_message, conversation),
    "ike-payloads": Target(ike_payloads, lambda: [bytes((kind,)) + chain for _, kind, chain in opened_chains()]),
    "ike-datagrams": Target(
        ike_datagrams, lambda: [bytes((step % 6, step)) + data for step, data in enumerate(conversation())]
    ),
    "ike-authentic": Target(ike_authentic, _authentic_seeds),
    "esp": Target(esp, _esp_seeds),
    "mobility": Target(mobility, _mobility_seeds),
    "ipv6-packet": Target(ipv6_packet, _packet_seeds),
    "eap-packet": Target(eap_packet, lambda: [b"\x01\x07\x00\x0a\x01hello", b"\x02\x07\x00\x16\x04\x10" + bytes(16)]),
}
"""All targets by the names that ``make fuzz`` takes."""
