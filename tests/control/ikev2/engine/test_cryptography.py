"""Known answers: HKDF for prf+, the groups of RFC 5903 and RFC 8031, signatures of RFC 4754 and RFC 7427."""

from __future__ import annotations

import hmac
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from control.ikev2 import cipher
from control.ikev2.authentication import (
    AuthenticationError,
    PaddedKey,
    verify_signature,
)
from control.ikev2.cipher import KeptStates, ProtectionError, make_cipher
from control.ikev2.dh import Curve25519KeyPair, EcpKeyPair, InvalidPublicValue, KeyPairPool, generate
from control.ikev2.keys import IkeKeys, child_keys
from control.ikev2.numbers import DiffieHellmanGroup, HashAlgorithm, Prf
from control.ikev2.payloads import AuthenticationPayload
from control.ikev2.prf import prf, prf_plus, prf_size
from control.ikev2.proposals import IkeSuite
from control.ikev2.signature_schemes import SignatureKind, SignatureScheme, pss_scheme
from control.ipsec.algorithms import (
    AES_128_CBC_SHA256,
    AES_128_GCM,
    AES_256_GCM,
    CipherSuite,
    EncryptionAlgorithm,
    IntegrityAlgorithm,
)
from control.wire import WireError


def test_extract_and_expand_are_those_of_rfc_5869_appendix_a1():
    nonces = bytes(range(0x0D))
    seed = prf(Prf.HMAC_SHA2_256, nonces, b"\x0b" * 22)
    assert seed.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    material = prf_plus(Prf.HMAC_SHA2_256, seed, bytes(range(0xF0, 0xFA)), 42)
    assert material.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [(Prf.HMAC_SHA2_256, "sha256"), (Prf.HMAC_SHA2_384, "sha384"), (Prf.HMAC_SHA2_512, "sha512")],
)
def test_prf_plus_is_the_iteration_of_rfc_7296_section_2_13(algorithm, digest):
    key, seed, expected, block = b"key", b"S" * 300, b"", b""
    for number in range(1, 6):
        block = hmac.new(key, block + seed + bytes((number,)), digest).digest()
        expected += block
    assert prf_plus(algorithm, key, seed, len(expected)) == expected
    assert prf(algorithm, key, seed) == hmac.new(key, seed, digest).digest()
    assert prf_size(algorithm) == len(block)


@pytest.mark.parametrize("algorithm", [Prf.HMAC_SHA2_256, Prf.HMAC_SHA2_384, Prf.HMAC_SHA2_512])
@pytest.mark.parametrize("size", [0, 1, 20, 63, 64, 65, 127, 128, 129, 300])
def test_the_prf_is_hmac_for_keys_of_any_size(algorithm, size):
    digest = {Prf.HMAC_SHA2_256: "sha256", Prf.HMAC_SHA2_384: "sha384", Prf.HMAC_SHA2_512: "sha512"}[algorithm]
    key = random.Random(size).randbytes(size)
    for data in (b"", b"Hi There", bytes(range(256)) * 3):
        assert prf(algorithm, key, data) == hmac.digest(key, data, digest)


def test_ike_keys_are_cut_from_the_stream_in_order():
    suite = IkeSuite(AES_128_CBC_SHA256, Prf.HMAC_SHA2_256, DiffieHellmanGroup.CURVE25519)
    keys = IkeKeys.derive(suite, b"g^ir", b"i" * 32, b"r" * 32, b"s" * 16)
    seed = hmac.new(b"i" * 32 + b"r" * 32, b"g^ir", "sha256").digest()
    stream = prf_plus(Prf.HMAC_SHA2_256, seed, b"i" * 32 + b"r" * 32 + b"s" * 16, 32 * 3 + 16 * 2 + 64)
    parts = (keys.sk_d, keys.sk_ai, keys.sk_ar, keys.sk_ei, keys.sk_er, keys.sk_pi, keys.sk_pr)
    assert [len(part) for part in parts] == [32, 32, 32, 16, 16, 32, 32]
    assert b"".join(parts) == stream
    assert "sk_d" not in repr(keys)


