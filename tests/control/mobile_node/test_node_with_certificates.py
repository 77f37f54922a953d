"""The same with certificates in place of a shared key."""

from __future__ import annotations

import time
from ipaddress import IPv6Address
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.lab.pki import CertificateAuthority
from control.ikev2.certificates import CertificateValidator
from control.ikev2.payloads import Identity
from control.ikev2.policy import Credentials, IkeConfiguration
from control.mobile_node.events import IkeEstablished, RegistrationFailed
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from control.mobility.messages import HomeAgentSwitch

HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")
NODE = "mn1@mn.example.org"


@pytest.fixture(scope="module")
def authority():
    return CertificateAuthority()


def ike(authority, identity):
    issued = authority.issue(identity)
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    key = load_pem_private_key(issued.private_key_pem, None)
    anchor = x509.load_pem_x509_certificate(authority.certificate_pem)
    return {"wall_clock": time.time, "credentials": Credentials((certificate,), key), "trust_anchors": (anchor,)}


@pytest.fixture
def certified(world, authority):
    world.add_node(shared_key=None, ike=ike(authority, NODE))
    world.add_home_agent(key=None, **ike(authority, "ha1.example.org"))
    world.add_home_agent(HA2, "ha2.example.org", key=None, **ike(authority, "ha2.example.org"))
    return world


def node_of(world):
    return next(iter(world.nodes.values()))


@pytest.mark.parametrize("identity", ["ha1.example.org", None])
def test_it_registers_whether_or_not_it_knows_the_home_agents_name(certified, identity):
    node_of(certified).register(HA1, identity, certified.now)
    certified.settle()
    assert node_of(certified).registered
    assert certified.of(IkeEstablished)[0].identity == "ha1.example.org"


def test_it_is_taken_over(certified):
    node_of(certified).register(HA1, "ha1.example.org", certified.now)
    certified.settle()
    certified.home_agents[HA2].bootstrap(certified.now)
    certified.settle()
    assert (node_of(certified).home_agent, node_of(certified).registered) == (HA2, True)


def test_it_goes_where_it_is_sent_without_knowing_the_name(certified):
    node_of(certified).register(HA1, None, certified.now)
    certified.settle()
    certified.home_agents[HA1].send(HomeAgentSwitch((HA2,)), certified.now)
    certified.settle()
    assert (node_of(certified).home_agent, node_of(certified).registered) == (HA2, True)


def test_another_name_than_expected_is_refused(certified):
    node_of(certified).register(HA1, "ha2.example.org", certified.now)
    certified.settle()
    assert not node_of(certified).registered
    assert certified.of(RegistrationFailed)


@pytest.mark.parametrize("identity", ["mn2@mn.example.org", "mn2.mn.example.org", "ha2.example.net"])
def test_a_certificate_of_the_same_authority_makes_no_home_agent(certified, authority, identity):
    """Other mobile nodes have one too."""
    impostor = certified.add_home_agent(HA2, identity, key=None, **ike(authority, identity))
    impostor.bootstrap(certified.now)
    certified.run(30)
    assert not impostor.established
    assert not certified.of(IkeEstablished)


def test_a_certificate_of_another_authority_is_refused(certified):
    impostor = certified.add_home_agent(
        HA2, "ha2.example.org", key=None, **ike(CertificateAuthority("another"), "ha2.example.org")
    )
    impostor.bootstrap(certified.now)
    certified.run(30)
    assert not impostor.established
    assert not certified.of(IkeEstablished)


def test_nodes_can_share_what_they_know_of_certificates(authority):
    settings = NodeSettings(IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"), ("*.example.org",))
    configuration = IkeConfiguration(local_identity=Identity.from_text(NODE), **ike(authority, NODE))
    shared = CertificateValidator(configuration.trust_anchors, time.time)
    nodes = [MobileNode(settings, configuration, Random(seed), certificates=shared) for seed in (1, 2)]
    assert all(node.endpoint.certificates is shared for node in nodes)
