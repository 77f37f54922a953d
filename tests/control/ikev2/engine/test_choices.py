"""Which of the offered proposals a responder chooses, and which answers an initiator accepts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.ikev2.choices import choose_esp, choose_ike
from control.ikev2.numbers import DiffieHellmanGroup, ProtocolId, TransformType
from control.ikev2.offers import EspOffer, IkeOffer
from control.ikev2.payloads import Proposal, SecurityAssociationPayload, Transform, TransformAttribute
from control.ikev2.proposals import DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS, EspProposal
from control.ipsec.algorithms import AES_128_CBC_SHA256, AES_128_GCM, AES_256_GCM

ENCRYPTION, PRF, INTEGRITY, GROUP, ESN = TransformType
GCM_128, GCM_256, CBC_128 = (
    Transform(ENCRYPTION, 20, 128),
    Transform(ENCRYPTION, 20, 256),
    Transform(ENCRYPTION, 12, 128),
)
SHA256_PRF, SHA256_HMAC, NO_HMAC = Transform(PRF, 5), Transform(INTEGRITY, 12), Transform(INTEGRITY, 0)
X25519, P256, NO_GROUP = Transform(GROUP, 31), Transform(GROUP, 19), Transform(GROUP, 0)
SHORT, EXTENDED = Transform(ESN, 0), Transform(ESN, 1)
CURVE25519 = DiffieHellmanGroup.CURVE25519


def ike(*proposals, protocol=ProtocolId.IKE):
    return SecurityAssociationPayload(
        tuple(Proposal(number, protocol, b"", transforms) for number, transforms in enumerate(proposals, 1))
    )


def esp(*proposals, spi=b"\0\0\1\0", protocol=ProtocolId.ESP):
    return SecurityAssociationPayload(
        tuple(Proposal(number, protocol, spi, transforms) for number, transforms in enumerate(proposals, 1))
    )


def chosen_ike(offer, group=CURVE25519):
    choice = choose_ike(DEFAULT_IKE_PROPOSALS, offer, group)
    return None if choice is None else choice.payload.proposals[0]


def chosen_esp(offer, group=None, ours=DEFAULT_ESP_PROPOSALS):
    choice = choose_esp(ours, offer, group)
    return None if choice is None else choice.answer(7).proposals[0]


def test_one_transform_of_each_offered_type_is_answered():
    wide = (GCM_256, GCM_128, SHA256_PRF, P256, X25519)
    assert chosen_ike(ike(wide)) == Proposal(1, ProtocolId.IKE, b"", (GCM_128, SHA256_PRF, X25519))
    assert chosen_ike(ike((CBC_128, SHA256_PRF, SHA256_HMAC, X25519), wide)).number == 2


def test_no_integrity_may_be_spelled_out_for_combined_ciphers():
    spelled = (GCM_128, SHA256_PRF, NO_HMAC, X25519)
    assert chosen_ike(ike(spelled)).transforms == spelled
    assert chosen_esp(esp((GCM_128, NO_HMAC, SHORT))).transforms == (GCM_128, NO_HMAC, SHORT)


@pytest.mark.parametrize(
    "transforms",
    [
        (GCM_128, SHA256_PRF, SHA256_HMAC, X25519),  # a combined cipher with an integrity algorithm
        (CBC_128, SHA256_PRF, X25519),  # an ordinary one without
        (CBC_128, SHA256_PRF, NO_HMAC, X25519),
        (GCM_128, X25519),
        (GCM_128, SHA256_PRF),
        (GCM_128, SHA256_PRF, X25519, Transform(99, 1)),  # a type nobody knows
        (GCM_128, SHA256_PRF, X25519, SHORT),
        (Transform(ENCRYPTION, 20), SHA256_PRF, X25519),  # no key length
        (Transform(ENCRYPTION, 20, 192), SHA256_PRF, X25519),
        (GCM_128._replace(unknown_attributes=(TransformAttribute(9, 1),)), SHA256_PRF, X25519),
    ],
)
def test_ike_proposals_that_cannot_be_met_are_passed_over(transforms):
    assert chosen_ike(ike(transforms)) is None
    good = (GCM_128, SHA256_PRF, X25519)
    assert chosen_ike(ike(transforms, good)).number == 2
    assert chosen_ike(ike(good, protocol=ProtocolId.ESP)) is None


@pytest.mark.parametrize(
    "transforms",
    [
        (GCM_128, EXTENDED),
        (GCM_128, SHA256_HMAC, SHORT),
        (CBC_128, SHORT),
        (GCM_128, SHORT, SHA256_PRF),
        (GCM_128, SHORT, Transform(GROUP, 14)),
    ],
)
def test_esp_proposals_that_cannot_be_met_are_passed_over(transforms):
    assert chosen_esp(esp(transforms)) is None
    assert chosen_esp(esp(transforms, (GCM_128, EXTENDED, SHORT))).transforms == (GCM_128, SHORT)


def test_esp_answers_carry_the_responders_own_spi():
    answer = chosen_esp(esp((GCM_128,)))
    assert (answer.spi, answer.transforms) == (b"\0\0\0\7", (GCM_128,))
    assert choose_esp(DEFAULT_ESP_PROPOSALS, esp((GCM_128, SHORT)), None).peer_spi == 256
    assert chosen_esp(esp((GCM_128, SHORT), protocol=ProtocolId.AH)) is None


def test_groups_for_forward_secrecy():
    optional = esp((GCM_128, SHORT, X25519, P256, NO_GROUP))
    assert chosen_esp(optional).transforms == (GCM_128, NO_GROUP, SHORT)
    assert chosen_esp(optional, 19).transforms == (GCM_128, P256, SHORT)
    assert chosen_esp(esp((GCM_128, SHORT, P256)), None).transforms == (GCM_128, P256, SHORT)
    only_p256 = tuple(replace(each, groups=(DiffieHellmanGroup.ECP256,)) for each in DEFAULT_ESP_PROPOSALS)
    assert chosen_esp(optional, 31, only_p256).transforms == (GCM_128, P256, SHORT)


def test_an_offer_means_what_it_says():
    offer = SecurityAssociationPayload.from_wire(IkeOffer(DEFAULT_IKE_PROPOSALS).payload[1])
    assert [proposal.number for proposal in offer.proposals] == [1, 2]
    assert choose_ike(DEFAULT_IKE_PROPOSALS, offer, None).suite.cipher == AES_128_GCM
    assert choose_ike(DEFAULT_IKE_PROPOSALS[1:], offer, None).suite.cipher == AES_128_CBC_SHA256
    with_groups = tuple(replace(each, groups=(CURVE25519,)) for each in DEFAULT_ESP_PROPOSALS)
    for proposals in (DEFAULT_ESP_PROPOSALS, with_groups, (EspProposal(((AES_256_GCM.encryption, 256),)),)):
        template = EspOffer(proposals)
        for flag in (False, True):
            _, body = template.payload(0x01020304, with_groups=flag)
            parsed = SecurityAssociationPayload.from_wire(body)
            assert {proposal.spi for proposal in parsed.proposals} == {b"\1\2\3\4"}
            assert parsed.to_wire() == body
            kinds = {transform.type for proposal in parsed.proposals for transform in proposal.transforms}
            assert (GROUP in kinds) is (flag and proposals is with_groups)


@pytest.mark.parametrize("times", [1, 2])
def test_only_one_of_the_offered_suites_is_accepted_as_an_answer(times):
    ike_offer, esp_offer = IkeOffer(DEFAULT_IKE_PROPOSALS), EspOffer(DEFAULT_ESP_PROPOSALS)
    good_ike, good_esp = (GCM_128, SHA256_PRF, X25519), (GCM_128, SHORT)
    for _ in range(times):
        assert ike_offer.accepted(ike(good_ike)).cipher == AES_128_GCM
        assert esp_offer.accepted(esp(good_esp))[1] == 256
        assert ike_offer.accepted(ike(good_ike, good_ike)) is None
        assert ike_offer.accepted(ike(good_ike, protocol=ProtocolId.ESP)) is None
        assert ike_offer.accepted(ike((GCM_128, GCM_256, SHA256_PRF, X25519))) is None
        assert ike_offer.accepted(ike((Transform(ENCRYPTION, 20, 192), SHA256_PRF, X25519))) is None
        assert esp_offer.accepted(esp(good_esp, good_esp)) is None
        assert esp_offer.accepted(esp(good_esp, protocol=ProtocolId.AH)) is None
        assert esp_offer.accepted(esp((GCM_128, GCM_256, SHORT))) is None
        assert esp_offer.accepted(esp((GCM_128, EXTENDED))) is None
