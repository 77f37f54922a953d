from __future__ import annotations

import pytest

from control.ikev2.errors import UnsupportedCriticalPayload, UnsupportedMajorVersion
from control.ikev2.message import (
    FragmentPosition,
    Header,
    Message,
    encode_message,
    encrypted_prefix,
    fragment_prefix,
    parse_header,
    parse_message,
    split_encrypted,
)
from control.ikev2.numbers import ExchangeType, NotifyType, PayloadType
from control.ikev2.payload_chain import MAX_PAYLOADS, encode_payload_chain, parse_payloads
from control.ikev2.payloads import NoncePayload, NotifyPayload, UnknownPayload, VendorIdPayload
from control.wire import WireError

INITIATOR = bytes.fromhex("1122334455667788")
RESPONDER = bytes.fromhex("99aabbccddeeff00")
HEADER = Header(INITIATOR, RESPONDER, ExchangeType.INFORMATIONAL, True, False, 7)


def datagram(*payloads, first_type, version=0x20, flags=0x08):
    """A message put together by hand: payloads with their generic headers already in place."""
    chain = b"".join(payloads)
    return (
        INITIATOR
        + RESPONDER
        + bytes((first_type, version, 37, flags))
        + (7).to_bytes(4, "big")
        + (28 + len(chain)).to_bytes(4, "big")
        + chain
    )


def reason(parse, *arguments):
    with pytest.raises(WireError) as caught:
        parse(*arguments)
    return caught.value.reason


def test_layout_of_an_unprotected_message():
    header = Header(INITIATOR, bytes(8), ExchangeType.IKE_SA_INIT, False, True, 0)
    message = Message(header, (NotifyPayload(NotifyType.COOKIE, data=b"cook"), NoncePayload(b"n" * 16)))

    assert encode_message(message) == bytes.fromhex(
        "1122334455667788 0000000000000000 29 20 22 20 00000000 0000003c"
        "28 00 000c 00 00 4006 636f6f6b"
        "00 00 0014 6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e6e"
    )


def test_layout_of_a_protected_message():
    prefix = encrypted_prefix(HEADER, PayloadType.NOTIFY, 5)

    assert prefix == bytes.fromhex("1122334455667788 99aabbccddeeff00 2e 20 25 08 00000007 00000025 29 00 0009")
    split = split_encrypted(prefix + b"12345")
    assert (split.header, split.first_inner_type, split.associated_data, split.body) == (
        HEADER,
        PayloadType.NOTIFY,
        prefix,
        b"12345",
    )


def test_contents_of_a_protected_message_are_not_shown():
    split = split_encrypted(encrypted_prefix(HEADER, 41, 6) + b"secret")

    assert "secret" not in repr(split)


def test_minor_version_and_reserved_flags_are_ignored():
    assert parse_header(datagram(first_type=0, version=0x2F, flags=0xDF)) == HEADER


@pytest.mark.parametrize(("flags", "is_initiator", "is_response"), [(0x08, True, False), (0x20, False, True)])
def test_flags(flags, is_initiator, is_response):
    header = parse_header(datagram(first_type=0, flags=flags))

    assert (header.is_initiator, header.is_response) == (is_initiator, is_response)


@pytest.mark.parametrize("version", [0x10, 0x30])
def test_another_major_version_is_refused_with_what_an_answer_needs(version):
    with pytest.raises(UnsupportedMajorVersion) as caught:
        parse_header(datagram(first_type=0, version=version) + b"whatever such a version may bring")

    assert caught.value.reason == "bad-version"
    assert caught.value.major_version == version >> 4
    assert caught.value.header == HEADER


def test_a_wrong_message_length_is_refused():
    message = datagram(first_type=0)

    assert reason(parse_header, message + b"\0") == "bad-length"
    assert reason(parse_header, message[:-1]) == "truncated"


def test_header_spis_have_8_bytes():
    for wrong in (Header(b"short", RESPONDER, 37, True, False, 0), Header(INITIATOR, b"123456789", 37, True, False, 0)):
        assert reason(encode_message, Message(wrong, ())) == "bad-spi-size"


def test_a_message_identifier_that_does_not_fit_is_not_sent():
    assert reason(encode_message, Message(Header(INITIATOR, RESPONDER, 37, True, False, 2**32), ())) == "field-overflow"


def test_a_payload_that_does_not_fit_is_not_sent():
    assert reason(encode_payload_chain, [VendorIdPayload(bytes(0xFFFC))]) == "field-overflow"
    assert reason(encrypted_prefix, HEADER, 41, 0xFFFC) == "field-overflow"


