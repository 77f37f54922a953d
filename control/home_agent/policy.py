"""What a home agent lets its peers do: who may speak IKEv2 to it and for which packets (RFC 4877 section 4)."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.bootstrap.home_address_pool import PoolExhausted
from control.eap.authenticator import EapAuthenticator
from control.eap.server import EapServer
from control.home_agent.directory import NodeDirectory
from control.home_agent.key_exchange import AuthenticatedPeer
from control.ikev2.child import ChildPolicy
from control.ikev2.numbers import ConfigurationAttributeType, ConfigurationType, NotifyType
from control.ikev2.payloads.configuration import ConfigurationAttribute, ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.policy import ConfigurationAnswer
from control.ipsec.traffic_selector import TrafficSelector
from control.signalling_children import signalling_child
from control.wire import WireError

_HOME_PREFIX_LIFETIME_S = 2_592_000
"""What routers advertise for a prefix by default (RFC 4861 section 6.2.1): it stays as long as the configuration."""


class HomeAgentPolicy:
    """The answers the IKEv2 engine asks for, from the directory of authorised nodes."""

    def __init__(
        self,
        address: IPv6Address,
        directory: NodeDirectory,
        dns_servers: tuple[IPv6Address, ...] = (),
        eap: EapServer | None = None,
    ) -> None:
        """The policy.

        Args:
            address: the home agent's.
            directory: the authorised nodes.
            dns_servers: what nodes that ask for name servers are told.
            eap: authenticates nodes that use EAP, None if there are none.
        """
        self._eap = eap
        self._address = address
        self._directory = directory
        self._name_servers = tuple(
            ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_DNS, server.packed) for server in dns_servers
        )

    def use_eap(self, eap: EapServer) -> None:
        """Have another one authenticate those who begin from now on."""
        self._eap = eap

    def shared_key(self, local: Identity, remote: Identity) -> bytes | None:
        """The key shared with a node, None if it has to use a certificate, has static associations or is unknown."""
        node = self._directory.find(str(remote))
        return node.shared_key if node is not None else None

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        """Whether a peer may authenticate itself by key or certificate.

        Only authorised nodes may. Those that use EAP may only where we have begun, for there is none then; those with
        static associations never, as they do without IKE.
        """
        node = self._directory.find(str(remote))
        return node is not None and not node.static and (node.can_be_called if as_initiator else node.eap is None)

    def eap_authenticator(self, remote: Identity) -> EapAuthenticator | None:
        """A run of the method of a node that authenticates by EAP, None for others."""
        node = self._directory.find(str(remote))
        if node is None or node.eap is None or self._eap is None:
            return None
        return self._eap.authenticator(node.eap)

    def select_child(
        self,
        sa: AuthenticatedPeer,
        local_selectors: tuple[TrafficSelector, ...],
        remote_selectors: tuple[TrafficSelector, ...],
    ) -> ChildPolicy | None:
        """Narrow a proposal to signalling between this agent and the node's own home address.

        A node may only ask for its home address: otherwise it could register somebody else's (RFC 4877 section 4.2).
        """
        identity = str(sa.remote_identity)
        home_address = self._directory.home_address(identity) or self._autoconfigured(identity, remote_selectors)
        if home_address is None:
            return None
        return signalling_child(self._address, local_selectors, home_address, remote_selectors)

    def configuration_reply(self, sa: AuthenticatedPeer, request: ConfigurationPayload) -> ConfigurationAnswer | None:
        """What a node asks for: a home address, a prefix to make one from, name servers.

        RFC 4877 section 9, RFC 5026 section 5.3. A node has one home address, however many it asks for. One that asks
        for the prefix although it has an address, or may not choose one, is told to use the assigned one.
        """
        asked = {attribute.type for attribute in request.attributes}
        asks_address = ConfigurationAttributeType.INTERNAL_IP6_ADDRESS in asked
        asks_prefix = ConfigurationAttributeType.MIP6_HOME_PREFIX in asked
        attributes: tuple[ConfigurationAttribute, ...] = ()
        if ConfigurationAttributeType.INTERNAL_IP6_DNS in asked:
            attributes = self._name_servers
        identity, notify = str(sa.remote_identity), None
        if asks_prefix and self._directory.autoconfiguration and self._directory.home_address(identity) is None:
            home_prefix = ConfigurationAttribute.mip6_home_prefix(self._directory.first_prefix, _HOME_PREFIX_LIFETIME_S)
            attributes = (home_prefix, *attributes)
        elif asks_prefix:
            asks_address, notify = True, NotifyType.USE_ASSIGNED_HOA
        if asks_address:
            try:
                home_address = self._directory.assign(identity, None, _wish(request))
            except PoolExhausted:
                return ConfigurationAnswer(None, NotifyType.INTERNAL_ADDRESS_FAILURE)
            attributes = (self._home_address(home_address), *attributes)
        if not attributes:
            return None
        return ConfigurationAnswer(ConfigurationPayload(ConfigurationType.REPLY, attributes), notify)

    def _home_address(self, home_address: IPv6Address) -> ConfigurationAttribute:
        prefix_length = self._directory.prefix_length(home_address)
        return ConfigurationAttribute.internal_ip6_address(home_address, prefix_length)

    def _autoconfigured(self, identity: str, remote_selectors: tuple[TrafficSelector, ...]) -> IPv6Address | None:
        """The home address that a node without one has made from the home prefix and asks a child SA for."""
        if not self._directory.autoconfiguration:
            return None
        chosen = remote_selectors[0].first_address
        single = all(selector.first_address == selector.last_address == chosen for selector in remote_selectors)
        return chosen if single and self._directory.claim(identity, chosen) else None


def _wish(request: ConfigurationPayload) -> IPv6Address | None:
    """The address a node suggests; an attribute that is empty, or makes no sense, is no suggestion."""
    attribute = request.first(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS)
    try:
        return attribute.parse_internal_ip6_address()[0] if attribute is not None and attribute.value else None
    except WireError:
        return None


def home_address_reply(home_address: IPv6Address, prefix_length: int) -> ConfigurationPayload:
    """A CFG_REPLY that gives a node its home address (draft-li-mip6-ha-init-bootstrap-00 section 4.4)."""
    attribute = ConfigurationAttribute.internal_ip6_address(home_address, prefix_length)
    return ConfigurationPayload(ConfigurationType.REPLY, (attribute,))
