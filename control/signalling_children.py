"""The child SAs that carry signalling between a home agent and a mobile node, as both ends grant them (RFC 4877)."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.ikev2.child import ChildPolicy
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, PROTOCOL_MOBILITY, TrafficSelector, narrow

MOBILITY_CHILD = "mobility"
PREFIX_DISCOVERY_CHILD = "prefix-discovery"

_SIGNALLING = ((PROTOCOL_MOBILITY, MOBILITY_CHILD), (PROTOCOL_ICMPV6, PREFIX_DISCOVERY_CHILD))


def signalling_child(
    local: IPv6Address,
    local_selectors: tuple[TrafficSelector, ...],
    remote: IPv6Address,
    remote_selectors: tuple[TrafficSelector, ...],
) -> ChildPolicy | None:
    """Narrows a proposal to signalling between two addresses.

    Args:
        local: this side's address, that of the home agent or the home address.
        local_selectors: traffic of this side as proposed by the peer.
        remote: the peer's address.
        remote_selectors: traffic of the peer as proposed by it.

    Returns:
        What to grant; None if the proposal holds no signalling between them.
    """
    for protocol, name in _SIGNALLING:
        ours = narrow(local_selectors, TrafficSelector.host(local, protocol))
        theirs = narrow(remote_selectors, TrafficSelector.host(remote, protocol))
        if ours and theirs:
            return ChildPolicy(ours, theirs, name)
    return None
