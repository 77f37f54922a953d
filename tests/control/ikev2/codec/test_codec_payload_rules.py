from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from control.ikev2 import payloads as p
from control.ikev2.numbers import (
    AuthenticationMethod,
    CertificateEncoding,
    ConfigurationAttributeType,
    ConfigurationType,
    DiffieHellmanGroup,
    HashAlgorithm,
    IdentificationType,
    NotifyType,
    ProtocolId,
    TransformType,
)
from control.ikev2.payloads import configuration as configuration_module
from control.ikev2.payloads import delete, security_association, traffic_selector
from control.ikev2.payloads.identification import _known_text
from control.ipsec.traffic_selector import TrafficSelector
from control.wire import WireError

ADDRESS = IPv6Address("2001:db8:100::7")
TRANSFORM = bytes.fromhex("00 00 0008 02 00 0005")
ESP_TRANSFORM = bytes.fromhex("00 00 0008 05 00 0000")


def reason(parse, *arguments):
    with pytest.raises(WireError) as caught:
        parse(*arguments)
    return caught.value.reason


def proposal(*, last=0, length=None, number=1, protocol=1, spi=b"", count=1, transforms=TRANSFORM):
    size = 8 + len(spi) + len(transforms) if length is None else length
    return bytes((last, 0)) + size.to_bytes(2, "big") + bytes((number, protocol, len(spi), count)) + spi + transforms


def transform(*, last=0, length=None, attributes=b""):
    size = 8 + len(attributes) if length is None else length
    return bytes((last, 0)) + size.to_bytes(2, "big") + bytes.fromhex("01 00 000c") + attributes


parse_sa = p.SecurityAssociationPayload.from_wire


