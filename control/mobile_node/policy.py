"""What a mobile node lets home agents do over IKEv2.

RFC 4877 section 4, draft-li-mip6-ha-init-bootstrap-00 section 4.
"""

from __future__ import annotations

from ipaddress import IPv6Address

from control.eap.authenticator import EapAuthenticator
from control.ikev2.child import ChildPolicy
from control.ikev2.numbers import ConfigurationAttributeType, ConfigurationType
from control.ikev2.payloads.configuration import ConfigurationAttribute, ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import ConfigurationAnswer
from control.ikev2.sa import IkeSa
from control.ipsec.traffic_selector import TrafficSelector
from control.mobile_node.settings import NodeSettings
from control.mobility.addresses import UNSPECIFIED, is_unicast_routable
from control.signalling_children import signalling_child
from control.wire import WireError

IPV6_ADDRESS_SIZE = 16


class MobileNodePolicy:
    """The answers the IKEv2 engine asks for.

    Attributes:
        home_address: the home address in use now; the node keeps it up to date.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.home_address = settings.home_address
        self._settings = settings

    def shared_key(self, local: Identity, remote: Identity) -> bytes | None:
        """The node's key, the same with every trusted home agent."""
        return self._settings.shared_key

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        """Only trusted home agents are peers."""
        return self._settings.trusts(str(remote))

    def eap_authenticator(self, remote: Identity) -> EapAuthenticator | None:
        """A home agent proves itself by certificate or shared key."""
        return None

    def select_child(
        self,
        sa: IkeSa,
        local_selectors: tuple[TrafficSelector, ...],
        remote_selectors: tuple[TrafficSelector, ...],
    ) -> ChildPolicy | None:
        """Narrow a proposal to signalling between the home agent it comes from and the node's home address.

        That is the address the node has, or the one this home agent assigned in its IKE_AUTH.
        """
        home_address = offered_home_address(sa) or self.home_address
        return signalling_child(home_address, local_selectors, sa.remote.ipv6_address, remote_selectors)

    def configuration_reply(self, sa: IkeSa, request: ConfigurationPayload) -> ConfigurationAnswer | None:
        """A mobile node has no configuration to give."""
        return None


def configuration_request(home_address: IPv6Address) -> ConfigurationPayload:
    """A CFG_REQUEST for a home address and for name servers (RFC 4877 section 9).

    Args:
        home_address: the address the node would like to keep, ``::`` for any.
    """
    address = ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS)
    if home_address != UNSPECIFIED:
        address = ConfigurationAttribute.internal_ip6_address(home_address)
    name_servers = ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_DNS)
    return ConfigurationPayload(ConfigurationType.REQUEST, (address, name_servers))


def offered_name_servers(sa: IkeSa) -> tuple[IPv6Address, ...]:
    """The name servers in the peer's CFG_REPLY."""
    configuration = sa.peer_configuration
    if configuration is None or configuration.type != ConfigurationType.REPLY:
        return ()
    return tuple(
        IPv6Address(attribute.value)
        for attribute in configuration.attributes
        if attribute.type == ConfigurationAttributeType.INTERNAL_IP6_DNS and len(attribute.value) == IPV6_ADDRESS_SIZE
    )


def offered_home_address(sa: IkeSa) -> IPv6Address | None:
    """The home address in the peer's CFG_REPLY, solicited or not; None if there is none, or none that can be used.

    The unsolicited one is the point where draft-li-mip6-ha-init-bootstrap-00 section 4.4 departs from RFC 7296.
    """
    configuration = sa.peer_configuration
    if configuration is None or configuration.type != ConfigurationType.REPLY:
        return None
    attribute = configuration.first(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS)
    if attribute is None:
        return None
    try:
        address, _ = attribute.parse_internal_ip6_address()
    except WireError:
        return None
    return address if is_unicast_routable(address) else None