def test_payloads_are_bounded():
    payloads = (NotifyPayload(NotifyType.INITIAL_CONTACT),) * MAX_PAYLOADS
    first_type, chain = encode_payload_chain(payloads)

    assert parse_payloads(first_type, chain) == payloads
    assert reason(parse_payloads, *encode_payload_chain((*payloads, payloads[0]))) == "too-many"


@pytest.mark.parametrize("length", [0, 3])
def test_a_payload_is_no_shorter_than_its_header(length):
    assert reason(parse_payloads, PayloadType.VENDOR_ID, bytes((0, 0, 0, length))) == "bad-length"
    unknown = bytes((46, 0, 0, length)) + bytes.fromhex("00000004")
    assert reason(split_encrypted, datagram(unknown, first_type=99)) == "bad-length"


def test_the_critical_bit_of_a_known_payload_is_ignored():
    assert parse_payloads(PayloadType.VENDOR_ID, bytes.fromhex("00 80 0005 41")) == (VendorIdPayload(b"A"),)


def test_an_unknown_payload_is_kept_unless_it_is_critical():
    assert parse_payloads(99, bytes.fromhex("00 7f 0005 41")) == (UnknownPayload(99, False, b"A"),)
    with pytest.raises(UnsupportedCriticalPayload) as caught:
        parse_payloads(99, bytes.fromhex("00 80 0005 41"))
    assert caught.value.payload_type == 99
    assert caught.value.reason == "unsupported-critical-payload"


def test_an_encrypted_payload_is_not_read_in_the_clear():
    inner = bytes.fromhex("29 00 0008 00000000")

    assert reason(parse_payloads, PayloadType.ENCRYPTED, inner) == "unexpected-encrypted-payload"
    assert reason(parse_message, encrypted_prefix(HEADER, 41, 4) + bytes(4)) == "unexpected-encrypted-payload"


def test_layout_of_a_fragment():
    first = fragment_prefix(HEADER, PayloadType.NOTIFY, FragmentPosition(1, 2), 4)
    last = fragment_prefix(HEADER, PayloadType.NOTIFY, FragmentPosition(2, 2), 4)

    spis = "1122334455667788 99aabbccddeeff00"
    assert first == bytes.fromhex(f"{spis} 35 20 25 08 00000007 00000028 29 00 000c 0001 0002")
    assert last == bytes.fromhex(f"{spis} 35 20 25 08 00000007 00000028 00 00 000c 0002 0002")
    for prefix, position, inner in ((first, (1, 2), PayloadType.NOTIFY), (last, (2, 2), 0)):
        split = split_encrypted(prefix + b"1234")
        assert (split.header, split.fragment, split.first_inner_type) == (HEADER, position, inner)
        assert (split.associated_data, split.body) == (prefix, b"1234")


@pytest.mark.parametrize(("number", "total"), [(0, 0), (0, 1), (1, 0), (2, 1), (65535, 65534)])
def test_a_fragment_needs_a_place_in_its_message(number, total):
    fragment = bytes.fromhex("29 00 000c") + number.to_bytes(2, "big") + total.to_bytes(2, "big") + bytes(4)

    assert reason(split_encrypted, datagram(fragment, first_type=53)) == "bad-fragment"


def test_a_fragment_is_not_read_in_the_clear():
    fragment = bytes.fromhex("00 00 000c 0002 0002 aabbccdd")

    assert reason(parse_payloads, PayloadType.ENCRYPTED_FRAGMENT, fragment) == "unexpected-encrypted-payload"
    assert reason(split_encrypted, datagram(fragment[:2] + b"\0\6\0\2", first_type=53)) == "truncated"
    assert reason(split_encrypted, datagram(fragment + b"1", first_type=53)) == "trailing-bytes"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (datagram(first_type=0), "no-encrypted-payload"),
        (
            datagram(bytes.fromhex("2e 00 0008 00004000"), bytes.fromhex("00000004"), first_type=41),
            "unprotected-payload",
        ),
        (
            datagram(bytes.fromhex("2e 80 0004"), bytes.fromhex("00000004"), first_type=99),
            "unsupported-critical-payload",
        ),
        (datagram(bytes.fromhex("29 00 0006 aabb 00"), first_type=46), "trailing-bytes"),
        (datagram(bytes.fromhex("29 00 0007 aabb"), first_type=46), "truncated"),
        (datagram(bytes.fromhex("63 00 0004") * 65, first_type=99), "too-many"),
    ],
)
def test_protected_messages_that_cannot_be_split(message, expected):
    assert reason(split_encrypted, message) == expected