class TestSecurityAssociation:
    def test_an_only_proposal_of_esp_is_read_as_any_other_wherever_it_ends(self):
        whole = proposal(protocol=ProtocolId.ESP, spi=b"spi1", transforms=ESP_TRANSFORM)
        assert parse_sa(whole).proposals == security_association._parse(whole)
        for size in range(len(whole)):
            assert reason(parse_sa, whole[:size]) == reason(security_association._parse, whole[:size])

    def test_key_length_and_flags_are_laid_out_as_the_rfc_draws_them(self):
        payload = p.SecurityAssociationPayload(
            (
                p.Proposal(
                    1,
                    ProtocolId.ESP,
                    bytes.fromhex("01020304"),
                    (p.Transform(TransformType.ENCRYPTION, 20, 128), p.Transform(5, 0)),
                ),
                p.Proposal(2, ProtocolId.ESP, bytes.fromhex("01020304"), (p.Transform(3, 12),)),
            )
        )

        assert payload.to_wire() == bytes.fromhex(
            "02 00 0020 01 03 04 02 01020304"
            "  03 00 000c 01 00 0014 800e0080"
            "  00 00 0008 05 00 0000"
            "00 00 0014 02 03 04 01 01020304"
            "  00 00 0008 03 00 000c"
        )
        assert parse_sa(payload.to_wire()) == payload

    def test_reserved_bytes_are_ignored(self):
        body = bytearray(proposal())
        body[1] = body[9] = body[13] = 0xFF

        assert parse_sa(bytes(body)) == parse_sa(proposal())

    def test_an_answer_repeats_the_number_of_the_chosen_proposal(self):
        assert parse_sa(proposal(number=7)).proposals[0].number == 7

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"", "truncated"),
            (proposal()[:-1], "bad-length"),
            (proposal() + b"\0", "trailing-bytes"),
            (proposal(last=2), "truncated"),
            (proposal(last=1), "bad-last-flag"),
            (proposal(length=7), "bad-length"),
            (proposal(number=0), "bad-proposal-number"),
            (proposal(last=2) + proposal(number=3), "bad-proposal-number"),
            (proposal(last=2) + proposal(number=1), "bad-proposal-number"),
            (proposal(count=0), "bad-count"),
            (proposal(count=0, transforms=b""), "bad-count"),
            (proposal(count=2), "bad-last-flag"),
            (proposal(count=129), "too-many"),
            (proposal(spi=b"1234"), "bad-spi-size"),
            (proposal(protocol=3, transforms=ESP_TRANSFORM), "bad-spi-size"),
            (proposal(protocol=2, spi=b"12345678"), "bad-spi-size"),
            (proposal(transforms=TRANSFORM + b"\0"), "trailing-bytes"),
            (proposal(transforms=transform(last=3)), "bad-last-flag"),
            (proposal(transforms=transform(last=3) + transform(last=3), count=2), "bad-last-flag"),
            (proposal(transforms=transform() + transform(), count=2), "bad-last-flag"),
            (proposal(transforms=transform(length=7)), "bad-length"),
            (proposal(transforms=transform(length=9)), "bad-length"),
            (proposal(transforms=transform(attributes=b"\x80\x0e")), "truncated"),
            (proposal(transforms=transform(attributes=bytes.fromhex("800e0080800e0100"))), "bad-attribute"),
            (proposal(transforms=transform(attributes=bytes.fromhex("000e00020080"))), "bad-attribute"),
            (proposal(transforms=transform(attributes=bytes.fromhex("0010000300"))), "truncated"),
            (proposal(transforms=transform(attributes=bytes.fromhex("80100000") * 9)), "too-many"),
        ],
    )
    def test_what_does_not_agree_is_refused(self, body, expected):
        assert reason(parse_sa, body) == expected

    def test_an_spi_longer_than_the_proposal_is_refused(self):
        body = bytearray(proposal(protocol=9))
        body[6] = 200

        assert reason(parse_sa, bytes(body)) == "truncated"

    def test_proposals_are_bounded(self):
        limit = security_association.MAX_PROPOSALS
        fits = b"".join(proposal(last=2 * (number < limit), number=number) for number in range(1, limit + 1))
        exceeds = b"".join(proposal(last=2 * (number <= limit), number=number) for number in range(1, limit + 2))

        assert len(parse_sa(fits).proposals) == limit
        assert reason(parse_sa, exceeds) == "too-many"

    def test_unknown_attributes_are_kept_in_both_formats(self):
        attributes = bytes.fromhex("80110007 800e0100 0012 0003 aabbcc")

        parsed = parse_sa(proposal(transforms=transform(attributes=attributes))).proposals[0].transforms[0]

        assert parsed.key_bits == 256
        assert parsed.unknown_attributes == (p.TransformAttribute(17, 7), p.TransformAttribute(18, b"\xaa\xbb\xcc"))

    def test_transform_lists_too_long_to_cache_parse_alike(self):
        transforms = tuple(p.Transform(TransformType.ENCRYPTION, number, 128) for number in range(100))
        payload = p.SecurityAssociationPayload((p.Proposal(1, ProtocolId.IKE, b"", transforms),))
        before = security_association._parse_transforms_cached.cache_info().currsize

        assert parse_sa(payload.to_wire()) == payload
        assert security_association._parse_transforms_cached.cache_info().currsize == before

    def test_values_that_do_not_fit_are_not_sent(self):
        too_large = p.Transform(TransformType.ENCRYPTION, 12, 0x10000)
        bad_attribute = p.Transform(1, 12, None, (p.TransformAttribute(0x8000, 1),))

        for wrong in (too_large, bad_attribute):
            payload = p.SecurityAssociationPayload((p.Proposal(1, ProtocolId.IKE, b"", (wrong,)),))
            assert reason(payload.to_wire) == "field-overflow"


