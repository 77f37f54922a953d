"""How a mobile node turns to a home agent: IKEv2 with a child SA for the Mobility Header (RFC 4877 section 4.2)."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.eap.peer import EapPeer
from control.ikev2.address import IKE_PORT, SocketAddress
from control.ikev2.child import ChildRequest
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.payloads.identification import Identity
from control.ikev2.sa import IkeSa
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector
from control.mobile_node.policy import MOBILITY_CHILD, configuration_request

_ANY_MOBILITY = TrafficSelector(IPv6Address(0), IPv6Address((1 << 128) - 1), PROTOCOL_MOBILITY)


def connect(
    endpoint: IkeEndpoint,
    care_of_address: IPv6Address,
    home_address: IPv6Address,
    home_agent: IPv6Address,
    identity: str | None,
    now: float,
    *,
    ask_for_home_address: bool,
    redirected_from: IPv6Address | None = None,
    eap: EapPeer | None = None,
) -> IkeSa:
    """Begin an IKE SA with a home agent.

    Args:
        endpoint: of the node.
        care_of_address: where the node is.
        home_address: its home address; the unspecified address where it has none yet.
        home_agent: the address to turn to.
        identity: the identity to demand, None for any trusted one.
        now: monotonic seconds.
        ask_for_home_address: whether the home agent is to assign one.
        redirected_from: the home agent that has sent the node there, None for none.
        eap: what the node proves itself with, None if by shared key or certificate.
    """
    own = _ANY_MOBILITY if ask_for_home_address else TrafficSelector.host(home_address, PROTOCOL_MOBILITY)
    return endpoint.connect(
        SocketAddress(care_of_address, IKE_PORT),
        SocketAddress(home_agent, IKE_PORT),
        now,
        remote_identity=Identity.from_text(identity) if identity is not None else None,
        first_child=ChildRequest(
            local_selectors=(own,),
            remote_selectors=(TrafficSelector.host(home_agent, PROTOCOL_MOBILITY),),
            name=MOBILITY_CHILD,
        ),
        configuration=configuration_request(home_address) if ask_for_home_address else None,
        redirected_from=redirected_from,
        eap=eap,
    )
