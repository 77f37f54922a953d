from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.mobility.addresses import is_unicast, is_unicast_routable
from control.mobility.extension_headers import (
    build_from_mobile_node,
    build_ipv6,
    build_to_mobile_node,
    encapsulate,
    parse_ipv6,
    parse_swapped_destination_options,
)
from control.wire import WireError

HOME_AGENT = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::7")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::7")

addresses = st.integers(0, (1 << 128) - 1).map(IPv6Address)
home_addresses = st.integers(1 << 112, (1 << 128) - 1).map(IPv6Address).filter(is_unicast_routable)
upper_protocols = st.sampled_from((6, 17, 41, 50, 51, 58, 59, 135, 255))
payloads = st.binary(max_size=100)


def destination_options(*content: int, address: IPv6Address | None = None) -> bytes:
    body = bytes(content) + (address.packed if address else b"")
    return bytes((59, (len(body) + 2) // 8 - 1)) + body


def routing_header(routing_type: int, segments_left: int, *found: IPv6Address) -> bytes:
    return bytes((59, 2 * len(found), routing_type, segments_left, 0, 0, 0, 0)) + b"".join(a.packed for a in found)


def packet(next_header: int, payload: bytes) -> bytes:
    return build_ipv6(CARE_OF_ADDRESS, HOME_AGENT, next_header, payload)


def reason_of(data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        parse_ipv6(data)
    return caught.value.reason


@given(addresses, addresses, home_addresses, upper_protocols, payloads)
def test_from_a_mobile_node(
    care_of: IPv6Address, agent: IPv6Address, home: IPv6Address, protocol: int, payload: bytes
) -> None:
    parsed = parse_ipv6(build_from_mobile_node(care_of, agent, home, protocol, payload))
    assert (parsed.source, parsed.destination, parsed.home_address_option) == (care_of, agent, home)
    assert (parsed.logical_source, parsed.logical_destination) == (home, agent)
    assert (parsed.next_header, parsed.payload, parsed.routing_header_2) == (protocol, payload, None)


@given(addresses, addresses, home_addresses, upper_protocols, payloads)
def test_to_a_mobile_node(
    care_of: IPv6Address, agent: IPv6Address, home: IPv6Address, protocol: int, payload: bytes
) -> None:
    parsed = parse_ipv6(build_to_mobile_node(agent, care_of, home, protocol, payload))
    assert (parsed.source, parsed.destination, parsed.routing_header_2) == (agent, care_of, home)
    assert (parsed.logical_source, parsed.logical_destination) == (agent, home)
    assert (parsed.next_header, parsed.payload, parsed.home_address_option) == (protocol, payload, None)


@given(addresses, addresses, payloads, st.integers(0, 255), st.integers(0, 255), st.integers(0, (1 << 20) - 1))
def test_the_fields_of_the_ipv6_header(
    source: IPv6Address, destination: IPv6Address, payload: bytes, hops: int, traffic_class: int, flow: int
) -> None:
    parsed = parse_ipv6(build_ipv6(source, destination, 17, payload, hops, traffic_class, flow))
    assert (parsed.source, parsed.destination, parsed.payload) == (source, destination, payload)
    assert (parsed.hop_limit, parsed.traffic_class, parsed.flow_label) == (hops, traffic_class, flow)


@given(addresses, addresses, addresses, addresses, payloads, st.integers(0, 255))
def test_encapsulation(
    outer: IPv6Address, far: IPv6Address, source: IPv6Address, destination: IPv6Address, payload: bytes, dscp: int
) -> None:
    inner = build_ipv6(source, destination, 17, payload, traffic_class=dscp)
    parsed = parse_ipv6(encapsulate(outer, far, inner))
    assert (parsed.source, parsed.destination, parsed.next_header, parsed.payload) == (outer, far, 41, inner)
    assert parsed.traffic_class == dscp


WHOLE = build_from_mobile_node(CARE_OF_ADDRESS, HOME_AGENT, HOME_ADDRESS, 135, b"12345678")


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_every_shortened_packet_is_truncated(size: int) -> None:
    assert reason_of(WHOLE[:size]) == "truncated"


@given(st.data())
def test_changed_packets_parse_or_raise_wire_error(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from((WHOLE, packet(43, routing_header(2, 1, HOME_ADDRESS)), packet(44, bytes(8)))))
    changed = bytearray(base)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_ipv6(bytes(changed))
    except WireError:
        return


@given(st.binary(max_size=200))
def test_random_bytes_raise_only_wire_error(data: bytes) -> None:
    for parse in (parse_ipv6, parse_swapped_destination_options):
        try:
            parse(data)
        except WireError:
            continue


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"\x45" + bytes(39), "bad-version", id="ipv4"),
        pytest.param(packet(44, bytes((17, 0, 0, 1)) + bytes(4)), "fragment", id="first-fragment"),
        pytest.param(packet(44, bytes((17, 0, 0, 8)) + bytes(4)), "fragment", id="last-fragment"),
        pytest.param(packet(43, routing_header(0, 1, HOME_ADDRESS)), "bad-routing-header", id="type-0"),
        pytest.param(packet(43, routing_header(2, 0, HOME_ADDRESS)), "bad-routing-header", id="no-segment-left"),
        pytest.param(packet(43, routing_header(2, 2, HOME_ADDRESS)), "bad-routing-header", id="two-segments-left"),
        pytest.param(packet(43, routing_header(2, 1)), "bad-routing-header", id="no-address"),
        pytest.param(
            packet(43, routing_header(2, 1, HOME_ADDRESS, HOME_ADDRESS)), "bad-routing-header", id="two-addresses"
        ),
        pytest.param(
            packet(43, b"\x2b" + routing_header(2, 1, HOME_ADDRESS)[1:] + routing_header(2, 1, HOME_ADDRESS)),
            "bad-routing-header",
            id="two-routing-headers",
        ),
        pytest.param(packet(43, routing_header(2, 1, IPv6Address("ff02::1"))), "bad-routing-header", id="to-multicast"),
        pytest.param(
            packet(60, destination_options(1, 2, 0, 0, 0xC9, 16, address=IPv6Address("fe80::1"))),
            "bad-home-address-option",
            id="link-local-home-address",
        ),
        pytest.param(
            packet(60, destination_options(0xC9, 4, 0, 0, 0, 0)), "bad-home-address-option", id="short-home-address"
        ),
        pytest.param(
            packet(60, b"\x3c" + WHOLE[41:64] + destination_options(1, 2, 0, 0, 0xC9, 16, address=HOME_ADDRESS)),
            "bad-home-address-option",
            id="two-home-addresses",
        ),
        pytest.param(packet(60, destination_options(0x8A, 4, 0, 0, 0, 0)), "unknown-destination-option", id="unknown"),
        pytest.param(packet(60, destination_options(0x0A, 5, 0, 0, 0, 0)), "truncated", id="option-past-the-header"),
        pytest.param(packet(60, destination_options(0, 0, 0, 0, 0, 0x0A)), "truncated", id="half-an-option"),
        pytest.param(packet(60, bytes((60, 0, 0, 0, 0, 0, 0, 0)) * 9), "too-many-extension-headers", id="nine-headers"),
    ],
)
def test_malformed_packets(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


@pytest.mark.parametrize(
    ("next_header", "payload"),
    [
        pytest.param(43, routing_header(0, 0, HOME_ADDRESS), id="finished-routing-header"),
        pytest.param(60, destination_options(0x1E, 4, 0, 0, 0, 0), id="option-to-be-skipped"),
        pytest.param(44, bytes((59, 0xFF, 0, 6, 1, 2, 3, 4)), id="atomic-fragment"),
    ],
)
def test_headers_that_are_passed_over(next_header: int, payload: bytes) -> None:
    parsed = parse_ipv6(packet(next_header, payload + b"rest"))
    assert (parsed.next_header, parsed.payload) == (59, b"rest")
    assert (parsed.home_address_option, parsed.routing_header_2) == (None, None)


@pytest.mark.parametrize("option", [0x1E, 0xC9])
def test_the_care_of_address_behind_a_swapped_option(option: int) -> None:
    header = destination_options(1, 2, 0, 0, option, 16, address=CARE_OF_ADDRESS)
    assert parse_swapped_destination_options(header) == CARE_OF_ADDRESS


def test_destination_options_without_a_care_of_address() -> None:
    assert parse_swapped_destination_options(destination_options(0, 1, 3, 0, 0, 0)) is None


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        pytest.param(b"", "truncated", id="empty"),
        pytest.param(destination_options(0x1E, 4, 0, 0, 0, 0), "bad-home-address-option", id="short-address"),
        pytest.param(destination_options(0x1E, 16, 0, 0, 0, 0), "truncated", id="past-the-header"),
    ],
)
def test_malformed_swapped_options(header: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        parse_swapped_destination_options(header)
    assert caught.value.reason == reason


def test_only_ipv6_is_encapsulated() -> None:
    with pytest.raises(WireError, match="bad-version"):
        encapsulate(CARE_OF_ADDRESS, HOME_AGENT, b"\x45" + bytes(30))


@pytest.mark.parametrize(("traffic_class", "flow_label"), [(256, 0), (0, 1 << 20), (-1, 0), (0, -1)])
def test_header_fields_that_do_not_fit(traffic_class: int, flow_label: int) -> None:
    with pytest.raises(WireError, match="field-overflow"):
        build_ipv6(CARE_OF_ADDRESS, HOME_AGENT, 59, b"", 64, traffic_class, flow_label)


def test_a_payload_that_does_not_fit() -> None:
    with pytest.raises(WireError, match="field-overflow"):
        build_ipv6(CARE_OF_ADDRESS, HOME_AGENT, 59, bytes(65_536))


@pytest.mark.parametrize(
    ("address", "unicast", "routable"),
    [
        ("2001:db8::1", True, True),
        ("fd00::1", True, True),
        ("::", False, False),
        ("::1", True, False),
        ("::192.0.2.1", True, False),
        ("::ffff:192.0.2.1", True, False),
        ("0:c000:201:105f:0:ffff:c000:207", True, False),
        ("fe80::1", True, False),
        ("febf::1", True, False),
        ("fec0::1", True, True),
        ("ff02::1", False, False),
        ("ffff::", False, False),
    ],
)
def test_kinds_of_addresses(address: str, unicast: bool, routable: bool) -> None:
    assert is_unicast(IPv6Address(address)) is unicast
    assert is_unicast_routable(IPv6Address(address)) is routable
