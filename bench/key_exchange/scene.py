"""Home agents and mobile nodes in one process, put together from the product's engines as its daemons do it."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from cryptography.hazmat.primitives.serialization import Encoding

from bench.key_exchange.methods import Method, Trust, make_trust
from control.bootstrap.concurrency import FixedConcurrency
from control.bootstrap.limits import Limits
from control.bootstrap.scheduler import Scheduler
from control.bootstrap.takeover import Takeover
from control.home_agent.directory import AuthorisedNode, NodeDirectory
from control.home_agent.engine import HomeAgent
from control.home_agent.home_links import HomeLinks
from control.home_agent.policy import HomeAgentPolicy
from control.home_agent.registrations import Registrations
from control.home_agent.signalling import UserspaceSignalling
from control.home_agent.unprotected import UnprotectedSignalling
from control.ikev2.certificates import CertificateValidator
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.payloads import Identity
from control.ikev2.policy import Credentials, IkeConfiguration
from control.ipsec.userspace import UserspaceIpsec
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from control.mobility.binding_cache import BindingCache
from control.mobility.binding_error import BindingErrorResponder
from control.mobility.home_registration import HomeRegistration

HOME_PREFIX = IPv6Network("2001:db8:100::/64")
CARE_OF_PREFIX = IPv6Network("2001:db8:c000::/34")
FAILED, SURVIVOR = "ha1.example.org", "ha2.example.org"
ADDRESSES = {FAILED: IPv6Address("2001:db8:a1::1"), SURVIVOR: IPv6Address("2001:db8:a2::1")}

_MAX_LIFETIME_S = 3600
_FIRST_HOST = 1000
_LINK = 1 << 64  # each node is on a link of its own: of one /64, half as many may be half open without cookies
_RATE_PER_S = 1e9  # the scheduler's work is measured, not its patience


@dataclass(frozen=True, slots=True)
class Population:
    """Who takes part; made once and used for many scenes, for certificates take long to issue.

    Attributes:
        identities: of the nodes.
        trust: everybody's credentials.
    """

    identities: tuple[str, ...]
    trust: Trust

    @classmethod
    def make(cls, method: Method, count: int) -> Population:
        """``count`` nodes that authenticate by ``method``."""
        identities = tuple(f"mn{number}@example.org" for number in range(1, count + 1))
        return cls(identities, make_trust(method, (FAILED, SURVIVOR), identities))


class Scene:
    """Two home agents and all nodes, none of which has met another yet.

    Attributes:
        failed: the agent the nodes register with at first.
        survivor: the agent that bootstraps them.
        nodes: by care-of address.
    """

    def __init__(self, population: Population) -> None:
        self._trust = population.trust
        self._certificates = CertificateValidator(population.trust.anchors, time.time)
        self.failed = _home_agent(population, FAILED, population.trust.home_agents[0], None)
        self.survivor = _home_agent(population, SURVIVOR, population.trust.home_agents[1], self._certificates)
        # The nodes are other machines: nothing of theirs is measured, so they may share what they have verified.
        validator = CertificateValidator(population.trust.anchors, time.time)
        self.nodes = {
            _care_of_address(number): _mobile_node(population, number, validator)
            for number in range(len(population.identities))
        }

    def make_certificates_known(self) -> None:
        """Have the survivor check the nodes' certificates, as its daemon does while nothing is urgent."""
        for node, credentials in zip(self.nodes.values(), self._trust.nodes, strict=True):
            if credentials is not None:
                chain = [certificate.public_bytes(Encoding.DER) for certificate in credentials.certificates]
                self._certificates.validate(chain, Identity.from_text(node.identity))


def _home_agent(
    population: Population, identity: str, credentials: Credentials | None, certificates: CertificateValidator | None
) -> HomeAgent:
    address, trust = ADDRESSES[identity], population.trust
    authorised = (
        AuthorisedNode(node, HOME_PREFIX[_FIRST_HOST + number], trust.shared_keys[number])
        for number, node in enumerate(population.identities)
    )
    directory = NodeDirectory(authorised, [HOME_PREFIX], reserved=[address])
    ipsec = UserspaceIpsec(os.urandom)
    signalling = UserspaceSignalling(address, ipsec)
    endpoint = IkeEndpoint(
        IkeConfiguration(
            Identity.from_text(identity), wall_clock=time.time, credentials=credentials, trust_anchors=trust.anchors
        ),
        HomeAgentPolicy(address, directory),
        os.urandom,
        ipsec.allocate_spi,
        certificates,
    )
    rules = HomeRegistration(
        address,
        [HOME_PREFIX],
        _MAX_LIFETIME_S,
        BindingCache(len(population.identities)),
        may_use=directory.may_use,
    )
    agent = HomeAgent(
        address,
        directory,
        endpoint,
        signalling,
        Registrations(rules, signalling, HomeLinks(100.0)),
        UnprotectedSignalling(address, BindingErrorResponder(0.0)),
    )
    limits = Limits(
        rate_per_s=_RATE_PER_S,
        attempts=1,
        backoff_initial_s=1.0,
        backoff_max_s=1.0,
        give_up_after_s=60.0,
        largest_burst=2 * len(population.identities),
    )
    scheduler = Scheduler(FixedConcurrency(len(population.identities)), limits, random.SystemRandom())
    agent.attach(Takeover(scheduler, agent))
    return agent


def _care_of_address(number: int) -> IPv6Address:
    return CARE_OF_PREFIX[number * _LINK + _FIRST_HOST]


def _mobile_node(population: Population, number: int, validator: CertificateValidator) -> MobileNode:
    trust = population.trust
    return MobileNode(
        NodeSettings(
            home_address=HOME_PREFIX[_FIRST_HOST + number],
            care_of_address=_care_of_address(number),
            trusted_home_agents=("*.example.org",),
            shared_key=trust.shared_keys[number],
        ),
        IkeConfiguration(
            Identity.from_text(population.identities[number]),
            wall_clock=time.time,
            credentials=trust.nodes[number],
            trust_anchors=trust.anchors,
        ),
        random.SystemRandom(),
        certificates=validator,
    )
