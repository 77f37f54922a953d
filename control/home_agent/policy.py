"""What a home agent lets its peers do: who may speak IKEv2 to it and for which packets (RFC 4877 section 4)."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.home_agent.directory import NodeDirectory
from control.ikev2.child import ChildPolicy
from control.ikev2.numbers import ConfigurationAttributeType, ConfigurationType
from control.ikev2.payloads.configuration import ConfigurationAttribute, ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.sa import IkeSa
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, PROTOCOL_MOBILITY, TrafficSelector

MOBILITY_CHILD = "mobility"
PREFIX_DISCOVERY_CHILD = "prefix-discovery"

_SIGNALLING = ((PROTOCOL_MOBILITY, MOBILITY_CHILD), (PROTOCOL_ICMPV6, PREFIX_DISCOVERY_CHILD))


class HomeAgentPolicy:
    """The answers the IKEv2 engine asks for, from the directory of authorised nodes."""

    def __init__(self, address: IPv6Address, directory: NodeDirectory) -> None:
        self._address = address
        self._directory = directory

    def shared_key(self, local: Identity, remote: Identity) -> bytes | None:
        """The key shared with a node, None if it has to use a certificate or is unknown."""
        node = self._directory.find(str(remote))
        return node.shared_key if node is not None else None

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        """Only authorised nodes are peers."""
        return self._directory.find(str(remote)) is not None

    def select_child(
        self,
        sa: IkeSa,
        local_selectors: tuple[TrafficSelector, ...],
        remote_selectors: tuple[TrafficSelector, ...],
    ) -> ChildPolicy | None:
        """Narrow a proposal to signalling between this agent and the node's own home address.

        A node may only ask for its home address: otherwise it could register somebody else's (RFC 4877 section 4.2).
        """
        home_address = self._directory.home_address(str(sa.remote_identity))
        if home_address is None:
            return None
        for protocol, name in _SIGNALLING:
            local = _narrow(local_selectors, TrafficSelector.host(self._address, protocol))
            remote = _narrow(remote_selectors, TrafficSelector.host(home_address, protocol))
            if local and remote:
                return ChildPolicy(local, remote, name)
        return None

    def configuration_reply(self, sa: IkeSa, request: ConfigurationPayload) -> ConfigurationPayload | None:
        """The node's home address for a CFG_REQUEST that asks for one (RFC 4877 section 9, RFC 5026 section 5.3.2)."""
        wanted = any(
            attribute.type == ConfigurationAttributeType.INTERNAL_IP6_ADDRESS for attribute in request.attributes
        )
        if not wanted:
            return None
        home_address = self._directory.assign(str(sa.remote_identity), None)
        return home_address_reply(home_address, self._directory.prefix_length(home_address))


def home_address_reply(home_address: IPv6Address, prefix_length: int) -> ConfigurationPayload:
    """A CFG_REPLY that gives a node its home address (draft-li-mip6-ha-init-bootstrap-00 section 4.4)."""
    attribute = ConfigurationAttribute.internal_ip6_address(home_address, prefix_length)
    return ConfigurationPayload(ConfigurationType.REPLY, (attribute,))


def _narrow(proposed: tuple[TrafficSelector, ...], allowed: TrafficSelector) -> tuple[TrafficSelector, ...]:
    common = (selector.intersection(allowed) for selector in proposed)
    # A selector for any protocol at all would hand us the first protocol tried; the node has to name one.
    return tuple(selector for selector in common if selector is not None)
