"""What a mobile node tells whoever drives it. Frozen, without secrets, fit for a log line."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address


@dataclass(frozen=True, slots=True)
class IkeStarted:
    """A key exchange with a home agent began.

    Attributes:
        home_agent: its address.
        initiated_here: True if the node began it, False if the home agent came by itself.
    """

    home_agent: IPv6Address
    initiated_here: bool


@dataclass(frozen=True, slots=True)
class IkeEstablished:
    """A home agent authenticated itself.

    Attributes:
        home_agent: its address.
        identity: its IKE identity as text.
        initiated_here: True if the node began the exchange.
        handshake_s: seconds from the first IKE_SA_INIT sent or received until now.
    """

    home_agent: IPv6Address
    identity: str
    initiated_here: bool
    handshake_s: float


@dataclass(frozen=True, slots=True)
class HomeAgentSwitched:
    """A protected Home Agent Switch was obeyed (RFC 5142, draft-li-mip6-ha-init-bootstrap-00 section 4.3).

    Attributes:
        old_home_agent: the agent the node was registered with, None if with none.
        home_agent: the agent it turns to.
        bootstrap: the B bit: the old binding was dropped without de-registering.
    """

    old_home_agent: IPv6Address | None
    home_agent: IPv6Address
    bootstrap: bool


@dataclass(frozen=True, slots=True)
class HomeAddressAssigned:
    """The node has a new home address from now on; the previous one is no longer its own.

    Attributes:
        home_address: the new one.
        previous: the one it replaces, ``::`` if it had none.
        home_agent: the agent that assigned it.
    """

    home_address: IPv6Address
    previous: IPv6Address
    home_agent: IPv6Address


@dataclass(frozen=True, slots=True)
class NameServersAssigned:
    """The home agent has named the name servers of the home network.

    Attributes:
        home_agent: the agent.
        servers: their addresses.
    """

    home_agent: IPv6Address
    servers: tuple[IPv6Address, ...]


@dataclass(frozen=True, slots=True)
class CareOfAddressChanged:
    """The node is somewhere else, or nowhere for the time being.

    Attributes:
        care_of_address: where it is now; None: it waits.
        previous: where it was last.
    """

    care_of_address: IPv6Address | None
    previous: IPv6Address


@dataclass(frozen=True, slots=True)
class BindingUpdateSent:
    """A Binding Update left, under ESP.

    Attributes:
        home_agent: where to.
        home_address: the home address it registers.
        sequence_number: of the message.
        lifetime_s: seconds asked for; 0 de-registers.
    """

    home_agent: IPv6Address
    home_address: IPv6Address
    sequence_number: int
    lifetime_s: int


@dataclass(frozen=True, slots=True)
class Registered:
    """A Binding Acknowledgement accepted the registration.

    Attributes:
        home_agent: where the node is registered now.
        home_address: the registered home address.
        lifetime_s: seconds granted.
        refresh: True if it prolongs a registration that was in force.
        answered_after_s: from the Binding Update it answers to the acknowledgement.
    """

    home_agent: IPv6Address
    home_address: IPv6Address
    lifetime_s: float
    refresh: bool
    answered_after_s: float


@dataclass(frozen=True, slots=True)
class Deregistered:
    """The node has given its registration up.

    Attributes:
        home_agent: where it was registered.
        acknowledged: whether the home agent confirmed it.
    """

    home_agent: IPv6Address
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class RegistrationFailed:
    """An attempt to register came to nothing; the node tries again by itself if it knows a home agent.

    Attributes:
        home_agent: with whom.
        reason: a stable slug.
        detail: more of it for people, "" if there is no more.
    """

    home_agent: IPv6Address
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BindingLost:
    """The registration in force ended without the node's doing.

    Attributes:
        home_agent: where it was registered.
        reason: a stable slug: ``expired``, ``refused-…``.
    """

    home_agent: IPv6Address
    reason: str


@dataclass(frozen=True, slots=True)
class FirstTunnelledPacket:
    """The first packet came through the tunnel after a new registration.

    Attributes:
        home_agent: the tunnel's other end.
    """

    home_agent: IPv6Address


NodeEvent = (
    IkeStarted
    | IkeEstablished
    | HomeAgentSwitched
    | HomeAddressAssigned
    | NameServersAssigned
    | CareOfAddressChanged
    | BindingUpdateSent
    | Registered
    | Deregistered
    | RegistrationFailed
    | BindingLost
    | FirstTunnelledPacket
)
