"""Certificates and trust anchors change under an endpoint that has IKE SAs."""

from __future__ import annotations

import pytest

from control.ikev2.certificates import CertificateError, CertificateValidator
from control.ikev2.events import IkeFailed
from control.ikev2.payloads import Identity
from control.ikev2.policy import CertificateMaterial
from tests.control.ikev2.engine.test_certificate_authentication import chain_of


@pytest.fixture
def other_root(pki):
    return pki.authority("another root")


@pytest.fixture
def certified(pair, pki):
    for peer in (pair.agent, pair.node):
        peer.policy.key = None
        peer.configure(credentials=pki.credentials(str(peer.identity)), trust_anchors=(pki.root.certificate,))
    return pair


@pytest.mark.parametrize("agent_begins", [True, False])
def test_a_new_certificate_is_shown_to_new_peers_and_old_sas_live_on(certified, pki, other_root, agent_begins):
    pair = certified
    initiator = pair.agent if agent_begins else pair.node
    before, _ = pair.established(initiator)
    renewed = pki.credentials(str(pair.agent.identity), "p384", other_root)
    pair.agent.endpoint.use_certificates(CertificateMaterial(renewed, (pki.root.certificate,)))
    assert pair.agent.endpoint.configuration.credentials is renewed

    pair.connect(initiator)
    pair.network.run()
    assert pair.node.endpoint.statistics["authentication-untrusted-certificate"] == 1
    pair.node.endpoint.use_certificates(
        CertificateMaterial(pair.node.endpoint.configuration.credentials, (other_root.certificate,))
    )
    after, _ = pair.established(initiator)
    assert after is not before
    assert before.is_established
    before.create_child(pair.request(name="more"), pair.network.now)
    pair.network.run()
    assert [child.name for child in before.children.values()] == ["mobility", "more"]


@pytest.mark.parametrize("agent_begins", [True, False])
def test_peers_that_were_known_are_asked_for_an_anchor_that_is_trusted_now(certified, pki, other_root, agent_begins):
    pair = certified
    initiator = pair.agent if agent_begins else pair.node
    before, _ = pair.established(initiator)
    own = pair.agent.endpoint.configuration.credentials
    pair.agent.endpoint.use_certificates(CertificateMaterial(own, (other_root.certificate,)))
    pair.connect(initiator)
    pair.network.run()
    assert pair.agent.endpoint.statistics["authentication-untrusted-certificate"] == 1
    assert before.is_established

    # The peer is told by whom its certificate has to be issued.
    pair.agent.endpoint.use_certificates(CertificateMaterial(own, (other_root.certificate, pki.root.certificate)))
    assert len(pair.agent.endpoint._environment.certificate_request[0][1]) == 1 + 2 * 20
    pair.established(initiator)


def test_no_certificate_any_more(certified):
    certified.agent.endpoint.use_certificates(CertificateMaterial())
    sa = certified.connect(certified.agent)
    certified.network.run()
    assert not sa.is_established
    assert certified.agent.events(IkeFailed)[0].reason == "no-credentials"


def test_chains_are_forgotten_with_their_anchors_only(pki, other_root):
    identity = Identity.from_text("mn1@example.org")
    validator = CertificateValidator([pki.root.certificate], lambda: 1906502400.0)
    chain = chain_of(pki.credentials(str(identity)))
    validator.validate(chain, identity)
    validator.trust((pki.root.certificate,))
    assert len(validator) == 1
    validator.trust((other_root.certificate,))
    assert len(validator) == 0
    with pytest.raises(CertificateError) as refused:
        validator.validate(chain, identity)
    assert refused.value.reason == "untrusted-certificate"
