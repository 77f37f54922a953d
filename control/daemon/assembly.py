"""The home agent engine from a configuration: the one place that knows which parts go into it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from control.bootstrap.concurrency import (
    AimdConcurrency,
    ConcurrencyPolicy,
    FixedConcurrency,
    GradientConcurrency,
)
from control.bootstrap.scheduler import Scheduler
from control.bootstrap.takeover import Takeover
from control.config import Configuration
from control.config.credentials import load_certificates, own_credentials
from control.config.nodes import Node
from control.config.revocation import load_revocation
from control.daemon.kernel_ipsec import KernelIpsec
from control.home_agent.directory import AuthorisedNode, NodeDirectory
from control.home_agent.engine import HomeAgent
from control.home_agent.policy import HomeAgentPolicy
from control.home_agent.registrations import Registrations
from control.home_agent.signalling import KernelSignalling, ProtectedSignalling, UserspaceSignalling
from control.home_agent.unprotected import UnprotectedSignalling
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.nat import NatTraversal
from control.ikev2.notation import parse_esp_proposal, parse_ike_proposal
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import IkeConfiguration, KeyLog, LifetimePolicy
from control.ikev2.proposals import DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS
from control.ikev2.redirect import Redirection
from control.ipsec.userspace import UserspaceIpsec
from control.key_export import KeyExport
from control.mobility.binding_cache import BindingCache
from control.mobility.binding_error import BindingErrorResponder
from control.mobility.home_registration import HomeRegistration


@dataclass(frozen=True, slots=True)
class Assembly:
    """The engine with those of its parts that are looked at from outside."""

    agent: HomeAgent
    ipsec: UserspaceIpsec | KernelIpsec


_CONCURRENCY: Mapping[str, Callable[[int], ConcurrencyPolicy]] = {
    "fixed": FixedConcurrency,
    "aimd": AimdConcurrency,
    "gradient": GradientConcurrency,
}


def assemble(
    configuration: Configuration,
    nodes: list[Node],
    *,
    now: float,
    keys: KeyExport,
    observe_handshake: Callable[[float], None],
    kernel: KernelIpsec | None = None,
) -> Assembly:
    """Put the engine together.

    Args:
        configuration: the file.
        nodes: the nodes it authorises.
        now: monotonic seconds.
        keys: where keys are exported to, if anywhere.
        observe_handshake: told the duration of every completed handshake, in seconds.
        kernel: the kernel's IPsec, None to do it here.

    Raises:
        ConfigurationError: a certificate or key file is not what it should be.
        IpsecBackendError: a security association that was keyed by hand cannot be installed.
    """
    settings = configuration.home_agent
    directory = NodeDirectory(
        (AuthorisedNode(str(node.identity), node.home_address, node.shared_key, static=node.static) for node in nodes),
        settings.home_prefixes,
        reserved=[settings.address],
        pools=configuration.mobility.home_address_pools,
        autoconfiguration=configuration.mobility.home_address_autoconfiguration,
    )
    ipsec: UserspaceIpsec | KernelIpsec
    signalling: ProtectedSignalling
    if kernel is None:
        ipsec = userspace = UserspaceIpsec(os.urandom)
        signalling = UserspaceSignalling(settings.address, userspace, keys.esp)
    else:
        ipsec = kernel
        signalling = KernelSignalling(settings.address, kernel, keys.esp)
    endpoint = IkeEndpoint(
        _ike_configuration(configuration, keys.ike),
        HomeAgentPolicy(settings.address, directory, configuration.mobility.dns_servers),
        os.urandom,
        ipsec.allocate_spi,
    )
    rules = HomeRegistration(
        settings.address,
        settings.home_prefixes,
        configuration.mobility.max_lifetime_s,
        BindingCache(configuration.datapath.max_bindings),
        may_use=lambda identity, home_address: directory.home_address(identity) == home_address,
        keyed_by_hand=directory.keyed_by_hand,
    )
    agent = HomeAgent(
        settings.address,
        directory,
        endpoint,
        signalling,
        Registrations(rules, signalling),
        UnprotectedSignalling(settings.address, BindingErrorResponder(now)),
    )
    bootstrap = configuration.bootstrap
    scheduler = Scheduler(
        concurrency=_CONCURRENCY[bootstrap.policy](bootstrap.concurrency),
        rate_per_s=bootstrap.rate_per_s,
        attempts=bootstrap.attempts,
        backoff_initial_s=bootstrap.backoff_initial_s,
        backoff_max_s=bootstrap.backoff_max_s,
        give_up_after_s=bootstrap.give_up_after_s,
        random=random.SystemRandom(),
        total_give_up_after_s=bootstrap.total_give_up_after_s,
        reserve=bootstrap.reserve,
        others_in_flight=lambda: endpoint.half_open,
    )
    agent.attach(Takeover(scheduler, agent, observe_handshake=observe_handshake))
    agent.install_static(now)
    return Assembly(agent, ipsec)


def _ike_configuration(configuration: Configuration, key_log: KeyLog | None) -> IkeConfiguration:
    settings = configuration.home_agent
    anchors = [certificate for path in configuration.ike.trust_anchors for certificate in load_certificates(path)]
    return IkeConfiguration(
        local_identity=Identity.from_text(settings.identity or str(settings.address)),
        wall_clock=time.time,
        credentials=own_credentials(configuration.ike),
        trust_anchors=tuple(anchors),
        revocation=load_revocation(configuration.ike),
        ike_proposals=tuple(map(parse_ike_proposal, configuration.ike.proposals)) or DEFAULT_IKE_PROPOSALS,
        esp_proposals=tuple(map(parse_esp_proposal, configuration.ike.esp_proposals)) or DEFAULT_ESP_PROPOSALS,
        redirection=_redirection(configuration.ike.redirect_to, configuration.ike.redirect_above),
        cookie_threshold=configuration.ike.cookie_threshold,
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
