"""What a mobile node has to be told before it can start."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address

from control.eap.peer import EapPeer
from control.mobile_node.mobile_network import MobileNetwork
from control.mobile_node.registration import RegistrationTimers


@dataclass(frozen=True, slots=True)
class RetryTimers:
    """How a node that lost its home agent tries again, in seconds.

    Attributes:
        initial_s: wait before the first new attempt, halved to doubled at random.
        maximum_s: the wait doubles up to this.
    """

    initial_s: float = 1.0
    maximum_s: float = 60.0


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One mobile node.

    Attributes:
        home_address: the home address it was subscribed with; ``::`` for a node that asks home agents for one.
        care_of_address: where it is.
        trusted_home_agents: patterns of the identities of home agents that may serve it, take it over and assign it
            another home address; see :meth:`trusts`.
        shared_key: its IKE key with all of them, None if certificates are used. With EAP, for home agents that begin.
        eap: makes what it proves itself with by EAP, once for each attempt; None if it uses none.
        home_agent_identities: identities of home agents by address, for those it may have to turn to by address alone.
        lifetime_s: binding lifetime to ask for.
        registration: retransmission of Binding Updates.
        retry: what happens after a failure.
        mobile_network: what is behind the node if it is a mobile router, None if it is not.
        association_limit: most IKE SAs kept with home agents; the oldest unused ones go first.
    """

    home_address: IPv6Address
    care_of_address: IPv6Address
    trusted_home_agents: tuple[str, ...]
    shared_key: bytes | None = field(default=None, repr=False)
    eap: Callable[[], EapPeer] | None = field(default=None, repr=False)
    home_agent_identities: Mapping[IPv6Address, str] = field(default_factory=dict)
    lifetime_s: float = 600.0
    registration: RegistrationTimers = field(default_factory=RegistrationTimers)
    retry: RetryTimers = field(default_factory=RetryTimers)
    mobile_network: MobileNetwork | None = None
    association_limit: int = 8

    @property
    def needs_identity(self) -> bool:
        """Whether the node has to know whom it proves itself to before it begins: so it is with a shared key."""
        return self.shared_key is not None and self.eap is None

    def trusts(self, identity: str) -> bool:
        """Whether a home agent of this identity, once it has proved it, may serve the node.

        In a pattern ``*`` stands for any characters and ``?`` for one, but neither for a dot nor for an "@": mobile
        nodes have credentials too, so ``*.example.org`` must cover neither ``mn1@mn.example.org`` nor
        ``mn1.mn.example.org``. Upper and lower case are the same (RFC 4343).
        """
        return any(_compile(pattern).fullmatch(identity) is not None for pattern in self.trusted_home_agents)


@lru_cache(maxsize=256)
def _compile(pattern: str) -> re.Pattern[str]:
    wildcards = {"*": "[^.@]*", "?": "[^.@]"}
    parts = (wildcards.get(character, re.escape(character)) for character in pattern)
    return re.compile("".join(parts), re.IGNORECASE)
