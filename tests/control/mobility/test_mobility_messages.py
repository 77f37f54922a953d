from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.messages import (
    KNOWN_MESSAGES,
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeAgentSwitch,
    HomeTest,
    HomeTestInit,
    MobilityMessage,
    UnknownMobilityMessage,
)
from control.mobility.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    DnsUpdate,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    NonceIndices,
    UnknownMobilityOption,
    find_option,
)
from control.wire import WireError, internet_checksum, ipv6_pseudo_header

HOME_AGENT = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::7")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::7")

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
addresses = st.integers(0, (1 << 128) - 1).map(IPv6Address)
eight_bytes = st.binary(min_size=8, max_size=8)
known_option_types = (0, 1, 2, 3, 4, 5, 6, 8, 17)
plain_options = st.one_of(
    st.builds(BindingRefreshAdvice, u16),
    st.builds(AlternateCareOfAddress, addresses),
    st.builds(NonceIndices, u16, u16),
    st.builds(MobileNetworkPrefix, u8, addresses),
    st.builds(MobileNodeIdentifier, u8, st.binary(max_size=60)),
    st.builds(DnsUpdate, st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60), st.booleans(), u8),
    st.builds(UnknownMobilityOption, u8.filter(lambda value: value not in known_option_types), st.binary(max_size=60)),
)
options = st.tuples(
    st.lists(plain_options, max_size=6),
    st.lists(st.builds(BindingAuthorizationData, st.binary(max_size=32)), max_size=1),
).map(lambda parts: tuple(parts[0] + parts[1]))
messages: st.SearchStrategy[MobilityMessage] = st.one_of(
    st.builds(BindingRefreshRequest, options),
    st.builds(HomeTestInit, eight_bytes, options),
    st.builds(CareOfTestInit, eight_bytes, options),
    st.builds(HomeTest, u16, eight_bytes, eight_bytes, options),
    st.builds(CareOfTest, u16, eight_bytes, eight_bytes, options),
    st.builds(BindingUpdate, u16, u16, *[st.booleans()] * 5, options),
    st.builds(BindingAcknowledgement, u8, u16, u16, st.booleans(), st.booleans(), options),
    st.builds(BindingError, u8, addresses, options),
    st.builds(HomeAgentSwitch, st.lists(addresses, max_size=8).map(tuple), st.booleans(), options),
    st.builds(
        UnknownMobilityMessage,
        u8.filter(lambda value: value not in KNOWN_MESSAGES),
        st.integers(0, 6).flatmap(lambda n: st.binary(min_size=8 * n + 2, max_size=8 * n + 2)),
    ),
)


def with_checksum(header: bytes, source: IPv6Address = HOME_ADDRESS, destination: IPv6Address = HOME_AGENT) -> bytes:
    blank = header[:4] + b"\0\0" + header[6:]
    checksum = internet_checksum(ipv6_pseudo_header(source, destination, len(blank), 135) + blank)
    return blank[:4] + checksum.to_bytes(2, "big") + blank[6:]


def parse(data: bytes) -> MobilityMessage:
    return parse_mobility_message(data, HOME_ADDRESS, HOME_AGENT)


def reason_of(data: bytes) -> str:
    with pytest.raises(WireError) as caught:
        parse(data)
    return caught.value.reason


@given(message=messages, source=addresses, destination=addresses)
def test_every_message_comes_back(message: MobilityMessage, source: IPv6Address, destination: IPv6Address) -> None:
    data = build_mobility_message(message, source, destination)
    assert len(data) % 8 == 0
    assert len(data) == (data[1] + 1) * 8
    assert parse_mobility_message(data, source, destination) == message


@given(message=messages, cut=st.integers(1, 40))
def test_a_shortened_message_is_truncated(message: MobilityMessage, cut: int) -> None:
    data = build_mobility_message(message, HOME_ADDRESS, HOME_AGENT)
    assert reason_of(data[: max(0, len(data) - cut)]) == "truncated"


@settings(max_examples=200)
@given(message=messages, data=st.data())
def test_changed_bytes_with_a_right_checksum_parse_or_raise_wire_error(
    message: MobilityMessage, data: st.DataObject
) -> None:
    changed = bytearray(build_mobility_message(message, HOME_ADDRESS, HOME_AGENT))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(2, len(changed) - 1))] = data.draw(u8)
    try:
        parsed = parse(with_checksum(bytes(changed)))
    except WireError:
        return
    again = build_mobility_message(parsed, HOME_ADDRESS, HOME_AGENT)
    assert parse(again) == parsed


