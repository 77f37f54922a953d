from __future__ import annotations

import contextlib
from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control.ikev2 import payloads as p
from control.ikev2.errors import UnsupportedCriticalPayload
from control.ikev2.message import (
    EncryptedMessage,
    Header,
    Message,
    encode_message,
    encrypted_prefix,
    parse_header,
    parse_message,
    split_encrypted,
)
from control.ikev2.numbers import (
    AuthenticationMethod,
    CertificateEncoding,
    ConfigurationAttributeType,
    ConfigurationType,
    DiffieHellmanGroup,
    ExchangeType,
    IdentificationType,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
)
from control.ikev2.payload_chain import encode_payload_chain, parse_payloads
from control.ipsec.traffic_selector import TrafficSelector
from control.wire import WireError


def code_point(enumeration, bits):
    return st.sampled_from(enumeration) | st.integers(0, 2**bits - 1)


def data(minimum=0, maximum=64):
    return st.binary(min_size=minimum, max_size=maximum)


u16 = st.integers(0, 0xFFFF)
addresses = st.integers(0, 2**128 - 1).map(IPv6Address)

transform_attributes = st.builds(
    p.TransformAttribute, st.integers(0, 0x7FFF).filter(lambda number: number != 14), u16 | data(0, 20)
)
transforms = st.builds(
    p.Transform,
    code_point(TransformType, 8),
    u16,
    st.none() | u16,
    st.lists(transform_attributes, max_size=8).map(tuple),
)
protocols_with_spi = st.one_of(
    st.tuples(st.just(ProtocolId.IKE), st.sampled_from([b"", b"12345678"])),
    st.tuples(st.sampled_from([ProtocolId.AH, ProtocolId.ESP]), data(4, 4)),
    st.tuples(st.integers(4, 255), data(0, 16)),
)


@st.composite
def security_associations(draw):
    first = draw(st.integers(1, 200))
    bodies = draw(
        st.lists(
            st.tuples(protocols_with_spi, st.lists(transforms, min_size=1, max_size=6).map(tuple)),
            min_size=1,
            max_size=4,
        )
    )
    return p.SecurityAssociationPayload(
        tuple(
            p.Proposal(first + index, protocol, spi, chosen) for index, ((protocol, spi), chosen) in enumerate(bodies)
        )
    )


identities = st.one_of(
    st.builds(p.Identity, st.just(IdentificationType.IPV4_ADDR), data(4, 4)),
    st.builds(p.Identity, st.just(IdentificationType.IPV6_ADDR), data(16, 16)),
    st.from_regex(r"\A[!-~]{1,40}\Z").map(lambda name: p.Identity(IdentificationType.FQDN, name.encode())),
    st.emails().map(lambda name: p.Identity(IdentificationType.RFC822_ADDR, name.encode())),
    st.text(min_size=1)
    .filter(str.isprintable)
    .map(lambda name: p.Identity(IdentificationType.RFC822_ADDR, name.encode())),
    st.builds(p.Identity, st.just(0) | st.integers(9, 255), data(1)),
)


@st.composite
def ipv6_selectors(draw):
    first, last = sorted((draw(addresses), draw(addresses)))
    ports = draw(st.tuples(u16, u16).map(sorted) | st.just((0xFFFF, 0)))
    return TrafficSelector(first, last, draw(st.integers(0, 255)), *ports)


selectors = st.one_of(
    ipv6_selectors(),
    st.builds(p.UnknownSelector, st.just(7), st.integers(0, 255), data(12, 12)),
    st.builds(p.UnknownSelector, st.integers(9, 255), st.integers(0, 255), data()),
)
selector_lists = st.lists(selectors, min_size=1, max_size=5).map(tuple)
deletions = st.one_of(
    st.just(p.DeletePayload(ProtocolId.IKE)),
    st.builds(
        p.DeletePayload,
        st.sampled_from([ProtocolId.AH, ProtocolId.ESP]),
        st.lists(data(4, 4), max_size=5).map(tuple),
    ),
    st.builds(
        p.DeletePayload,
        st.integers(4, 255),
        st.integers(1, 20).flatmap(lambda size: st.lists(data(size, size), max_size=5).map(tuple)),
    ),
)
certificate_requests = st.builds(
    p.CertificateRequestPayload,
    st.just(CertificateEncoding.X509_SIGNATURE),
    st.integers(0, 3).flatmap(lambda count: data(20 * count, 20 * count)),
) | st.builds(p.CertificateRequestPayload, st.integers(14, 255), data())
configuration_attributes = st.builds(
    p.ConfigurationAttribute, st.sampled_from(ConfigurationAttributeType) | st.integers(0, 0x7FFF), data(0, 30)
)