class TestIdentification:
    @pytest.mark.parametrize(
        ("text", "expected_type", "data"),
        [
            ("ha1.example.org", IdentificationType.FQDN, b"ha1.example.org"),
            ("mn@example.org", IdentificationType.RFC822_ADDR, b"mn@example.org"),
            ("jürgen@example.org", IdentificationType.RFC822_ADDR, "jürgen@example.org".encode()),
            ("2001:db8:100::7", IdentificationType.IPV6_ADDR, ADDRESS.packed),
            ("192.0.2.1", IdentificationType.IPV4_ADDR, bytes((192, 0, 2, 1))),
            ("type-11:6b6579", IdentificationType.KEY_ID, b"key"),
        ],
    )
    def test_text_and_identity_correspond(self, text, expected_type, data):
        identity = p.Identity.from_text(text)

        assert identity == p.Identity(expected_type, data)
        assert str(identity) == text
        assert hash(identity) == hash(p.Identity(expected_type, data))

    @pytest.mark.parametrize("text", ["", "two words", "fe80::1%eth0", "a@b\n", "type-999:00", "name:"])
    def test_text_that_is_no_identity_is_refused(self, text):
        with pytest.raises(ValueError, match="no IP address"):
            p.Identity.from_text(text)

    def test_long_names_of_strangers_are_not_kept(self):
        kept = _known_text.cache_info().currsize
        name = p.Identity(IdentificationType.FQDN, b"x" * 60_000)

        assert str(name) == "x" * 60_000
        assert _known_text.cache_info().currsize == kept

    def test_a_host_name_that_looks_like_an_address_is_not_taken_for_it(self):
        disguised = p.Identity(IdentificationType.FQDN, b"2001:db8::1")

        assert str(disguised) != str(p.Identity.from_text("2001:db8::1"))
        assert str(disguised) == "type-2:323030313a6462383a3a31"

    @pytest.mark.parametrize(
        ("identification_type", "data"),
        [
            (1, b"123"),
            (1, b"12345"),
            (2, b""),
            (2, b"host\0"),
            (2, b"host name"),
            (2, "hört".encode()),
            (3, b""),
            (3, b"a@b\r\n"),
            (3, b"\xff@b"),
            (3, "a\u202e@b".encode()),
            (5, bytes(15)),
            (5, bytes(17)),
            (11, b""),
        ],
    )
    def test_malformed_names_are_refused(self, identification_type, data):
        body = bytes((identification_type, 0, 0, 0)) + data

        assert reason(p.IdentificationResponder.from_wire, body) == "bad-identity"

    def test_reserved_bytes_are_kept_for_the_authentication_that_covers_them(self):
        body = bytes.fromhex("02 aabbcc") + b"host"

        payload = p.IdentificationInitiator.from_wire(body)

        assert payload.to_wire() == body
        assert payload.identity.to_wire() == bytes.fromhex("02 000000") + b"host"


