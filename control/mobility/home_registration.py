"""What a home agent makes of a Binding Update (RFC 6275 sections 9.5.1 and 10.3, RFC 4877, RFC 3963 section 6.2).

Nothing here sends or stores: :meth:`HomeRegistration.process` says what should become of a Binding Update, the caller
stores that, and :meth:`HomeRegistration.commit` then makes it so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, IPv6Network

from control.mobility.addresses import is_unicast, is_unicast_routable
from control.mobility.binding_cache import Binding, BindingCache
from control.mobility.messages import BindingAcknowledgement, BindingAcknowledgementStatus, BindingUpdate
from control.mobility.mobile_networks import PrefixRefused, registered_networks
from control.mobility.numbers import LIFETIME_UNIT_S, MAX_LIFETIME_UNITS
from control.mobility.options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    DnsUpdate,
    DnsUpdateStatus,
    MobilityOption,
    NonceIndices,
)
from control.mobility.sequence_number import is_newer
from control.records import HashedByIdentity, Record

_Status = BindingAcknowledgementStatus

NOTHING_TO_DELETE = "not-home-agent-for-this-mobile-node"
"""The reason why a de-registration is refused."""
_REJECTION_REASONS = {
    _Status.ADMINISTRATIVELY_PROHIBITED: "administratively-prohibited",
    _Status.INSUFFICIENT_RESOURCES: "insufficient-resources",
    _Status.NOT_HOME_SUBNET: "not-home-subnet",
    _Status.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE: NOTHING_TO_DELETE,
    _Status.DUPLICATE_ADDRESS_DETECTION_FAILED: "duplicate-address-detection-failed",
    _Status.SEQUENCE_NUMBER_OUT_OF_WINDOW: "sequence-number-out-of-window",
    _Status.REGISTRATION_TYPE_CHANGE_DISALLOWED: "registration-type-change-disallowed",
    _Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED: "mobile-router-operation-not-permitted",
    _Status.INVALID_PREFIX: "invalid-prefix",
    _Status.NOT_AUTHORIZED_FOR_PREFIX: "not-authorized-for-prefix",
    _Status.FORWARDING_SETUP_FAILED: "forwarding-setup-failed",
    _Status.INVALID_CARE_OF_ADDRESS: "invalid-care-of-address",
}


class Change(HashedByIdentity):
    """What a Binding Update changes."""

    INSTALL = "install"
    """A new binding, or one whose care-of address, home agent or networks are new: the data path changes."""
    REFRESH = "refresh"
    """The same place and networks: only lifetime, sequence number and flags."""
    REMOVE = "remove"
    """The binding goes; it may be gone already (a repeated request)."""
    NONE = "none"
    """Nothing: the Binding Update was refused or discarded."""


class HomePrefix(Record, frozen=True):
    """A prefix of the home link.

    Attributes:
        network: the prefix.
        valid_until: when it stops being valid, wall-clock seconds since the epoch; bindings end by then.
        preferred_until: when it becomes deprecated; bindings that outlast this are told to discover prefixes.
    """

    network: IPv6Network
    valid_until: float = math.inf
    preferred_until: float = math.inf


class RegistrationOutcome(Record, frozen=True):
    """What should become of a Binding Update.

    Attributes:
        acknowledgement: what to answer, to the IPv6 source address of the Binding Update, with a type 2 routing header
            if that had a Home Address option (RFC 6275 section 9.5.4). None: discard silently.
        change: what changes.
        binding: the binding to store (INSTALL, REFRESH) or the one that goes (REMOVE, None if it is gone already).
        previous: the binding there was before, whose care-of address the data path and IKE may still use.
        reason: slug for counters and logs.
        home_address: the home address in question.
        identity: who asked, None if nobody was authenticated.
        sequence_number: that of the Binding Update.
        decided_at: the ``now`` of the decision.
    """

    acknowledgement: BindingAcknowledgement | None
    change: Change
    binding: Binding | None
    previous: Binding | None
    reason: str
    home_address: IPv6Address
    identity: str | None
    sequence_number: int
    decided_at: float


class _Request(Record, frozen=True):
    """A Binding Update with what is known around it.

    Attributes:
        update: the message.
        home_address: whose binding it is about.
        care_of_address: where the node says that it is.
        identity: who asks, None if nobody was authenticated.
        now: wall-clock seconds since the epoch.
        dns_update: its wish for a DNS update, if any.
    """

    update: BindingUpdate
    home_address: IPv6Address
    care_of_address: IPv6Address
    identity: str | None
    now: float
    dns_update: DnsUpdate | None

    def discard(self, reason: str) -> RegistrationOutcome:
        return self.outcome(None, Change.NONE, None, None, reason)

    def reject(self, status: BindingAcknowledgementStatus, sequence_number: int | None = None) -> RegistrationOutcome:
        number = self.update.sequence_number if sequence_number is None else sequence_number
        acknowledgement = BindingAcknowledgement(status, number)
        return self.outcome(acknowledgement, Change.NONE, None, None, _REJECTION_REASONS[status])

    def outcome(
        self,
        acknowledgement: BindingAcknowledgement | None,
        change: Change,
        binding: Binding | None,
        previous: Binding | None,
        reason: str,
    ) -> RegistrationOutcome:
        return RegistrationOutcome(
            acknowledgement,
            change,
            binding,
            previous,
            reason,
            self.home_address,
            self.identity,
            self.update.sequence_number,
            self.now,
        )


class HomeRegistration:
    """The rules of one home agent.

    Attributes:
        home_agent: the home agent's address.
        cache: its bindings.
    """

    def __init__(
        self,
        home_agent: IPv6Address,
        home_prefixes: Iterable[HomePrefix | IPv6Network],
        max_lifetime_s: float,
        cache: BindingCache,
        *,
        key_management: bool = True,
        refresh_advice_s: float | None = None,
        may_use: Callable[[str, IPv6Address], bool] | None = None,
        is_duplicate: Callable[[IPv6Address], bool] | None = None,
        keyed_by_hand: Callable[[str], bool] | None = None,
        mobile_networks: Callable[[str], Iterable[IPv6Network]] | None = None,
    ) -> None:
        """Set up the rules.

        Args:
            home_agent: the home agent's address.
            home_prefixes: the prefixes it serves; a bare network is valid for ever.
            max_lifetime_s: longest lifetime granted, rounded down to units of four seconds.
            cache: its bindings.
            key_management: whether the caller moves the IKE SA to a new care-of address; only then may the K bit be
                acknowledged (RFC 6275 section 10.3.1, RFC 4877 section 7.4).
            refresh_advice_s: advise nodes to register again after this time. Leave it out where bindings are kept in
                nonvolatile storage (RFC 6275 section 10.3.1).
            may_use: whether an authenticated identity may use a home address; without it, the first to register does.
            is_duplicate: whether somebody else on the home link was found to use a home address; asked only when
                there is no binding yet.
            keyed_by_hand: whether an identity's security associations do not come from IKEv2. Then K stays clear
                (RFC 6275 section 6.1.7), and the last sequence number is kept when the binding is gone: nothing else
                tells an old Binding Update from a new one (RFC 6275 section 15.3).
            mobile_networks: the prefixes that an identity is authorised to have behind it as a mobile router; without
                it, mobile routers are not served.

        Raises:
            ValueError: the lifetime is below one unit.
        """
        self.home_agent = home_agent
        self._own_address = int(home_agent)
        self.cache = cache
        self._prefixes = tuple(
            prefix if isinstance(prefix, HomePrefix) else HomePrefix(prefix) for prefix in home_prefixes
        )
        self._max_lifetime_units = min(int(max_lifetime_s // LIFETIME_UNIT_S), MAX_LIFETIME_UNITS)
        if self._max_lifetime_units < 1:
            raise ValueError(f"a lifetime of {max_lifetime_s} s is below {LIFETIME_UNIT_S} s")
        self._key_management = key_management
        self._refresh_advice_units = None if refresh_advice_s is None else int(refresh_advice_s // LIFETIME_UNIT_S)
        self._may_use = may_use
        self._is_duplicate = is_duplicate
        self._keyed_by_hand = keyed_by_hand
        self._mobile_networks = mobile_networks
        self._kept_sequence_numbers: dict[IPv6Address, int] = {}

    def process(
        self,
        binding_update: BindingUpdate,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        authenticated_identity: str | None,
        now: float,
    ) -> RegistrationOutcome:
        """Decide on a Binding Update. Changes nothing.

        Args:
            binding_update: the message.
            home_address: from the Home Address option, else the IPv6 source address.
            care_of_address: the IPv6 source address on the wire; an Alternate Care-of Address option overrides it.
            authenticated_identity: the IKEv2 identity behind the security association that protected the message;
                None if none did, in which case it is discarded (RFC 6275 section 5.1).
            now: wall-clock seconds since the epoch.
        """
        alternate, has_nonce_indices, dns_update = care_of_address, False, None
        for option in reversed(binding_update.options):  # of several of a kind the first counts
            if isinstance(option, AlternateCareOfAddress):
                alternate = option.care_of_address
            elif isinstance(option, NonceIndices):
                has_nonce_indices = True
            elif isinstance(option, DnsUpdate):
                dns_update = option
        request = _Request(binding_update, home_address, alternate, authenticated_identity, now, dns_update)
        if authenticated_identity is None:
            return request.discard("unauthenticated")
        # As numbers, which compare in a tenth of the time.
        home, source, claimed = int(home_address), int(care_of_address), int(alternate)
        if not is_unicast_routable(home):
            return request.discard("bad-home-address")
        if not is_unicast(source):
            return request.discard("bad-source-address")
        if not is_unicast_routable(claimed):
            return request.discard("bad-care-of-address")
        binding = self.cache.live(home_address, now)
        owned = binding is None or binding.identity == authenticated_identity
        if not binding_update.home_registration:
            if binding_update.mobile_router and owned:
                return request.reject(_Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED)
            # Every binding here is a home registration: a correspondent's registration would change its type.
            if binding is not None and owned:
                return request.reject(_Status.REGISTRATION_TYPE_CHANGE_DISALLOWED)
            return request.discard("not-a-home-registration")
        if has_nonce_indices:
            return request.discard("nonce-indices-in-home-registration")
        if not owned:
            return request.reject(_Status.ADMINISTRATIVELY_PROHIBITED)
        last = self._last_sequence_number(binding, home_address, authenticated_identity, now)
        if last is not None and not is_newer(binding_update.sequence_number, last):
            return request.reject(_Status.SEQUENCE_NUMBER_OUT_OF_WINDOW, last)
        if binding_update.lifetime_units == 0 or claimed == home:
            return self._deregister(request, binding, known=last is not None)
        if source == home:
            return request.discard("no-home-address-option")
        return self._register(request, authenticated_identity, binding)

    def commit(self, outcome: RegistrationOutcome) -> bool:
        """Put an outcome into the cache, once it is stored.

        Returns:
            Whether it took effect: not if nothing was to change, nor if since the decision a newer Binding Update of
            the node or one of another identity was committed. Then the acknowledgement must not be sent.
        """
        home_address, identity, number = outcome.home_address, outcome.identity, outcome.sequence_number
        if outcome.change is Change.NONE or identity is None:
            return False
        current = self.cache.live(home_address, outcome.decided_at)
        if current is not None and current.identity != identity:
            return False
        last = self._last_sequence_number(current, home_address, identity, outcome.decided_at)
        if last is not None and not is_newer(number, last):
            return False
        if outcome.change is Change.REMOVE:
            self.cache.deregister(home_address, identity, number, outcome.decided_at)
        elif outcome.binding is not None:
            self.cache.put(outcome.binding)
        self._keep_sequence_number(home_address, identity, number)
        return True

    def restore(self, binding: Binding) -> None:
        """Put a binding into the cache that this home agent has accepted before it was started again."""
        self.cache.put(binding)
        self._keep_sequence_number(binding.home_address, binding.identity, binding.sequence_number)

    def _keep_sequence_number(self, home_address: IPv6Address, identity: str, sequence_number: int) -> None:
        if self._keyed_by_hand is not None and self._keyed_by_hand(identity):
            self._kept_sequence_numbers[home_address] = sequence_number

    def _last_sequence_number(
        self, binding: Binding | None, home_address: IPv6Address, identity: str, now: float
    ) -> int | None:
        """The last sequence number this home agent accepted from the node, None if any is acceptable.

        A binding taken over from another home agent does not count: the node never sent us its number.
        """
        if binding is not None and binding.home_agent == self.home_agent:
            return binding.sequence_number
        if self._kept_sequence_numbers:
            kept = self._kept_sequence_numbers.get(home_address)
            if kept is not None:
                return kept
        if binding is not None:
            return None
        return self.cache.deregistered_sequence_number(home_address, identity, now)

    def _deregister(self, request: _Request, binding: Binding | None, known: bool) -> RegistrationOutcome:
        """RFC 6275 section 10.3.2; ``known``: a binding that is gone was here a moment ago, the answer got lost."""
        if binding is None and not known:
            return request.reject(_Status.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE)
        acknowledgement = BindingAcknowledgement(
            status=_Status.ACCEPTED,
            sequence_number=request.update.sequence_number,
            lifetime_units=0,
            key_management=self._keeps_key_management(request),
            mobile_router=request.update.mobile_router and self._mobile_networks is not None,
            options=self._options_of_answer(request),
        )
        return request.outcome(acknowledgement, Change.REMOVE, binding, binding, "deregistered")

    def _register(self, request: _Request, identity: str, previous: Binding | None) -> RegistrationOutcome:
        """RFC 6275 section 10.3.1."""
        mobile_router = request.update.mobile_router
        if previous is not None and previous.home_agent == self.home_agent and previous.mobile_router != mobile_router:
            return request.reject(_Status.REGISTRATION_TYPE_CHANGE_DISALLOWED)
        granted, status = self._grant(request)
        if granted < 1:
            return request.reject(_Status.NOT_HOME_SUBNET)
        if self._may_use is not None and not self._may_use(identity, request.home_address):
            return request.reject(_Status.ADMINISTRATIVELY_PROHIBITED)
        if previous is None and self.cache.full and self.cache.get(request.home_address) is None:
            return request.reject(_Status.INSUFFICIENT_RESOURCES)
        if previous is None and self._is_duplicate is not None and self._is_duplicate(request.home_address):
            return request.reject(_Status.DUPLICATE_ADDRESS_DETECTION_FAILED)
        try:
            networks = self._networks_of(request.update, identity) if mobile_router else ()
        except PrefixRefused as refused:
            return request.reject(refused.status)
        if self._leads_nowhere(request, networks):
            return request.reject(_Status.INVALID_CARE_OF_ADDRESS)
        binding = Binding(
            home_address=request.home_address,
            care_of_address=request.care_of_address,
            home_agent=self.home_agent,
            identity=identity,
            lifetime_expires_at=request.now + granted * LIFETIME_UNIT_S,
            sequence_number=request.update.sequence_number,
            key_management=self._keeps_key_management(request),
            link_local=request.update.link_local,
            mobile_networks=networks,
        )
        acknowledgement = BindingAcknowledgement(
            status=status,
            sequence_number=request.update.sequence_number,
            lifetime_units=granted,
            key_management=binding.key_management,
            mobile_router=bool(networks),
            options=self._options_of_answer(request, granted),
        )
        if previous is not None and _same_tunnel(previous, binding):
            return request.outcome(acknowledgement, Change.REFRESH, binding, previous, "refreshed")
        return request.outcome(acknowledgement, Change.INSTALL, binding, previous, "registered")

    def _grant(self, request: _Request) -> tuple[int, BindingAcknowledgementStatus]:
        """The lifetime in units, 0 for a home address of another subnet, and the status that goes with it.

        It is not above the wish, the policy or the rest of the prefix's valid lifetime. The status is 1 if the prefix
        is deprecated within the binding's lifetime or invalid at its end (RFC 6275 section 10.3.1).
        """
        for prefix in self._prefixes:
            if request.home_address in prefix.network:
                break
        else:
            return 0, _Status.NOT_HOME_SUBNET
        granted = min(request.update.lifetime_units, self._max_lifetime_units)
        if prefix.valid_until == prefix.preferred_until == math.inf:
            return granted, _Status.ACCEPTED
        valid = _units_until(prefix.valid_until, request.now)
        granted = min(granted, valid)
        if valid <= granted or _units_until(prefix.preferred_until, request.now) < granted:
            return granted, _Status.ACCEPTED_BUT_PREFIX_DISCOVERY_NECESSARY
        return granted, _Status.ACCEPTED

    def _networks_of(self, update: BindingUpdate, identity: str) -> tuple[IPv6Network, ...]:
        """What is behind a mobile router, as it says and may (RFC 3963 section 6.2); raises PrefixRefused."""
        if self._mobile_networks is None:
            raise PrefixRefused(_Status.MOBILE_ROUTER_OPERATION_NOT_PERMITTED)
        return registered_networks(update, self._mobile_networks(identity))

    def _leads_nowhere(self, request: _Request, networks: tuple[IPv6Network, ...]) -> bool:
        """Whether packets sent to the care-of address would come back to this home agent without end."""
        home_address, care_of_address = request.home_address, request.care_of_address
        if int(care_of_address) == self._own_address:
            return True
        prefixes = self.cache.prefixes
        if not networks and not prefixes and self.cache.get(care_of_address) is None:
            return False  # as nearly always
        return prefixes.leads_back(home_address, care_of_address, networks, self._care_of)

    def _care_of(self, home_address: IPv6Address) -> IPv6Address | None:
        binding = self.cache.get(home_address)
        return None if binding is None else binding.care_of_address

    def _keeps_key_management(self, request: _Request) -> bool:
        if not request.update.key_management or not self._key_management:
            return False
        return self._keyed_by_hand is None or not self._keyed_by_hand(request.identity or "")

    def _options_of_answer(self, request: _Request, granted: int = 0) -> tuple[MobilityOption, ...]:
        """A wish for a DNS update is answered (RFC 5026 section 6), with a refusal: this home agent updates no DNS."""
        options: tuple[MobilityOption, ...] = ()
        if self._refresh_advice_units is not None and 0 < self._refresh_advice_units < granted:
            options = (BindingRefreshAdvice(self._refresh_advice_units),)
        wish = request.dns_update
        if wish is not None:
            options += (DnsUpdate(wish.name, wish.remove, DnsUpdateStatus.ADMINISTRATIVELY_PROHIBITED),)
        return options


def _units_until(deadline: float, now: float) -> int:
    """Whole lifetime units until ``deadline``; for ever is one more than the field can hold."""
    return int(min(deadline - now, (MAX_LIFETIME_UNITS + 1) * LIFETIME_UNIT_S) // LIFETIME_UNIT_S)


def _same_tunnel(previous: Binding, binding: Binding) -> bool:
    return (previous.care_of_address, previous.home_agent, previous.mobile_networks) == (
        binding.care_of_address,
        binding.home_agent,
        binding.mobile_networks,
    )
