"""Addresses by the configuration payload, given to strongSwan and taken from it (RFC 7296 section 2.19)."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.ike_peers import Peers, Policy, run
from control.ikev2.events import IkeEstablished
from control.ikev2.numbers import ConfigurationAttributeType, ConfigurationType
from control.ikev2.payloads import ConfigurationPayload
from control.ikev2.payloads.configuration import ConfigurationAttribute
from tests.interop.credentials import SHARED, connections

pytestmark = pytest.mark.namespaces

HOME, SERVER = IPv6Address("2001:db8:100::1001"), IPv6Address("2001:db8:1::53")
POOL = f"""
pools {{
  home {{
    addrs = {HOME}
    dns = {SERVER}
  }}
}}
"""


@pytest.mark.interop("address and name server given by us ({wish})", role="responder", authentication=SHARED)
@pytest.mark.parametrize("wish", ["without a wish", "with a wish"])
def test_strongswan_takes_an_address(tmp_path: Path, wish: str) -> None:
    policy = Policy()
    policy.configuration = ConfigurationPayload(
        ConfigurationType.REPLY,
        (
            ConfigurationAttribute.internal_ip6_address(HOME, 64),
            ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_DNS, SERVER.packed),
        ),
    )
    with Peers(tmp_path, policy) as peers:
        peers.charon.load(connections(SHARED, settings=f"vips = {HOME if wish == 'with a wish' else '::'}"))
        peers.swanctl_and_pump("--initiate", "--ike", "ha")
        assert policy.asked is not None
        asked = policy.asked.first(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS)
        assert asked is not None
        (seen,) = peers.charon.established()
        assert seen["local-vips"] == [str(HOME)]
        assert str(HOME) in run("ip", "-n", peers.their_namespace, "-6", "address", "show")
        assert str(SERVER) in (tmp_path / "resolv.conf").read_text()


@pytest.mark.interop("address and name server given by strongSwan", role="initiator", authentication=SHARED)
def test_we_take_an_address(tmp_path: Path) -> None:
    with Peers(tmp_path) as peers:
        peers.charon.load(connections(SHARED, settings="pools = home") + POOL)
        wanted = (ConfigurationAttributeType.INTERNAL_IP6_ADDRESS, ConfigurationAttributeType.INTERNAL_IP6_DNS)
        request = ConfigurationPayload(ConfigurationType.REQUEST, tuple(map(ConfigurationAttribute, wanted)))
        peers.connect(configuration=request)
        ((given,),) = ([event.configuration] for event in peers.ours.happened(IkeEstablished))
        assert given.type == ConfigurationType.REPLY
        assert given.first(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS).parse_internal_ip6_address()[0] == HOME
        assert given.first(ConfigurationAttributeType.INTERNAL_IP6_DNS).value == SERVER.packed
        (seen,) = peers.charon.established()
        assert seen["remote-vips"] == [str(HOME)]