class TestSmallPayloads:
    @pytest.mark.parametrize("size", [0, 15, 257])
    def test_a_nonce_has_16_to_256_bytes(self, size):
        assert reason(p.NoncePayload.from_wire, bytes(size)) == "bad-length"

    @pytest.mark.parametrize(
        ("payload_class", "body", "expected"),
        [
            (p.KeyExchangePayload, bytes(3), "truncated"),
            (p.KeyExchangePayload, bytes.fromhex("001f0000"), "bad-length"),
            (p.CertificatePayload, b"", "truncated"),
            (p.CertificatePayload, b"\x04", "bad-length"),
            (p.CertificateRequestPayload, b"", "truncated"),
            (p.CertificateRequestPayload, b"\x04" + bytes(19), "bad-length"),
            (p.AuthenticationPayload, bytes(3), "truncated"),
            (p.AuthenticationPayload, bytes.fromhex("02000000"), "bad-length"),
            (p.NotifyPayload, bytes(3), "truncated"),
            (p.NotifyPayload, bytes.fromhex("03044009aabbcc"), "truncated"),
            (p.EapPayload, b"\x03\x01\x00", "truncated"),
            (p.EapPayload, bytes.fromhex("0301000400"), "bad-length"),
            (p.EapPayload, bytes.fromhex("03010005"), "bad-length"),
        ],
    )
    def test_lengths_are_checked(self, payload_class, body, expected):
        assert reason(payload_class.from_wire, body) == expected

    def test_key_exchange_layout(self):
        payload = p.KeyExchangePayload(DiffieHellmanGroup.CURVE25519, b"\xaa" * 32)

        assert payload.to_wire() == bytes.fromhex("001f 0000") + b"\xaa" * 32

    def test_an_authority_is_a_hash_of_20_bytes(self):
        payload = p.CertificateRequestPayload(CertificateEncoding.X509_SIGNATURE, b"a" * 20 + b"b" * 20)

        assert payload.key_hashes == (b"a" * 20, b"b" * 20)
        assert p.CertificateRequestPayload(CertificateEncoding.CRL, b"opaque").key_hashes == ()

    def test_digital_signature_layout(self):
        signature = p.DigitalSignature(bytes.fromhex("300506032b6570"), b"\x55" * 64)

        assert signature.to_wire() == bytes.fromhex("07 300506032b6570") + b"\x55" * 64
        assert p.DigitalSignature.from_wire(signature.to_wire()) == signature

    @pytest.mark.parametrize("data", [b"\x00sig", b"\x03abc", b"\x04abc"])
    def test_digital_signatures_lack_neither_algorithm_nor_signature(self, data):
        assert reason(p.DigitalSignature.from_wire, data) == "bad-length"
        assert reason(p.DigitalSignature.from_wire, b"") == "truncated"

    def test_authentication_data_is_not_shown(self):
        payload = p.AuthenticationPayload(AuthenticationMethod.SHARED_KEY, b"secret-mac")

        assert "secret" not in repr(payload)

    def test_a_value_too_large_for_its_field_is_not_sent(self):
        assert reason(p.KeyExchangePayload(0x10000, b"x").to_wire) == "field-overflow"


class TestNotify:
    def test_rekey_layout(self):
        payload = p.NotifyPayload(NotifyType.REKEY_SA, ProtocolId.ESP, bytes.fromhex("01020304"), b"d")

        assert payload.to_wire() == bytes.fromhex("03 04 4009 01020304") + b"d"
        assert not payload.is_error

    def test_invalid_key_exchange_names_a_group(self):
        payload = p.NotifyPayload.invalid_ke_payload(DiffieHellmanGroup.ECP256)

        assert payload.to_wire() == bytes.fromhex("00 00 0011 0013")
        assert payload.key_exchange_group() == DiffieHellmanGroup.ECP256
        assert payload.is_error
        assert reason(p.NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, data=b"\0").key_exchange_group) == "bad-length"

    def test_hash_algorithms_are_a_list_of_16_bit_numbers(self):
        payload = p.NotifyPayload.signature_hash_algorithms((HashAlgorithm.SHA2_256, HashAlgorithm.IDENTITY, 99))

        assert payload.to_wire() == bytes.fromhex("00 00 402f 0002 0005 0063")
        assert payload.hash_algorithms() == (HashAlgorithm.SHA2_256, HashAlgorithm.IDENTITY, 99)
        assert reason(p.NotifyPayload(16431, data=b"\0\2\0").hash_algorithms) == "bad-length"

    def test_use_assigned_home_address_is_number_42(self):
        assert p.NotifyPayload.from_wire(bytes.fromhex("0000002a")).type is NotifyType.USE_ASSIGNED_HOA