@given(data=st.binary(max_size=300))
def test_random_bytes_raise_only_wire_error(data: bytes) -> None:
    for candidate in (data, with_checksum(data) if len(data) >= 6 else data):
        try:
            parse(candidate)
        except WireError:
            continue


@given(message=messages, position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_flipped_bit_behind_the_length_is_a_bad_checksum(message: MobilityMessage, position: int, bit: int) -> None:
    data = bytearray(build_mobility_message(message, HOME_ADDRESS, HOME_AGENT))
    data[2 + position % (len(data) - 2)] ^= 1 << bit
    assert reason_of(bytes(data)) == "bad-checksum"


def test_the_checksum_covers_the_addresses() -> None:
    data = build_mobility_message(BindingRefreshRequest(), HOME_ADDRESS, HOME_AGENT)
    with pytest.raises(WireError, match="bad-checksum"):
        parse_mobility_message(data, CARE_OF_ADDRESS, HOME_AGENT)


def test_a_message_of_unknown_type_is_kept_whatever_its_payload_protocol() -> None:
    data = with_checksum(bytes((58, 0, 200, 0, 0, 0, 1, 2)))
    assert parse(data) == UnknownMobilityMessage(200, b"\x01\x02")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "truncated", id="empty"),
        pytest.param(bytes((59, 0, 0)), "truncated", id="shorter-than-the-type"),
        pytest.param(with_checksum(bytes((59, 0, 0, 0, 0, 0, 0, 0))) + b"\0", "trailing-bytes", id="trailing"),
        pytest.param(with_checksum(bytes((58, 0, 0, 0, 0, 0, 0, 0))), "bad-payload-protocol", id="payload-protocol"),
        pytest.param(with_checksum(bytes((59, 0, 5, 0, 0, 0, 0, 1))), "bad-header-length", id="update-of-8-octets"),
        pytest.param(with_checksum(bytes((59, 1, 7)) + bytes(13)), "bad-header-length", id="error-of-16-octets"),
        pytest.param(
            with_checksum(bytes((59, 1, 12, 0, 0, 0, 1)) + bytes(9)), "truncated", id="switch-without-address"
        ),
        pytest.param(
            with_checksum(bytes((59, 1, 0, 0, 0, 0, 0, 0, 3, 6)) + bytes(6)), "bad-option-length", id="short-option"
        ),
        pytest.param(
            with_checksum(bytes((59, 1, 0, 0, 0, 0, 0, 0, 2, 6)) + bytes(6)), "bad-option-length", id="long-option"
        ),
        pytest.param(
            with_checksum(bytes((59, 1, 0, 0, 0, 0, 0, 0, 99, 7)) + bytes(6)), "truncated", id="option-past-the-end"
        ),
        pytest.param(
            with_checksum(bytes((59, 1, 0, 0, 0, 0, 0, 0, 1, 7)) + bytes(6)), "truncated", id="padding-past-the-end"
        ),
        pytest.param(
            with_checksum(bytes((59, 1, 0, 0, 0, 0, 0, 0)) + bytes(7) + b"\x01"), "truncated", id="half-an-option"
        ),
        pytest.param(
            with_checksum(bytes((59, 1, 0, 0, 0, 0, 0, 0, 5, 2, 0, 0)) + bytes(4)),
            "authorization-not-last",
            id="padding-behind-the-authenticator",
        ),
        pytest.param(
            with_checksum(bytes((59, 1, 0, 0, 0, 0, 0, 0, 17, 6, 0, 0, 0xFF, 0, 0, 0))),
            "bad-domain-name",
            id="name-outside-ascii",
        ),
    ],
)
def test_malformed_messages(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_reserved_bits_and_padding_content_are_ignored() -> None:
    update = BindingUpdate(9, 100, acknowledge=True)
    data = bytearray(build_mobility_message(update, HOME_ADDRESS, HOME_AGENT))
    data[3] = 0xFF
    data[8] |= 0x0B
    data[9] = 0xFF
    data[14:16] = b"\xab\xcd"
    assert parse(with_checksum(bytes(data))) == update


def test_lifetimes_count_in_units_of_four_seconds() -> None:
    assert BindingUpdate(1, 900).lifetime_seconds == 3600
    assert BindingAcknowledgement(0, 1, 900).lifetime_seconds == 3600
    assert BindingRefreshAdvice(450).refresh_interval_seconds == 1800


@pytest.mark.parametrize(("status", "accepted"), [(0, True), (1, True), (127, True), (128, False), (255, False)])
def test_acknowledgements_from_128_on_are_rejections(status: int, accepted: bool) -> None:
    assert BindingAcknowledgement(status, 1).accepted is accepted


def test_the_home_agent_switch_of_a_bootstrap_in_full() -> None:
    data = build_mobility_message(HomeAgentSwitch((HOME_AGENT,), bootstrap=True), HOME_AGENT, HOME_ADDRESS)
    # Payload Proto 59, 24 octets, type 12; one address, B bit; padding to the next multiple of eight is not needed.
    assert data[:4] == bytes((59, 2, 12, 0))
    assert data[6:8] == bytes((1, 0x80))
    assert data[8:] == HOME_AGENT.packed


def test_an_empty_home_agent_switch_has_no_padding() -> None:
    data = build_mobility_message(HomeAgentSwitch(), HOME_AGENT, HOME_ADDRESS)
    assert data[:4] + data[6:] == bytes((59, 0, 12, 0, 0, 0))


def test_the_first_option_of_a_class() -> None:
    other, first = UnknownMobilityOption(200, b""), AlternateCareOfAddress(CARE_OF_ADDRESS)
    assert find_option((other,), AlternateCareOfAddress) is None
    assert find_option((other, first, AlternateCareOfAddress(HOME_ADDRESS)), AlternateCareOfAddress) is first


def test_the_network_access_identifier() -> None:
    option = MobileNodeIdentifier.from_network_access_identifier("mn7@example.org")
    assert option == MobileNodeIdentifier(1, b"mn7@example.org")
    assert option.network_access_identifier == "mn7@example.org"
    assert MobileNodeIdentifier(2, b"mn7@example.org").network_access_identifier is None
    assert MobileNodeIdentifier(1, b"\xff").network_access_identifier is None


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(HomeTestInit(b"short"), id="short-cookie"),
        pytest.param(HomeTest(1, bytes(8), bytes(9)), id="long-token"),
        pytest.param(BindingUpdate(0x10000, 1), id="sequence-number"),
        pytest.param(BindingUpdate(1, 0x10000), id="lifetime"),
        pytest.param(BindingUpdate(1, 1, options=(UnknownMobilityOption(9, bytes(256)),)), id="long-option"),
        pytest.param(HomeAgentSwitch((HOME_AGENT,) * 256), id="too-many-addresses"),
        pytest.param(HomeAgentSwitch((HOME_AGENT,) * 128), id="too-long-for-the-header"),
        pytest.param(UnknownMobilityMessage(200, b""), id="no-whole-block"),
        pytest.param(UnknownMobilityMessage(200, bytes(9)), id="not-a-multiple-of-eight"),
        pytest.param(BindingUpdate(1, 1, options=(DnsUpdate("mün.example"),)), id="name-outside-ascii"),
        pytest.param(
            BindingUpdate(1, 1, options=(BindingAuthorizationData(bytes(12)), NonceIndices(1, 2))),
            id="authenticator-not-last",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(message: MobilityMessage) -> None:
    with pytest.raises(WireError):
        build_mobility_message(message, HOME_ADDRESS, HOME_AGENT)


@pytest.mark.parametrize("kind", [HomeTest, CareOfTest])
def test_keygen_tokens_do_not_show_in_logs(kind: type[HomeTest | CareOfTest]) -> None:
    assert "secret!!" not in repr(kind(1, bytes(8), b"secret!!"))


# Mobile Network Prefix (RFC 3963 section 4.3)


@pytest.mark.parametrize(
    ("length", "prefix", "network"),
    [
        (56, "2001:db8:700::", "2001:db8:700::/56"),
        (56, "2001:db8:700:1::ff", "2001:db8:700::/56"),
        (128, "2001:db8::1", "2001:db8::1/128"),
        (129, "2001:db8::1", None),
        (255, "2001:db8::1", None),
    ],
)
def test_the_network_of_a_prefix_option(length: int, prefix: str, network: str | None) -> None:
    option = MobileNetworkPrefix(length, IPv6Address(prefix))
    assert option.network == (None if network is None else IPv6Network(network))


def test_a_prefix_option_made_of_a_network_is_that_network() -> None:
    network = IPv6Network("2001:db8:700::/56")
    assert MobileNetworkPrefix.of(network).network == network


def test_the_mobile_router_flags_stand_where_iana_has_them() -> None:
    update = build_mobility_message(BindingUpdate(1, 1, mobile_router=True), HOME_ADDRESS, HOME_AGENT)
    acknowledgement = build_mobility_message(BindingAcknowledgement(0, 1, mobile_router=True), HOME_AGENT, HOME_ADDRESS)
    assert update[8:10] == b"\x04\x00"
    assert acknowledgement[7] == 0x40
