"""The home agent engine from a configuration: the one place that knows which parts go into it."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

from control.bootstrap.takeover import Takeover
from control.config import Configuration
from control.config.nodes import Node
from control.daemon.ike_configuration import home_agent_policy, ike_configuration, node_directory
from control.daemon.kernel_ipsec import KernelIpsec
from control.daemon.scheduling import scheduler_of
from control.home_agent.directory import NodeDirectory
from control.home_agent.engine import HomeAgent
from control.home_agent.home_links import HomeLinks
from control.home_agent.policy import HomeAgentPolicy
from control.home_agent.registrations import Registrations
from control.home_agent.signalling import KernelSignalling, ProtectedSignalling, UserspaceSignalling
from control.home_agent.unprotected import UnprotectedSignalling
from control.ike_workers.remote_endpoint import RemoteEndpoint
from control.ikev2.endpoint import IkeEndpoint
from control.ipsec.userspace import UserspaceIpsec
from control.key_export import KeyExport
from control.metrics import Instruments
from control.mobility.binding_cache import BindingCache
from control.mobility.binding_error import BindingErrorResponder
from control.mobility.home_registration import HomeRegistration


@dataclass(frozen=True, slots=True)
class Assembly:
    """The engine with those of its parts that are looked at from outside.

    Attributes:
        agent: the engine.
        ipsec: its back end.
        policy: what it lets its peers do.
        workers: its IKEv2 if that is done by processes of its own, else None.
    """

    agent: HomeAgent
    ipsec: UserspaceIpsec | KernelIpsec
    policy: HomeAgentPolicy
    workers: RemoteEndpoint | None


def worker_count(wanted: int) -> int:
    """How many processes do IKEv2, 1 for this one alone; ``wanted`` is 0 for all processor cores but one."""
    return wanted or max(1, len(os.sched_getaffinity(0)) - 1)


def assemble(
    configuration: Configuration,
    nodes: list[Node],
    *,
    now: float,
    keys: KeyExport,
    instruments: Instruments,
    kernel: KernelIpsec | None = None,
) -> Assembly:
    """Put the engine together.

    Args:
        configuration: the file.
        nodes: the nodes it authorises.
        now: monotonic seconds.
        keys: where keys are exported to, if anywhere.
        instruments: told how long handshakes and recoveries took.
        kernel: the kernel's IPsec, None to do it here.

    Raises:
        ConfigurationError: a certificate or key file is not what it should be.
        IpsecBackendError: a security association that was keyed by hand cannot be installed.
    """
    settings = configuration.home_agent
    directory = node_directory(configuration, nodes)
    ipsec: UserspaceIpsec | KernelIpsec
    signalling: ProtectedSignalling
    if kernel is None:
        ipsec = userspace = UserspaceIpsec(os.urandom)
        signalling = UserspaceSignalling(settings.address, userspace, keys.esp)
    else:
        ipsec = kernel
        signalling = KernelSignalling(settings.address, kernel, keys.esp)
    ike = ike_configuration(configuration, keys.ike)
    policy = home_agent_policy(configuration, directory, ike)
    workers = worker_count(configuration.ike.workers)
    endpoint = (
        IkeEndpoint(ike, policy, os.urandom, ipsec.allocate_spi) if workers == 1 else RemoteEndpoint(ike, workers)
    )
    home_links = HomeLinks(configuration.mobility.home_link_rate_per_s)
    rules = _registration_rules(configuration, directory, home_links)
    agent = HomeAgent(
        settings.address,
        directory,
        endpoint,
        signalling,
        Registrations(rules, signalling, home_links),
        UnprotectedSignalling(settings.address, BindingErrorResponder(now)),
    )
    scheduler = scheduler_of(configuration.bootstrap, random.SystemRandom(), lambda: endpoint.half_open)
    agent.attach(
        Takeover(
            scheduler,
            agent,
            observe_handshake=instruments.handshake.observe,
            observe_recovery=instruments.bootstrap.observe,
        )
    )
    agent.install_static(now)
    return Assembly(agent, ipsec, policy, endpoint if isinstance(endpoint, RemoteEndpoint) else None)


def _registration_rules(
    configuration: Configuration, directory: NodeDirectory, home_links: HomeLinks
) -> HomeRegistration:
    return HomeRegistration(
        configuration.home_agent.address,
        configuration.home_agent.home_prefixes,
        configuration.mobility.max_lifetime_s,
        BindingCache(configuration.datapath.max_bindings),
        may_use=directory.may_use,
        is_duplicate=home_links.is_duplicate,
        keyed_by_hand=directory.keyed_by_hand,
        mobile_networks=directory.mobile_networks if configuration.mobility.mobile_routers else None,
    )
