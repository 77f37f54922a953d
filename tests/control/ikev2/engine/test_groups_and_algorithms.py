"""Every Diffie-Hellman group and cipher that can be configured: handshakes, wrong guesses, worthless public values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.ikev2 import dh, modp
from control.ikev2.dh import InvalidPublicValue, generate
from control.ikev2.notation import parse_esp_proposal, parse_ike_proposal
from control.ikev2.numbers import DiffieHellmanGroup
from control.ikev2.proposals import DEFAULT_IKE_PROPOSALS

GROUPS = [group for group in DiffieHellmanGroup if dh.is_supported(group)]
MODP = [DiffieHellmanGroup(number) for number in sorted(modp.GROUPS)]
SIZES = {14: (256, 256), 15: (384, 384), 16: (512, 512), 19: (64, 32), 20: (96, 48), 21: (132, 66), 31: (32, 32)}


def offering(*groups):
    return (replace(DEFAULT_IKE_PROPOSALS[0], groups=groups),)


def test_the_supported_groups_are_those_of_the_documentation():
    assert [int(group) for group in GROUPS] == list(SIZES)


@pytest.mark.parametrize("group", GROUPS)
def test_sizes_and_agreement(group):
    mine, yours = generate(group), generate(group)
    secret = mine.exchange(yours.public)
    assert secret == yours.exchange(mine.public)
    assert (len(mine.public), len(secret)) == SIZES[group]
    assert mine.public != yours.public


@pytest.mark.parametrize("group", GROUPS)
def test_the_responder_asks_for_its_group_and_gets_it(pair, group):
    first = DiffieHellmanGroup.ECP256 if group is DiffieHellmanGroup.CURVE25519 else DiffieHellmanGroup.CURVE25519
    pair.agent.configure(ike_proposals=offering(first, *(each for each in GROUPS if each is not first)))
    pair.node.configure(ike_proposals=offering(group))
    sa, _ = pair.established()
    assert sa.suite.group is group
    assert pair.node.endpoint.statistics["refused-invalid-ke-payload"] == 1


@pytest.mark.parametrize("group", GROUPS)
def test_public_values_of_another_length_are_refused(group):
    pair, value = generate(group), generate(group).public
    for wrong in (b"", value[:-1], b"\0" + value, value + b"\0"):
        with pytest.raises(InvalidPublicValue):
            pair.exchange(wrong)


@pytest.mark.parametrize("group", MODP)
def test_values_that_would_give_the_secret_away_are_refused(group):
    pair, prime = generate(group), modp.prime(group)
    for value in (0, 1, prime - 1, prime, prime + 1, (1 << prime.bit_length()) - 1):
        with pytest.raises(InvalidPublicValue):
            pair.exchange(value.to_bytes(modp.size(group), "big"))
    assert pair.exchange((2).to_bytes(modp.size(group), "big")) == pair.public


@pytest.mark.parametrize("group", MODP)
def test_the_moduli_are_safe_primes_with_the_ends_of_rfc_3526(group):
    prime = modp.prime(group)
    for number in (prime, (prime - 1) // 2):
        assert pow(3, number - 1, number) == 1
    ends = (2**64 - 1).to_bytes(8, "big")
    encoded = prime.to_bytes(modp.size(group), "big")
    assert (encoded[:8], encoded[-8:]) == (ends, ends)
    # 2 has the order (p - 1) / 2, as (p mod 8) is 7.
    assert pow(2, (prime - 1) // 2, prime) == 1


@pytest.mark.parametrize("group", MODP)
def test_exponents_have_their_highest_bit_and_fit_their_size(group):
    size = modp.exponent_size(group)
    for random in (bytes(size), b"\xff" * size):
        assert modp.exponent(group, random).bit_length() in range(8 * size - 8, 8 * size + 1)


@pytest.mark.parametrize(
    "text", ["chacha20poly1305-prfsha256-x25519", "aes192gcm16-prfsha512-ecp521", "aes192-sha384-ecp384"]
)
def test_configured_ciphers_protect_ike_messages_and_esp(pair, text):
    esp = "-".join(word for word in text.split("-") if not word.startswith(("prf", "ecp", "x")))
    changes = {"ike_proposals": (parse_ike_proposal(text),), "esp_proposals": (parse_esp_proposal(esp),)}
    for peer in (pair.agent, pair.node):
        peer.configure(**changes)
    sa, other = pair.established()
    assert (sa.suite.cipher.encryption, sa.suite.cipher.key_bits) == changes["ike_proposals"][0].encryption[0]
    (child,), (twin,) = sa.children.values(), other.children.values()
    assert child.outbound_encryption_key == twin.inbound_encryption_key
    assert len(child.outbound_encryption_key) == child.suite.encryption_key_size
    assert child.suite.is_complete


@pytest.mark.parametrize(("word", "rows"), [("aes128gcm16", 1), ("chacha20poly1305", 0)])
def test_keys_that_wireshark_cannot_use_are_not_logged(pair, word, rows):
    told = []
    pair.agent.configure(
        ike_proposals=(parse_ike_proposal(f"{word}-prfsha256-x25519"),), key_log=lambda *row: told.append(row)
    )
    pair.node.configure(ike_proposals=pair.agent.configuration.ike_proposals)
    pair.established()
    assert len(told) == rows