def test_child_keys_of_the_initiator_come_first():
    encryption_i, integrity_i, encryption_r, integrity_r = child_keys(
        Prf.HMAC_SHA2_256, b"d" * 32, AES_128_CBC_SHA256, b"secret" + b"i" * 16 + b"r" * 16
    )
    stream = prf_plus(Prf.HMAC_SHA2_256, b"d" * 32, b"secret" + b"i" * 16 + b"r" * 16, 96)
    assert encryption_i + integrity_i + encryption_r + integrity_r == stream
    assert (len(encryption_i), len(integrity_i)) == (16, 32)


RFC_5903 = {
    DiffieHellmanGroup.ECP256: (
        ec.SECP256R1(),
        "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
        "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180"
        "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
        "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
        "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63"
        "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
        "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
    ),
    DiffieHellmanGroup.ECP384: (
        ec.SECP384R1(),
        "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
        "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA"
        "9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
        "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC",
        "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571"
        "DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
        "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
    ),
}


@pytest.mark.parametrize("group", RFC_5903)
def test_ecp_groups_are_those_of_rfc_5903_section_8(group):
    curve, private_i, public_i, private_r, public_r, secret = RFC_5903[group]
    initiator = EcpKeyPair(group, ec.derive_private_key(int(private_i, 16), curve))
    responder = EcpKeyPair(group, ec.derive_private_key(int(private_r, 16), curve))
    assert initiator.public.hex().upper() == public_i
    assert responder.public.hex().upper() == public_r
    assert initiator.exchange(responder.public).hex().upper() == secret
    assert responder.exchange(initiator.public).hex().upper() == secret


def test_curve25519_is_the_function_of_rfc_7748_section_5_2():
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    pair = Curve25519KeyPair(x25519.X25519PrivateKey.from_private_bytes(scalar))
    assert pair.exchange(point).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


@pytest.mark.parametrize(
    ("group", "value"),
    [
        (DiffieHellmanGroup.CURVE25519, bytes(32)),
        (DiffieHellmanGroup.CURVE25519, b"x" * 31),
        (DiffieHellmanGroup.ECP256, bytes(64)),
        (DiffieHellmanGroup.ECP256, b"\x01" * 64),
        (DiffieHellmanGroup.ECP256, b""),
        (DiffieHellmanGroup.ECP384, b"\x01" * 95),
    ],
)
def test_unusable_public_values_are_refused(group, value):
    with pytest.raises(InvalidPublicValue):
        generate(group).exchange(value)


def test_a_pool_gives_every_key_pair_once_and_makes_more_when_empty():
    pool = KeyPairPool(limit=3)
    assert pool.refill(2) == 2
    assert pool.refill(5) == 1
    taken = {pool.take(DiffieHellmanGroup.CURVE25519).public for _ in range(5)}
    assert (len(taken), len(pool)) == (5, 0)
    pool.refill(1)
    assert pool.take(DiffieHellmanGroup.ECP256).group is DiffieHellmanGroup.ECP256
    assert len(pool) == 1


RFC_4754 = [
    (
        9,
        ec.SECP256R1(),
        "2442A5CC0ECD015FA3CA31DC8E2BBC70BF42D60CBCA20085E0822CB04235E970",
        "6FC98BD7E50211A4A27102FA3549DF79EBCB4BF246B80945CDDFE7D509BBFD7D",
        "CB28E0999B9C7715FD0A80D8E47A77079716CBBF917DD72E97566EA1C066957C"
        "86FA3BB4E26CAD5BF90B7F81899256CE7594BB1EA0C89212748BFF3B3D5B0315",
    ),
    (
        10,
        ec.SECP384R1(),
        "96281BF8DD5E0525CA049C048D345D3082968D10FEDF5C5ACA0C64E6465A97EA5CE10C9DFEC2179741571072 1F437922",
        "447688BA94708EB6E2E4D59F6AB6D7EDFF9301D249FE49C33096655F5D502FAD3D383B91C5E7EDAA2B714CC9 9D5743CA",
        "FB017B914E29149432D8BAC29A514640B46F53DDAB2C69948084E2930F1C8F7E08E07C9C63F2D21A07DCB56A6AF56EB3"
        "B263A1305E057F984D38726A1B46874109F417BCA112674C528262A40A629AF1CBB9F516CE0FA7D2FF630863A00E8B9F",
    ),
]