KNOWN = {
    "SA": security_associations(),
    "KE": st.builds(p.KeyExchangePayload, code_point(DiffieHellmanGroup, 16), data(1)),
    "IDi": st.builds(p.IdentificationInitiator, identities, data(3, 3)),
    "IDr": st.builds(p.IdentificationResponder, identities),
    "CERT": st.builds(p.CertificatePayload, code_point(CertificateEncoding, 8), data(1)),
    "CERTREQ": certificate_requests,
    "AUTH": st.builds(p.AuthenticationPayload, code_point(AuthenticationMethod, 8), data(1)),
    "NONCE": st.builds(p.NoncePayload, data(16, 256)),
    "N": st.builds(
        p.NotifyPayload, code_point(NotifyType, 16), code_point(ProtocolId, 8), st.sampled_from([b"", b"abcd"]), data()
    ),
    "D": deletions,
    "V": st.builds(p.VendorIdPayload, data()),
    "TSi": st.builds(p.TrafficSelectorInitiator, selector_lists),
    "TSr": st.builds(p.TrafficSelectorResponder, selector_lists),
    "CP": st.builds(
        p.ConfigurationPayload,
        code_point(ConfigurationType, 8),
        st.lists(configuration_attributes, max_size=6).map(tuple),
    ),
    "EAP": data().map(lambda text: p.EapPayload(b"\x01\x07" + (4 + len(text)).to_bytes(2, "big") + text)),
}
unknown_types = st.integers(1, 255).filter(
    lambda number: number not in {*p.PAYLOAD_CLASSES, PayloadType.ENCRYPTED, PayloadType.ENCRYPTED_FRAGMENT}
)
unknown_payloads = st.builds(p.UnknownPayload, unknown_types, st.just(False), data())
payload_lists = st.lists(st.one_of(unknown_payloads, *KNOWN.values()), max_size=8).map(tuple)
headers = st.builds(
    Header,
    data(8, 8),
    data(8, 8),
    code_point(ExchangeType, 8),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
messages = st.builds(Message, headers, payload_lists)


def assert_parses_or_wire_error(parse, encode, mutated):
    """Whatever is accepted has one meaning: what is sent for it again is understood alike."""
    try:
        parsed = parse(mutated)
    except WireError:
        return
    assert parse(encode(parsed)) == parsed


@pytest.mark.parametrize("name", KNOWN)
@given(source=st.data())
def test_every_payload_survives_the_wire(name, source):
    payload = source.draw(KNOWN[name])
    body = payload.to_wire()

    parsed = type(payload).from_wire(body)

    assert parsed == payload
    assert parsed.to_wire() == body


@pytest.mark.parametrize("name", KNOWN)
@given(source=st.data())
def test_a_payload_of_any_bytes_parses_or_fails_with_the_wire_error(name, source):
    payload = source.draw(KNOWN[name])
    body = bytearray(payload.to_wire())
    for position, value in source.draw(st.lists(st.tuples(st.integers(0, len(body)), st.integers(0, 255)), max_size=3)):
        body[position : position + 1] = bytes((value,))
    cut = source.draw(st.integers(0, len(body)))
    payload_class = type(payload)

    for mutated in (bytes(body), bytes(body[:cut]), source.draw(data())):
        assert_parses_or_wire_error(payload_class.from_wire, payload_class.to_wire, mutated)


@given(messages)
@example(Message(Header(bytes(8), bytes(8), 37, False, True, 0), ()))
def test_every_message_survives_the_wire(message):
    datagram = encode_message(message)

    assert parse_message(datagram) == message
    assert parse_header(datagram) == message.header


@given(payload_lists)
def test_a_chain_of_payloads_survives_the_wire(payloads):
    first_type, chain = encode_payload_chain(payloads)

    assert first_type == (payloads[0].payload_type if payloads else PayloadType.NONE)
    assert parse_payloads(first_type, chain) == payloads


@given(messages, st.data())
def test_a_mutated_message_parses_or_fails_with_the_wire_error(message, source):
    datagram = bytearray(encode_message(message))
    edits = st.tuples(st.integers(0, len(datagram) - 1), st.integers(0, 255))
    for position, value in source.draw(st.lists(edits, min_size=1, max_size=4)):
        datagram[position] = value

    assert_parses_or_wire_error(parse_message, encode_message, bytes(datagram))


@given(messages, st.data())
def test_a_message_with_a_wrong_length_is_refused(message, source):
    datagram = encode_message(message)
    cut = source.draw(st.integers(0, len(datagram) - 1))

    for wrong in (datagram[:cut], datagram + b"\0"):
        with pytest.raises(WireError) as caught:
            parse_message(wrong)
        assert caught.value.reason in ("truncated", "bad-length")


@given(payload_lists, st.data())
def test_a_truncated_chain_is_refused(payloads, source):
    first_type, chain = encode_payload_chain(payloads)
    cut = source.draw(st.integers(0, max(0, len(chain) - 1)))

    if cut < len(chain):
        with pytest.raises(WireError) as caught:
            parse_payloads(first_type, chain[:cut])
        assert caught.value.reason == "truncated"
    with pytest.raises(WireError) as caught:
        parse_payloads(first_type, chain + b"\0")
    assert caught.value.reason == "trailing-bytes"


@given(headers, st.integers(0, 255), data(), st.lists(unknown_payloads, max_size=3))
def test_an_encrypted_message_is_split_where_it_was_put_together(header, first_inner_type, body, skipped):
    prefix = encrypted_prefix(header, first_inner_type, len(body))

    assert split_encrypted(prefix + body) == EncryptedMessage(header, first_inner_type, prefix, body)

    # The same with payloads that nobody knows in front of the encrypted one.
    chain = (
        b"".join(
            bytes((following, 0)) + (4 + len(payload.data)).to_bytes(2, "big") + payload.data
            for payload, following in zip(skipped, [each.type for each in skipped[1:]] + [46], strict=True)
        )
        if skipped
        else b""
    )
    if skipped:
        length = (len(prefix) + len(chain) + len(body)).to_bytes(4, "big")
        start = prefix[:16] + bytes((skipped[0].type,)) + prefix[17:24] + length + chain + prefix[28:]
        assert split_encrypted(start + body) == EncryptedMessage(header, first_inner_type, start, body)


@given(headers, data(), st.data())
def test_a_mutated_encrypted_message_splits_or_fails_with_the_wire_error(header, body, source):
    datagram = bytearray(encrypted_prefix(header, 41, len(body)) + body)
    edits = st.tuples(st.integers(0, len(datagram) - 1), st.integers(0, 255))
    for position, value in source.draw(st.lists(edits, min_size=1, max_size=4)):
        datagram[position] = value
    mutated = bytes(datagram)

    try:
        split = split_encrypted(mutated)
    except WireError:
        pass
    else:
        assert split.associated_data + split.body == mutated
    with pytest.raises(WireError):
        split_encrypted(mutated[: source.draw(st.integers(0, len(mutated) - 1))])


@given(payload_lists, unknown_types, data(), payload_lists)
def test_an_unknown_critical_payload_is_reported_by_its_type(before, unknown_type, body, after):
    critical = p.UnknownPayload(unknown_type, True, body)
    first_type, chain = encode_payload_chain((*before, critical, *after))

    with pytest.raises(UnsupportedCriticalPayload) as caught:
        parse_payloads(first_type, chain)

    assert caught.value.payload_type == unknown_type


@given(data(0, 200))
def test_any_datagram_parses_or_fails_with_the_wire_error(datagram):
    for parse in (parse_header, parse_message, split_encrypted):
        with contextlib.suppress(WireError):
            parse(datagram)


@given(identities)
def test_the_text_of_an_identity_names_it_and_no_other(identity):
    text = str(identity)

    assert p.Identity.from_text(text) == identity
    assert text.isprintable()
