"""How a mobile node turns to a home agent: IKEv2 with a child SA for the Mobility Header (RFC 4877 section 4.2)."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.ikev2.address import IKE_PORT, SocketAddress
from control.ikev2.child import ChildRequest
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.payloads.identification import Identity
from control.ikev2.sa import IkeSa
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector
from control.mobile_node.attempts import WantedHomeAgent
from control.mobile_node.policy import configuration_request
from control.mobile_node.settings import NodeSettings
from control.mobility.addresses import UNSPECIFIED
from control.signalling_children import MOBILITY_CHILD

_ANY_MOBILITY = TrafficSelector(IPv6Address(0), IPv6Address((1 << 128) - 1), PROTOCOL_MOBILITY)


def connect(
    endpoint: IkeEndpoint,
    settings: NodeSettings,
    wanted: WantedHomeAgent,
    home_address: IPv6Address,
    care_of_address: IPv6Address,
    now: float,
) -> IkeSa | None:
    """Begin an IKE SA with a home agent.

    Args:
        endpoint: of the node.
        settings: of the node.
        wanted: the home agent to turn to.
        home_address: the node's home address; the unspecified address where it has none yet.
        care_of_address: where the node is.
        now: monotonic seconds.

    Returns:
        None if the identity that the home agent would have to prove is not known, though the node has to know it.
    """
    identity = wanted.identity or settings.home_agent_identities.get(wanted.address)
    if identity is None and settings.needs_identity:
        # With a shared key the initiator has to know whom it proves itself to.
        return None
    asks = settings.home_address == UNSPECIFIED
    own = _ANY_MOBILITY if asks else TrafficSelector.host(home_address, PROTOCOL_MOBILITY)
    return endpoint.connect(
        SocketAddress(care_of_address, IKE_PORT),
        SocketAddress(wanted.address, IKE_PORT),
        now,
        remote_identity=Identity.from_text(identity) if identity is not None else None,
        first_child=ChildRequest(
            local_selectors=(own,),
            remote_selectors=(TrafficSelector.host(wanted.address, PROTOCOL_MOBILITY),),
            name=MOBILITY_CHILD,
        ),
        configuration=configuration_request(home_address) if asks else None,
        redirected_from=wanted.redirected_from,
        eap=settings.eap() if settings.eap is not None else None,
    )