class TestDelete:
    def test_layouts(self):
        assert p.DeletePayload(ProtocolId.IKE).to_wire() == bytes.fromhex("01 00 0000")
        assert p.DeletePayload(ProtocolId.ESP, (b"abcd", b"efgh")).to_wire() == b"\x03\x04\x00\x02abcdefgh"

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"\x03\x04\x00", "truncated"),
            (b"\x01\x08\x00\x0112345678", "bad-spi-size"),
            (b"\x01\x00\x00\x01", "bad-spi-size"),
            (b"\x03\x08\x00\x0112345678", "bad-spi-size"),
            (b"\x03\x00\x00\x00", "bad-spi-size"),
            (b"\x09\x00\xff\xff", "bad-spi-size"),
            (b"\x03\x04\x00\x02abcd", "bad-length"),
            (b"\x03\x04\x00\x01abcdefgh", "bad-length"),
            (b"\x01\x00\x00\x00x", "bad-length"),
            (b"\x03\x04\xff\xff" + b"abcd" * 0xFFFF, "too-many"),
        ],
    )
    def test_sizes_and_counts_have_to_agree(self, body, expected):
        assert reason(p.DeletePayload.from_wire, body) == expected

    def test_spis_are_bounded(self):
        payload = p.DeletePayload(ProtocolId.ESP, (b"abcd",) * delete.MAX_SPIS)

        assert p.DeletePayload.from_wire(payload.to_wire()) == payload

    @pytest.mark.parametrize(
        "payload",
        [
            p.DeletePayload(ProtocolId.IKE, (b"12345678",)),
            p.DeletePayload(ProtocolId.ESP, (b"abc",)),
            p.DeletePayload(9, (b"abc", b"abcd")),
        ],
    )
    def test_spis_of_a_wrong_size_are_not_sent(self, payload):
        assert reason(payload.to_wire) == "bad-spi-size"


IPV6_SELECTOR = bytes.fromhex("08 87 0028 0500 05ff") + ADDRESS.packed * 2
IPV4_SELECTOR = bytes.fromhex("07 11 0010 0000 ffff c0000201 c00002ff")


def selectors(*encoded, count=None):
    return bytes((len(encoded) if count is None else count, 0, 0, 0)) + b"".join(encoded)


parse_tsi = p.TrafficSelectorInitiator.from_wire


class TestTrafficSelectors:
    def test_mobility_header_selector_layout(self):
        payload = p.TrafficSelectorInitiator((TrafficSelector(ADDRESS, ADDRESS, 135, 0x0500, 0x05FF),))

        assert payload.to_wire() == selectors(IPV6_SELECTOR)
        assert parse_tsi(payload.to_wire()) == payload

    def test_ipv4_ranges_are_kept_but_not_understood(self):
        parsed = parse_tsi(selectors(IPV4_SELECTOR, IPV6_SELECTOR))

        assert parsed.selectors[0] == p.UnknownSelector(7, 17, IPV4_SELECTOR[4:])
        assert parsed.ipv6_selectors == (parsed.selectors[1],)
        assert parsed.to_wire() == selectors(IPV4_SELECTOR, IPV6_SELECTOR)

    def test_opaque_ports_are_legal_and_match_nothing(self):
        body = selectors(bytes.fromhex("08 11 0028 ffff 0000") + ADDRESS.packed * 2)

        (selector,) = parse_tsi(body).ipv6_selectors

        assert not selector.matches(ADDRESS, 17, 0)
        assert p.TrafficSelectorInitiator((selector,)).to_wire() == body

    def test_a_list_may_be_empty(self):
        assert parse_tsi(selectors()) == p.TrafficSelectorInitiator(())

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"\x01\x00\x00", "truncated"),
            (selectors(IPV6_SELECTOR, count=0), "trailing-bytes"),
            (selectors(IPV6_SELECTOR, count=2), "truncated"),
            (selectors(IPV6_SELECTOR, IPV6_SELECTOR, count=1), "trailing-bytes"),
            (selectors(IPV6_SELECTOR[:-1]), "truncated"),
            (selectors(b"\x08\x87\x00\x27" + IPV6_SELECTOR[4:-1]), "bad-length"),
            (selectors(b"\x07\x87\x00\x28" + IPV6_SELECTOR[4:]), "bad-length"),
            (selectors(b"\x09\x00\x00\x03"), "bad-length"),
            (selectors(b"\x09\x00\x00\x05"), "truncated"),
            (selectors(bytes.fromhex("08 11 0028 0002 0001") + ADDRESS.packed * 2), "bad-range"),
            (selectors(bytes.fromhex("08 11 0028 0000 ffff") + ADDRESS.packed + bytes(16)), "bad-range"),
            (selectors(*[IPV6_SELECTOR] * (traffic_selector.MAX_SELECTORS + 1)), "too-many"),
        ],
    )
    def test_what_does_not_agree_is_refused(self, body, expected):
        assert reason(parse_tsi, body) == expected

    def test_the_two_sides_are_not_mixed_up(self):
        body = selectors(IPV6_SELECTOR)

        assert parse_tsi(body) != p.TrafficSelectorResponder.from_wire(body)


