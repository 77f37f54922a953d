"""ESP against itself: round trips, tampering, replay, exhaustion; and against the vectors of the RFCs."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.ipsec.algorithms import (
    AES_128_CBC_SHA256,
    AES_128_GCM,
    AES_256_GCM,
    NULL_SHA256,
    CipherSuite,
    EncryptionAlgorithm,
    IntegrityAlgorithm,
)
from control.ipsec.errors import EspError, IpsecBackendError
from control.ipsec.esp import LAST_SEQUENCE_NUMBER, EspInbound, EspOutbound, read_spi
from control.ipsec.esp_cipher import Integrity
from control.ipsec.security_association import SecurityAssociation
from tests.control.ipsec.associations import association_between

MakeAssociation = Callable[..., SecurityAssociation]
RandomBytes = Callable[[int], bytes]

PAYLOADS = st.binary(max_size=1500)


def reason_of(inbound: EspInbound, packet: bytes) -> str:
    with pytest.raises(EspError) as caught:
        inbound.unprotect(packet)
    return caught.value.reason


def test_payloads_of_every_length_come_back_and_are_aligned(
    suite: CipherSuite, make_association: MakeAssociation, random_bytes: RandomBytes
) -> None:
    association = make_association(suite)
    outbound, inbound = EspOutbound(association, random_bytes), EspInbound(association)
    iv_size = {EncryptionAlgorithm.AES_CBC: 16, EncryptionAlgorithm.NULL: 0}
    block = 16 if suite.encryption is EncryptionAlgorithm.AES_CBC else 4
    for length in range(66):
        payload = bytes(range(length))
        packet = outbound.protect(payload, 135)
        assert read_spi(packet) == association.spi
        assert int.from_bytes(packet[4:8], "big") == length + 1
        encrypted = len(packet) - 8 - iv_size.get(suite.encryption, 8) - suite.integrity_check_size
        assert encrypted % block == 0
        assert length + 2 <= encrypted < length + 2 + block
        assert inbound.unprotect(packet) == (135, payload)


def test_every_flipped_bit_is_noticed_and_does_no_harm(
    suite: CipherSuite, make_association: MakeAssociation, random_bytes: RandomBytes
) -> None:
    association = make_association(suite)
    packet = EspOutbound(association, random_bytes).protect(b"a binding update", 135)
    inbound = EspInbound(association)
    for bit in range(len(packet) * 8):
        flipped = bytearray(packet)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        assert reason_of(inbound, bytes(flipped)) in ("bad-icv", "unknown-spi", "replay")
    assert inbound.unprotect(packet) == (135, b"a binding update")


def test_every_truncation_is_refused(
    suite: CipherSuite, make_association: MakeAssociation, random_bytes: RandomBytes
) -> None:
    association = make_association(suite)
    packet = EspOutbound(association, random_bytes).protect(b"a binding update", 135)
    inbound = EspInbound(association)
    for length in range(len(packet)):
        assert reason_of(inbound, packet[:length]) in ("truncated", "bad-length", "bad-icv")


@given(st.binary(max_size=200), st.sampled_from([AES_128_GCM, AES_128_CBC_SHA256, NULL_SHA256]))
def test_arbitrary_bytes_give_only_the_typed_error(data: bytes, suite: CipherSuite) -> None:
    association = _association(suite)
    inbound = EspInbound(association)
    for packet in (data, association.spi.to_bytes(4, "big") + data):
        with pytest.raises(EspError):
            inbound.unprotect(packet)


@given(PAYLOADS, st.integers(0, 255).filter(lambda number: number != 59), st.randoms(use_true_random=False))
def test_what_goes_in_comes_out(payload: bytes, next_header: int, source: random.Random) -> None:
    for suite in (AES_256_GCM, AES_128_CBC_SHA256, NULL_SHA256):
        association = _association(suite)
        packet = EspOutbound(association, source.randbytes).protect(payload, next_header)
        assert EspInbound(association).unprotect(packet) == (next_header, payload)


@given(st.permutations(range(40)), st.lists(st.integers(0, 39), max_size=40))
def test_packets_in_any_order_pass_once(order: list[int], duplicates: list[int]) -> None:
    association = _association(AES_128_GCM)
    outbound, inbound = EspOutbound(association, random.Random(1).randbytes), EspInbound(association)
    packets = [outbound.protect(bytes([number]), 135) for number in range(40)]
    for number in order:
        assert inbound.unprotect(packets[number]) == (135, bytes([number]))
    for number in duplicates:
        assert reason_of(inbound, packets[number]) == "replay"


def test_a_packet_left_of_the_window_is_too_old(make_association: MakeAssociation, random_bytes: RandomBytes) -> None:
    association = make_association(AES_128_GCM, replay_window=32)
    outbound, inbound = EspOutbound(association, random_bytes), EspInbound(association)
    packets = [outbound.protect(b"", 135) for _ in range(33)]
    inbound.unprotect(packets[32])
    assert reason_of(inbound, packets[0]) == "too-old"
    assert inbound.unprotect(packets[1]) == (135, b"")


def test_forged_packets_do_not_move_the_window(make_association: MakeAssociation, random_bytes: RandomBytes) -> None:
    association = make_association(AES_128_GCM)
    packet = EspOutbound(association, random_bytes).protect(b"genuine", 135)
    inbound = EspInbound(association)
    forged = packet[:4] + LAST_SEQUENCE_NUMBER.to_bytes(4, "big") + packet[8:]
    assert reason_of(inbound, forged) == "bad-icv"
    assert inbound.unprotect(packet) == (135, b"genuine")


def test_sequence_numbers_end_instead_of_starting_again(
    suite: CipherSuite, make_association: MakeAssociation, random_bytes: RandomBytes
) -> None:
    association = make_association(suite)
    outbound, inbound = EspOutbound(association, random_bytes), EspInbound(association)
    outbound.sequence_number = LAST_SEQUENCE_NUMBER - 1
    assert inbound.unprotect(outbound.protect(b"last", 135)) == (135, b"last")
    for _ in range(2):
        with pytest.raises(EspError) as caught:
            outbound.protect(b"one too many", 135)
        assert caught.value.reason == "sequence-exhausted"


def test_without_a_replay_window_numbers_start_again_and_repeat(make_association: MakeAssociation) -> None:
    association = make_association(AES_128_CBC_SHA256, replay_window=0)
    outbound, inbound = EspOutbound(association, random.Random(3).randbytes), EspInbound(association)
    outbound.sequence_number = LAST_SEQUENCE_NUMBER - 1
    packets = [outbound.protect(b"payload", 135) for _ in range(3)]
    assert [int.from_bytes(packet[4:8], "big") for packet in packets] == [LAST_SEQUENCE_NUMBER, 0, 1]
    for packet in (*packets, *packets):
        assert inbound.unprotect(packet) == (135, b"payload")
    assert reason_of(inbound, packets[0][:-1] + bytes([packets[0][-1] ^ 1])) == "bad-icv"


def test_gcm_is_not_to_be_had_without_a_replay_window(make_association: MakeAssociation) -> None:
    with pytest.raises(IpsecBackendError) as caught:
        make_association(AES_128_GCM, replay_window=0)
    assert caught.value.reason == "bad-suite"


def test_gcm_never_uses_an_iv_twice_and_cbc_takes_random_ones(make_association: MakeAssociation) -> None:
    gcm = EspOutbound(make_association(AES_128_GCM), _no_randomness)
    assert [gcm.protect(b"", 135)[8:16] for _ in range(3)] == [bytes(7) + bytes([n]) for n in (1, 2, 3)]
    cbc = EspOutbound(make_association(AES_128_CBC_SHA256), lambda size: b"\x5a" * size)
    assert cbc.protect(b"", 135)[8:24] == b"\x5a" * 16


@pytest.mark.parametrize(
    ("trailer", "reason"),
    [
        (b"\0\0\0\0" + b"\x01\x03\x02\x87", "bad-padding"),  # padding not 1, 2
        (b"\x02\x02\x02\x87", "bad-padding"),
        (b"\0\0\xff\x87", "bad-padding"),  # longer than the packet
        (b"\x01\x02\x02\x3b", "dummy-packet"),
    ],
)
def test_authentic_packets_with_an_odd_trailer(make_association: MakeAssociation, trailer: bytes, reason: str) -> None:
    association = make_association(NULL_SHA256)
    content = association.spi.to_bytes(4, "big") + b"\0\0\0\x01" + trailer
    icv = hmac.new(association.integrity_key, content, hashlib.sha256).digest()[:16]
    assert reason_of(EspInbound(association), content + icv) == reason


@pytest.mark.parametrize(
    ("spi", "sequence_number", "key", "iv", "payload", "encrypted"),
    [
        (
            0x4321,
            1,
            "90d382b410eeba7ad938c46cec1a82bf",
            "e96e8c08ab465763fd098d45dd3ff893",
            "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617"
            "18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637",
            "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856"
            "a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a"
            "a269add047ad2d5913ac19b7cfbad4a6",
        ),
        (
            0x4321,
            8,
            "90d382b410eeba7ad938c46cec1a82bf",
            "69d08df7d203329db093fc4924e5bd80",
            "0800b5e8a80a0500a69c083d0b660e0077777777777777777777777777777777"[:56],
            "f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75",
        ),
    ],
)
def test_rfc_3602_transport_mode_packets(
    make_association: MakeAssociation,
    spi: int,
    sequence_number: int,
    key: str,
    iv: str,
    payload: str,
    encrypted: str,
) -> None:
    """RFC 3602 section 4, cases 5 and 6, which carry no integrity check value: ours follows theirs."""
    association = make_association(AES_128_CBC_SHA256, spi=spi, encryption_key=bytes.fromhex(key))
    outbound = EspOutbound(association, lambda size: bytes.fromhex(iv)[:size])
    outbound.sequence_number = sequence_number - 1
    packet = outbound.protect(bytes.fromhex(payload), 1)
    assert packet[:-16].hex() == f"{spi:08x}{sequence_number:08x}{iv}{encrypted}"


def test_gcm_packet_of_draft_mcgrew_gcm_test(make_association: MakeAssociation) -> None:
    """AES-256-GCM, third test case of draft-mcgrew-gcm-test-01."""
    association = make_association(
        AES_256_GCM,
        spi=0x4A2CBFE3,
        encryption_key=bytes.fromhex("abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344"),
    )
    packet = bytes.fromhex(
        "4a2cbfe300000002"
        "0102030405060708"
        "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763"
        "748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49"
        "15956c96"
    )
    payload = "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b401010402"
    assert EspInbound(association).unprotect(packet) == (1, bytes.fromhex(payload))


@pytest.mark.parametrize(
    ("algorithm", "key", "data", "expected"),
    [
        (
            IntegrityAlgorithm.HMAC_SHA2_256_128,
            b"\x0b" * 32,
            b"Hi There",
            "198a607eb44bfbc69903a0f1cf2bbdc5",
        ),
        (
            IntegrityAlgorithm.HMAC_SHA2_256_128,
            bytes(range(1, 33)),
            b"\xcd" * 50,
            "372efcf9b40b35c2115b1346903d2ef4",
        ),
        (
            IntegrityAlgorithm.HMAC_SHA2_384_192,
            b"Jefe" * 12,
            b"what do ya want for nothing?",
            "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d",
        ),
        (
            IntegrityAlgorithm.HMAC_SHA2_512_256,
            b"\x0b" * 64,
            b"Hi There",
            "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
        ),
    ],
)
def test_rfc_4868_vectors(algorithm: IntegrityAlgorithm, key: bytes, data: bytes, expected: str) -> None:
    assert Integrity(algorithm, len(expected) // 2).check_value(key, data).hex() == expected


def _no_randomness(size: int) -> bytes:
    raise AssertionError("AES-GCM needs no random IV")


def _association(suite: CipherSuite) -> SecurityAssociation:
    """As the fixture makes them; Hypothesis tests take no function-scoped fixtures."""
    ends = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:100::17")
    return association_between(0x1234ABCD, *ends, suite, protocol=0)
