"""IKEv2 by the configuration: the same for an endpoint in the daemon and for those in its workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from ipaddress import IPv6Address

from control.config import Configuration
from control.config.credentials import certificate_material
from control.config.nodes import Node
from control.config.revocation import load_revocation
from control.daemon.eap_tls import tls_servers
from control.eap.server import EapServer
from control.home_agent.directory import AuthorisedNode, NodeDirectory
from control.home_agent.key_exchange import KeyExchange
from control.home_agent.policy import HomeAgentPolicy
from control.ikev2.nat import NatTraversal
from control.ikev2.notation import parse_esp_proposal, parse_ike_proposal
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import (
    FRAGMENT_MEMORY,
    HALF_OPEN_LIMIT,
    STRANGER_REPLIES_PER_S,
    CertificateMaterial,
    IkeConfiguration,
    KeyLog,
    LifetimePolicy,
)
from control.ikev2.proposals import DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS
from control.ikev2.redirect import Redirection


def authorised_nodes(nodes: list[Node]) -> list[AuthorisedNode]:
    """The nodes of the nodes file as the directory has them."""
    return [
        AuthorisedNode(
            str(node.identity), node.home_address, node.shared_key, node.eap, node.static, node.mobile_networks
        )
        for node in nodes
    ]


def node_directory(configuration: Configuration, nodes: list[Node]) -> NodeDirectory:
    """The directory of authorised nodes."""
    settings = configuration.home_agent
    return NodeDirectory(
        authorised_nodes(nodes),
        settings.home_prefixes,
        reserved=[settings.address],
        pools=configuration.mobility.home_address_pools,
        autoconfiguration=configuration.mobility.home_address_autoconfiguration,
    )


def home_agent_policy(configuration: Configuration, directory: NodeDirectory, ike: IkeConfiguration) -> HomeAgentPolicy:
    """What the nodes of a directory may do.

    Args:
        configuration: the file.
        directory: the nodes.
        ike: the settings of the endpoint that the policy is for.
    """
    settings = configuration.home_agent
    return HomeAgentPolicy(settings.address, directory, configuration.mobility.dns_servers, _eap_server(ike))


def use_certificates(endpoint: KeyExchange, policy: HomeAgentPolicy, material: CertificateMaterial) -> None:
    """Have an endpoint and its policy authenticate with other certificates from now on."""
    endpoint.use_certificates(material)
    policy.use_eap(_eap_server(endpoint.configuration))


def _eap_server(ike: IkeConfiguration) -> EapServer:
    return EapServer(str(ike.local_identity), os.urandom, tls_servers(ike))


def ike_configuration(
    configuration: Configuration,
    key_log: KeyLog | None,
    share: int = 1,
    shape_spi: Callable[[bytes], bytes] = bytes,
    certificates: CertificateMaterial | None = None,
) -> IkeConfiguration:
    """The settings of an endpoint.

    Args:
        configuration: the file.
        key_log: told the keys of every IKE SA, None in production.
        share: how many endpoints there are, so that this one has its part of each limit that is meant for all.
        shape_spi: see :class:`control.ikev2.policy.IkeConfiguration`.
        certificates: in the place of those that the configuration names; None for those.

    Raises:
        ConfigurationError: a certificate or key file is not what it should be.
    """
    settings = configuration.home_agent
    certificates = certificates or certificate_material(configuration.ike)
    return IkeConfiguration(
        local_identity=Identity.from_text(settings.identity or str(settings.address)),
        wall_clock=time.time,
        credentials=certificates.credentials,
        trust_anchors=certificates.trust_anchors,
        revocation=load_revocation(configuration.ike),
        ike_proposals=tuple(map(parse_ike_proposal, configuration.ike.proposals)) or DEFAULT_IKE_PROPOSALS,
        esp_proposals=tuple(map(parse_esp_proposal, configuration.ike.esp_proposals)) or DEFAULT_ESP_PROPOSALS,
        redirection=_redirection(configuration.ike.redirect_to, -(-configuration.ike.redirect_above // share)),
        cookie_threshold=-(-configuration.ike.cookie_threshold // share),
        half_open_limit=HALF_OPEN_LIMIT // share,
        stranger_replies_per_s=STRANGER_REPLIES_PER_S / share,
        fragment_memory=FRAGMENT_MEMORY // share,
        shape_spi=shape_spi,
        mobike=configuration.ike.mobike,
        lifetimes=LifetimePolicy(ike_s=configuration.ike.ike_lifetime_s, child_s=configuration.ike.child_lifetime_s),
        nat_traversal=NatTraversal(configuration.ike.nat_traversal),
        nat_keepalive_s=configuration.ike.nat_keepalive_s,
        liveness_interval_s=configuration.ike.liveness_interval_s,
        key_log=key_log,
    )


def _redirection(gateway: IPv6Address | None, above: int) -> Redirection | None:
    """Sends nodes to another home agent as soon as there are so many IKE SAs here."""
    if gateway is None:
        return None
    return lambda peer, ike_sas: gateway if ike_sas >= above else None