class TestConfiguration:
    def test_home_address_layout(self):
        attribute = p.ConfigurationAttribute.internal_ip6_address(ADDRESS, 64)
        payload = p.ConfigurationPayload(ConfigurationType.REPLY, (attribute,))

        assert payload.to_wire() == bytes.fromhex("02 000000 0008 0011") + ADDRESS.packed + b"\x40"
        assert attribute.parse_internal_ip6_address() == (ADDRESS, 64)

    def test_home_prefix_layout(self):
        prefix = IPv6Network("2001:db8:100::/64")
        attribute = p.ConfigurationAttribute.mip6_home_prefix(prefix, 3600)

        assert attribute.type == 16
        assert attribute.value == bytes.fromhex("00000e10") + prefix.network_address.packed + b"\x40"
        assert attribute.parse_mip6_home_prefix() == (prefix, 3600)

    def test_bits_beyond_the_prefix_are_ignored(self):
        value = bytes(4) + ADDRESS.packed + b"\x40"
        attribute = p.ConfigurationAttribute(ConfigurationAttributeType.MIP6_HOME_PREFIX, value)

        assert attribute.parse_mip6_home_prefix() == (IPv6Network("2001:db8:100::/64"), 0)

    def test_a_request_asks_with_empty_attributes(self):
        payload = p.ConfigurationPayload.from_wire(bytes.fromhex("01 000000 0008 0000 8010 0000"))

        assert payload == p.ConfigurationPayload(
            ConfigurationType.REQUEST,
            (
                p.ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS),
                p.ConfigurationAttribute(ConfigurationAttributeType.MIP6_HOME_PREFIX),
            ),
        )
        assert payload.first(16) == p.ConfigurationAttribute(16)
        assert payload.first(10) is None
        assert reason(payload.attributes[0].parse_internal_ip6_address) == "bad-length"

    @pytest.mark.parametrize(
        ("attribute", "method"),
        [
            (p.ConfigurationAttribute(8, bytes(16) + b"\x81"), "parse_internal_ip6_address"),
            (p.ConfigurationAttribute(16, bytes(20) + b"\xff"), "parse_mip6_home_prefix"),
        ],
    )
    def test_prefixes_are_no_longer_than_addresses(self, attribute, method):
        assert reason(getattr(attribute, method)) == "bad-prefix"

    @pytest.mark.parametrize("value", [bytes(15), bytes(16), bytes(18)])
    def test_attribute_lengths_are_checked_when_they_are_read(self, value):
        payload = p.ConfigurationPayload(2, (p.ConfigurationAttribute(8, value),))

        (attribute,) = p.ConfigurationPayload.from_wire(payload.to_wire()).attributes

        assert reason(attribute.parse_internal_ip6_address) == "bad-length"

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"\x01\x00\x00", "truncated"),
            (bytes.fromhex("01000000 0008"), "truncated"),
            (bytes.fromhex("01000000 0008 0002 ff"), "truncated"),
            (bytes(4) + bytes(4) * (configuration_module.MAX_ATTRIBUTES + 1), "too-many"),
        ],
    )
    def test_what_does_not_agree_is_refused(self, body, expected):
        assert reason(p.ConfigurationPayload.from_wire, body) == expected

    def test_an_attribute_type_is_15_bits(self):
        payload = p.ConfigurationPayload(1, (p.ConfigurationAttribute(0x8008),))

        assert reason(payload.to_wire) == "field-overflow"
