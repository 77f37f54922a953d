"""Proposals as text: what the words mean, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from control.ikev2.notation import parse_esp_proposal, parse_ike_proposal
from control.ikev2.numbers import DiffieHellmanGroup as Group
from control.ikev2.numbers import Prf
from control.ikev2.proposals import DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS, EspProposal, IkeProposal
from control.ipsec.algorithms import EncryptionAlgorithm, IntegrityAlgorithm

GCM, CBC = EncryptionAlgorithm.AES_GCM_16, EncryptionAlgorithm.AES_CBC


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        (
            "aes128gcm16-prfsha256-x25519",
            IkeProposal(((GCM, 128),), (), (Prf.HMAC_SHA2_256,), (Group.CURVE25519,)),
        ),
        (
            "aes256-sha512-modp4096",
            IkeProposal(
                ((CBC, 256),), (IntegrityAlgorithm.HMAC_SHA2_512_256,), (Prf.HMAC_SHA2_512,), (Group.MODP4096,)
            ),
        ),
        (
            "ecp521-chacha20poly1305-prfsha384-curve25519",
            IkeProposal(
                ((EncryptionAlgorithm.CHACHA20_POLY1305, 0),),
                (),
                (Prf.HMAC_SHA2_384,),
                (Group.ECP521, Group.CURVE25519),
            ),
        ),
    ],
)
def test_ike(text, meaning):
    assert parse_ike_proposal(text) == meaning


def test_the_defaults_in_words():
    prfs_and_groups = "prfsha256-prfsha384-prfsha512-x25519-ecp256-ecp384"
    texts = (f"aes128gcm16-aes256gcm16-{prfs_and_groups}", f"aes128-aes256-sha256-sha384-sha512-{prfs_and_groups}")
    assert tuple(map(parse_ike_proposal, texts)) == DEFAULT_IKE_PROPOSALS
    texts = ("aes128gcm16-aes256gcm16", "aes128-aes256-sha256-sha384-sha512")
    assert tuple(map(parse_esp_proposal, texts)) == DEFAULT_ESP_PROPOSALS


def test_esp_with_forward_secrecy():
    assert parse_esp_proposal("aes256gcm16-ecp384") == EspProposal(((GCM, 256),), (), (Group.ECP384,))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("aes128gcm16-prfsha256", "no Diffie-Hellman group"),
        ("aes128gcm16-x25519", "no pseudorandom function"),
        ("prfsha256-x25519", "no encryption algorithm"),
        ("aes128-prfsha256-x25519", "no integrity algorithm"),
        ("aes128gcm16-sha256-prfsha256-x25519", "leave the integrity algorithm out"),
        ("aes128gcm16-aes128-prfsha256-x25519", "make it two proposals"),
        ("aes128gcm16-prfsha256-x25519-x25519", "named twice"),
        ("aes128gcm16-prfsha256-x25159", '"x25159" is no algorithm that belongs here, x25519 is'),
        ("3des-sha1-modp1024", '"3des" is no algorithm'),
        ("aes128gcm16-prfsha1-x25519", '"prfsha1" is no algorithm'),
        ("", '"" is no algorithm'),
        ("x25519-" * 100, "longer than 255"),
    ],
)
def test_what_is_wrong_with_an_ike_proposal(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_ike_proposal(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("aes128gcm16-prfsha256", '"prfsha256" is no algorithm'), ("aes128", "no integrity"), ("ecp256", "no encryption")],
)
def test_what_is_wrong_with_an_esp_proposal(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        parse_esp_proposal(text)