@pytest.mark.parametrize(("method", "curve", "x", "y", "signature"), RFC_4754)
def test_classic_ecdsa_verifies_the_signatures_of_rfc_4754_section_8(method, curve, x, y, signature):
    numbers = ec.EllipticCurvePublicNumbers(int(x.replace(" ", ""), 16), int(y.replace(" ", ""), 16), curve)
    proof = AuthenticationPayload(method, bytes.fromhex(signature))
    verify_signature(proof, numbers.public_key(), b"abc")
    for octets, data in ((b"abd", proof.data), (b"abc", proof.data[:-1]), (b"abc", proof.data[:-1] + b"?")):
        with pytest.raises(AuthenticationError):
            verify_signature(AuthenticationPayload(method, data), numbers.public_key(), octets)


def test_shared_key_code_is_that_of_rfc_7296_section_2_15():
    padded = hmac.new(b"key", b"Key Pad for IKEv2", "sha256").digest()
    key = PaddedKey(Prf.HMAC_SHA2_256, b"key")
    proof = key.authenticate(b"octets")
    assert proof.data == hmac.new(padded, b"octets", "sha256").digest()
    key.verify(proof, b"octets")
    with pytest.raises(AuthenticationError, match="wrong-shared-key"):
        PaddedKey(Prf.HMAC_SHA2_256, b"kez").verify(proof, b"octets")
    with pytest.raises(AuthenticationError, match="wrong-method"):
        key.verify(AuthenticationPayload(14, proof.data), b"octets")


SCHEMES = [
    SignatureScheme(SignatureKind.RSA_PKCS1, HashAlgorithm.SHA2_256),
    SignatureScheme(SignatureKind.RSA_PKCS1, HashAlgorithm.SHA2_512),
    SignatureScheme(SignatureKind.ECDSA, HashAlgorithm.SHA2_256),
    SignatureScheme(SignatureKind.ECDSA, HashAlgorithm.SHA2_384),
    SignatureScheme(SignatureKind.ED25519, HashAlgorithm.IDENTITY),
    pss_scheme(HashAlgorithm.SHA2_256),
    pss_scheme(HashAlgorithm.SHA2_384),
    pss_scheme(HashAlgorithm.SHA2_512),
]
PSS_SHA256 = bytes.fromhex(
    "304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108"
    "300d06096086480165030402010500a203020120a303020101"
)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_algorithm_identifiers_round_trip(scheme):
    assert SignatureScheme.from_algorithm_identifier(scheme.algorithm_identifier) == scheme


def test_algorithm_identifiers_are_those_of_rfc_7427_appendix_a():
    assert SCHEMES[0].algorithm_identifier.hex() == "300d06092a864886f70d01010b0500"
    assert SCHEMES[3].algorithm_identifier.hex() == "300a06082a8648ce3d040303"
    assert SCHEMES[4].algorithm_identifier.hex() == "300506032b6570"
    assert SignatureScheme.from_algorithm_identifier(PSS_SHA256) == pss_scheme(HashAlgorithm.SHA2_256)


@pytest.mark.parametrize(
    "identifier",
    [
        "300d06092a864886f70d0101050500",  # sha1WithRSAEncryption
        "300d06092a864886f70d01010a3000",  # RSASSA-PSS with empty parameters: SHA-1
        "303e06092a864886f70d01010a3031a00b300906052b0e03021a0500a118301606092a864886f70d010108300906052b0e03021a0500"
        "a203020114a303020101",  # RSASSA-PSS with default parameters: SHA-1
        "30090607 2a8648ce3d0401",  # ecdsa-with-SHA1
        "3000",
        "30",
    ],
)
def test_sha1_and_unknown_schemes_are_refused(identifier):
    with pytest.raises(WireError):
        SignatureScheme.from_algorithm_identifier(bytes.fromhex(identifier))


