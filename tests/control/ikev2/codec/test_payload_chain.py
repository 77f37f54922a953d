"""How messages lie is remembered, and changes nothing about what is made of them."""

from __future__ import annotations

import pytest

from control.ikev2 import payload_chain
from control.ikev2.message import Header, Message, encode_message, parse_message
from control.ikev2.numbers import ExchangeType, NotifyType, PayloadType
from control.ikev2.payload_chain import encode_payload_chain, parse_payloads
from control.ikev2.payloads import NoncePayload, NotifyPayload, UnknownPayload, VendorIdPayload, encoded
from control.wire import WireError

SPI = bytes(7) + b"\1"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(payload_chain, "_layouts", {})


def test_messages_of_one_size_that_lie_otherwise_are_told_apart():
    one = (VendorIdPayload(b"abcdef"), NotifyPayload(NotifyType.COOKIE, data=b"0123"))
    other = (VendorIdPayload(b"abcd"), NotifyPayload(NotifyType.COOKIE, data=b"012345"))
    third = (VendorIdPayload(b"abcdef"), UnknownPayload(99, False, b"01234567"))
    for _ in range(2):
        for payloads in (one, other, third, one):
            first_type, chain = encode_payload_chain(payloads)
            assert (first_type, len(chain)) == (PayloadType.VENDOR_ID, 22)
            assert parse_payloads(first_type, chain) == payloads


def test_a_known_layout_does_not_make_a_malformed_message_good():
    first_type, chain = encode_payload_chain((VendorIdPayload(b"abcdef"), NoncePayload(bytes(16))))
    parse_payloads(first_type, chain)
    wrong = ((2, 1, "truncated"), (3, 3, "bad-length"), (10, 40, "truncated"), (13, 19, "trailing-bytes"))
    for position, value, reason in (*wrong, (0, PayloadType.ENCRYPTED, "unexpected-encrypted-payload")):
        with pytest.raises(WireError) as error:
            parse_payloads(first_type, chain[:position] + bytes((value,)) + chain[position + 1 :])
        assert error.value.reason == reason
    with pytest.raises(WireError) as error:
        parse_payloads(first_type, chain + b"\0")
    assert error.value.reason == "trailing-bytes"


def test_only_so_many_layouts_are_kept():
    for size in range(payload_chain._MOST_LAYOUTS + 10):
        parse_payloads(PayloadType.VENDOR_ID, encode_payload_chain((VendorIdPayload(bytes(size)),))[1])
    assert 0 < len(payload_chain._layouts) <= payload_chain._MOST_LAYOUTS
    payload_chain._layouts.clear()
    many = (VendorIdPayload(b""),) * (payload_chain._MOST_PAYLOADS_IN_LAYOUT + 1)
    assert parse_payloads(*encode_payload_chain(many)) == many
    assert not payload_chain._layouts


def test_strangers_drive_no_layout_out():
    def receive(is_response, size):
        header = Header(SPI, SPI, ExchangeType.IKE_SA_INIT, not is_response, is_response, 0)
        parse_message(encode_message(Message(header, (VendorIdPayload(bytes(size)),))))

    receive(True, 1000)
    for size in range(payload_chain._MOST_LAYOUTS + 10):
        receive(False, size)
    known = dict(payload_chain._layouts)
    assert len(known) == payload_chain._MOST_LAYOUTS
    assert (PayloadType.VENDOR_ID, 1004) in known
    receive(True, 2000)
    assert list(payload_chain._layouts) == [(PayloadType.VENDOR_ID, 2004)]


def test_encoded_payloads_are_sent_as_they_would_be_otherwise():
    payloads = (NoncePayload(bytes(16)), NotifyPayload(NotifyType.INITIAL_CONTACT), UnknownPayload(99, True, b"x"))
    first, second, third = payloads
    assert encode_payload_chain((encoded(first), second, third)) == encode_payload_chain(payloads)
    assert encode_payload_chain((first, encoded(second))) == encode_payload_chain((first, second))


def test_the_first_of_several_is_found():
    first, second = NoncePayload(bytes(16)), NoncePayload(b"1" * 16)
    ours = NotifyPayload(NotifyType.COOKIE, data=b"1")
    payloads = (
        first,
        ours,
        second,
        NotifyPayload(NotifyType.COOKIE, data=b"2"),
        NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN),
    )
    received = parse_payloads(*encode_payload_chain(payloads))
    assert received.first(NoncePayload) == first
    assert received.first(VendorIdPayload) is None
    assert received.notification(NotifyType.COOKIE) == ours
    assert received.notification(NotifyType.REDIRECT) is None
    assert received.error == payloads[-1]