@given(st.integers(0, len(PSS_SHA256) - 1), st.integers(0, 255), st.integers(0, len(PSS_SHA256)))
def test_mutated_pss_parameters_give_a_scheme_or_the_typed_error(position, value, length):
    mutated = bytearray(PSS_SHA256)
    mutated[position] = value
    try:
        scheme = SignatureScheme.from_algorithm_identifier(bytes(mutated[:length]))
    except WireError:
        return
    assert scheme.kind is SignatureKind.RSA_PSS
    assert scheme.hash is HashAlgorithm.SHA2_256


SUITES = [
    AES_128_GCM,
    AES_256_GCM,
    AES_128_CBC_SHA256,
    CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_384_192),
    CipherSuite(EncryptionAlgorithm.AES_CBC, 256, IntegrityAlgorithm.HMAC_SHA2_512_256),
]


def ciphers(suite, seed=0):
    source = random.Random(seed)
    sizes = (suite.encryption_key_size, suite.integrity_key_size)
    keys = [tuple(source.randbytes(size) for size in sizes) for _ in range(2)]
    rest = source.randbytes, KeptStates(1)
    return make_cipher(suite, *keys, *rest), make_cipher(suite, *reversed(keys), *rest)


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_what_one_side_seals_only_the_other_opens(suite):
    mine, theirs = ciphers(suite)
    for size in (*range(40), 1000):
        plaintext = bytes(range(256)) * 4
        body = mine.seal(plaintext[:size], b"header")
        assert len(body) == mine.body_size(size)
        assert theirs.open(body, b"header") == plaintext[:size]
        with pytest.raises(ProtectionError):
            theirs.open(body, b"heades")
        with pytest.raises(ProtectionError):
            mine.open(body, b"header")


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_no_message_uses_the_iv_of_another(suite):
    mine, _ = ciphers(suite)
    bodies = [mine.seal(b"same", b"") for _ in range(50)]
    assert len({body[:8] for body in bodies}) == 50
    assert len({body[8:] for body in bodies}) == 50


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_truncated_or_mutated_bodies_are_refused(suite):
    mine, theirs = ciphers(suite)
    body = mine.seal(b"payloads of a message", b"header")
    for length in range(len(body)):
        with pytest.raises(ProtectionError):
            theirs.open(body[:length], b"header")
    for position in range(len(body)):
        mutated = bytearray(body)
        mutated[position] ^= 0x40
        with pytest.raises(ProtectionError):
            theirs.open(bytes(mutated), b"header")


def test_padding_longer_than_the_message_is_refused():
    sender = AESGCM(bytes(16))
    theirs = make_cipher(AES_128_GCM, (bytes(20), b""), (bytes(20), b""), random.Random(0).randbytes, KeptStates(1))
    iv = bytes(8)
    padded = iv + sender.encrypt(bytes(4) + iv, b"ab\x02", b"")
    assert theirs.open(padded, b"") == b""
    with pytest.raises(ProtectionError, match="bad-padding"):
        theirs.open(iv + sender.encrypt(bytes(4) + iv, b"ab\x03", b""), b"")


def test_the_ciphers_that_were_used_last_keep_their_states(monkeypatch):
    made = []

    def make(key):
        made.append(key)
        return AESGCM(key)

    monkeypatch.setattr(cipher, "AESGCM", make)
    kept = KeptStates(2)
    keys = [(bytes((number,)) * 20, b"") for number in range(3)]
    first, second, third = (make_cipher(AES_128_GCM, key, key, random.Random(0).randbytes, kept) for key in keys)
    for each in (first, second) * 2:
        each.seal(b"payloads", b"")
    assert made == [bytes(16), bytes((1,)) * 16]
    body = third.seal(b"payloads", b"")
    second.seal(b"payloads", b"")
    assert len(made) == 3
    first.seal(b"payloads", b"")
    assert made[3:] == [bytes(16)]
    third.idle()
    assert third.open(body, b"") == b"payloads"
    assert made[4:] == [bytes((2,)) * 16]
