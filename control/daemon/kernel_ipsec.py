"""The kernel back end of IPsec: security associations become XFRM states, their selectors policies.

Ours are known by their reqids, which begin with one byte of our own; nothing else is touched. All inbound states
share one reqid, so that a node may still use an older pair; every pair has an outbound reqid of its own, to which the
outbound policy points, so that the newest pair is used. Every packet a state of ours has opened carries a mark of that
state alone. It comes from nowhere else than from having been opened, so it, and not the absence of a policy violation,
is what tells the control plane that a packet was protected, and by whom.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from msgspec.structs import replace

from control.daemon.kernel_selectors import kernel_selectors
from control.ipsec.algorithms import EncryptionAlgorithm, IntegrityAlgorithm
from control.ipsec.errors import IpsecBackendError, NoSecurityAssociation
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.spi_sequence import SpiSequence
from control.ipsec.udp_encapsulation import UdpEncapsulation
from control.ipsec.usage_limits import UsageExpiry
from datapath.xfrm.channel import Request, XfrmChannel
from datapath.xfrm.errors import XfrmLost, XfrmRefused
from datapath.xfrm.events import Event, StateExpired
from datapath.xfrm.numbers import Direction, MessageType
from datapath.xfrm.policies import Policy, policy_key
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import NO_LIMITS, Algorithm, Encapsulation, State, StateReport, UsageLimits, state_key

_LOG = logging.getLogger(__name__)

_OURS = 0x6D << 24
_NUMBERS = 1 << 24
INBOUND_REQID = _OURS
_PRIORITY_OF_TYPES, _PRIORITY_OF_ALL = 1000, 2000
_GONE = (errno.ESRCH, errno.ENOENT)
_TRIES = 3

_COMBINED_MODES = {
    EncryptionAlgorithm.AES_GCM_16: "rfc4106(gcm(aes))",
    EncryptionAlgorithm.CHACHA20_POLY1305: "rfc7539esp(chacha20,poly1305)",
}
_CIPHERS = {EncryptionAlgorithm.AES_CBC: "cbc(aes)", EncryptionAlgorithm.NULL: "ecb(cipher_null)"}
_INTEGRITY = {
    IntegrityAlgorithm.HMAC_SHA2_256_128: "hmac(sha256)",
    IntegrityAlgorithm.HMAC_SHA2_384_192: "hmac(sha384)",
    IntegrityAlgorithm.HMAC_SHA2_512_256: "hmac(sha512)",
}


@dataclass(slots=True)
class _Pair:
    """An installed pair; ``number`` is its outbound reqid and its inbound mark."""

    inbound: SecurityAssociation
    outbound: SecurityAssociation
    number: int
    selectors: tuple[tuple[Direction, Selector], ...]
    told: set[bool] = field(default_factory=set)


class KernelIpsec:
    """An :class:`control.ipsec.backend.IpsecBackend` on the kernel of this network namespace.

    Attributes:
        statistics: what did not go as it should, by reason.
    """

    def __init__(self, channel: XfrmChannel, random: Callable[[int], bytes]) -> None:
        """Start with nothing installed; what an earlier process left is removed.

        Args:
            channel: to the kernel; the caller closes it.
            random: gives that many unpredictable bytes.

        Raises:
            XfrmLost: the kernel cannot be read.
        """
        self.statistics: Counter[str] = Counter()
        self._channel = channel
        self._pairs: dict[int, _Pair] = {}
        self._by_mark: dict[int, _Pair] = {}
        self._by_peer: dict[IPv6Address, dict[int, _Pair]] = {}
        self._users: dict[tuple[Direction, Selector], list[int]] = {}
        self._number = 0
        self._expiries: list[UsageExpiry] = []
        self._spis = SpiSequence(random)
        self._remove_leftovers()

    def __len__(self) -> int:
        return len(self._pairs)

    def allocate_spi(self) -> int:
        """See :meth:`control.ipsec.backend.IpsecBackend.allocate_spi`."""
        return self._spis.next(self._pairs)

    def install(
        self, inbound: SecurityAssociation, outbound: SecurityAssociation, *, outbound_waits: bool = False
    ) -> None:
        """See :meth:`control.ipsec.backend.IpsecBackend.install`.

        The kernel does not tell of packets that arrive, so an outbound association that waits does so until the others
        are removed.

        Raises:
            IpsecBackendError: also ``bad-selector``, ``kernel-refused`` and ``kernel-lost``.
        """
        if inbound.spi in self._pairs:
            raise IpsecBackendError("spi-in-use", f"{inbound.spi:#010x}")
        received, sent = kernel_selectors(inbound), kernel_selectors(outbound)
        selectors = (*((Direction.IN, one) for one in received), *((Direction.OUT, one) for one in sent))
        pair = _Pair(inbound, outbound, self._next_number(), selectors)
        states = (_inbound_state(pair, received), _outbound_state(pair, sent))
        self._create(states)
        try:
            self._point_policies(pair, outbound_waits=outbound_waits)
        except IpsecBackendError:
            self._withdraw(pair, states)
            raise
        self._pairs[inbound.spi] = pair
        self._by_mark[pair.number] = pair
        self._by_peer.setdefault(outbound.destination, {})[pair.number] = pair

    def remove(self, inbound_spi: int) -> None:
        """See :meth:`control.ipsec.backend.IpsecBackend.remove`."""
        pair = self._pairs.pop(inbound_spi, None)
        if pair is None:
            return
        del self._by_mark[pair.number]
        of_peer = self._by_peer[pair.outbound.destination]
        del of_peer[pair.number]
        if not of_peer:
            del self._by_peer[pair.outbound.destination]
        self._withdraw(pair, (pair.inbound, pair.outbound))

    def reroute(self, inbound_spi: int, encapsulation: UdpEncapsulation) -> None:
        """See :meth:`control.ipsec.backend.IpsecBackend.reroute`; what the kernel refuses is counted and logged."""
        pair = self._pairs.get(inbound_spi)
        if pair is None:
            return
        pair.inbound = replace(pair.inbound, encapsulation=encapsulation)
        pair.outbound = replace(pair.outbound, encapsulation=encapsulation)
        states = (
            _inbound_state(pair, kernel_selectors(pair.inbound)),
            _outbound_state(pair, kernel_selectors(pair.outbound)),
        )
        self._execute_surely(
            [Request(MessageType.UPDSA, state.to_wire(), f"reroute SPI {state.spi:#010x}") for state in states]
        )

    def usage_expiries(self) -> Sequence[UsageExpiry]:
        """See :meth:`control.ipsec.backend.IpsecBackend.usage_expiries`; they come by :meth:`handle_event`."""
        expiries, self._expiries = self._expiries, []
        return expiries

    def handle_event(self, event: Event) -> None:
        """Something the kernel has told; what is about others is passed over.

        A packet that lacks a state has no key exchange begun for it: it is the nodes that begin.
        """
        if not isinstance(event, StateExpired):
            self.statistics["xfrm-acquire"] += 1
            return
        pair = self._pair_of(event.destination, event.spi)
        if pair is not None:
            self._expire(pair, hard=event.hard)

    def resynchronise(self) -> None:
        """Find out from the kernel's states what events that were lost would have told.

        States of ours that belong to no pair are removed.
        """
        self.statistics["xfrm-resynchronised"] += 1
        try:
            found = {(state.destination, state.spi): state for state in self._channel.states()}
        except XfrmLost:
            self.statistics["kernel-lost"] += 1
            return
        for pair in self._pairs.values():
            for association in (pair.inbound, pair.outbound):
                state = found.pop((association.destination, association.spi), None)
                if state is None:
                    self._expire(pair, hard=True)
                elif association.limits is not None and association.limits.soft_reached(state.packets, state.bytes):
                    self._expire(pair, hard=False)
        # Those without an SPI stand for packets that lacked a state; the kernel drops them by itself.
        leftovers = [state for state in found.values() if state.spi and _is_ours(state.reqid)]
        if leftovers:
            self._execute_surely([_deletion(state) for state in leftovers])

    def _pair_of(self, destination: IPv6Address, spi: int) -> _Pair | None:
        pair = self._pairs.get(spi)
        if pair is not None and pair.inbound.destination == destination:
            return pair
        for pair in self._by_peer.get(destination, {}).values():
            if pair.outbound.spi == spi:
                return pair
        return None

    def _expire(self, pair: _Pair, *, hard: bool) -> None:
        if hard not in pair.told:
            pair.told.add(hard)
            self.statistics["usage-exceeded"] += hard
            self._expiries.append(UsageExpiry(pair.inbound.spi, hard))

    def list(self) -> tuple[tuple[SecurityAssociation, SecurityAssociation], ...]:
        """See :meth:`control.ipsec.backend.IpsecBackend.list`; the counters are read from the kernel first."""
        try:
            reports = {(state.destination, state.spi): state for state in self._channel.states()}
        except XfrmLost:
            reports = {}
        for pair in self._pairs.values():
            for association in (pair.inbound, pair.outbound):
                report = reports.get((association.destination, association.spi))
                if report is not None:
                    usage = association.usage
                    usage.packets, usage.bytes, usage.errors = report.packets, report.bytes, report.errors
        return tuple((pair.inbound, pair.outbound) for pair in self._pairs.values())

    def opened_by(self, mark: int) -> SecurityAssociation | None:
        """The inbound association that opened a packet of this mark; None if it was none of ours."""
        pair = self._by_mark.get(mark)
        return None if pair is None else pair.inbound

    def outbound_for(self, destination: IPv6Address, protocol: int, source_port: int | None) -> SecurityAssociation:
        """See :meth:`control.ipsec.backend.KernelIpsecBackend.outbound_for`."""
        for pair in self._by_peer.get(destination, {}).values():
            if pair.outbound.covers(protocol, source_port, None):
                return pair.outbound
        raise NoSecurityAssociation(f"to {destination}, protocol {protocol}")

    def _next_number(self) -> int:
        while True:
            self._number = self._number % (_NUMBERS - 1) + 1
            if _OURS | self._number not in self._by_mark:
                return _OURS | self._number

    def _create(self, states: Sequence[State]) -> None:
        requests = [Request(MessageType.NEWSA, state.to_wire(), f"add SPI {state.spi:#010x}") for state in states]
        # Should answers be lost, a state may be left over: without a policy or a known mark it does nothing.
        answers = self._execute(requests)
        refusals = [refused for refused in answers if refused is not None]
        if refusals:
            # One that was refused may be another's, of the same SPI.
            created = (state for state, refused in zip(states, answers, strict=True) if refused is None)
            self._execute_surely([_deletion(state) for state in created])
            reason = "spi-in-use" if refusals[0].errno == errno.EEXIST else "kernel-refused"
            raise IpsecBackendError(reason, str(refusals[0]))

    def _point_policies(self, pair: _Pair, *, outbound_waits: bool) -> None:
        for place in pair.selectors:
            users = self._users.setdefault(place, [])
            users.insert(0 if outbound_waits else len(users), pair.number)
        for refused in self._execute([self._policy_request(*place) for place in pair.selectors]):
            if refused is not None:
                raise IpsecBackendError("kernel-refused", str(refused))

    def _withdraw(self, pair: _Pair, states: Iterable[State | SecurityAssociation]) -> None:
        """Remove states, and point the policies of a pair to those that still have them, or remove them too."""
        for place in pair.selectors:
            users = self._users.get(place, [])
            if pair.number in users:
                users.remove(pair.number)
        requests = [self._policy_request(*place) for place in pair.selectors]
        requests += [_deletion(state) for state in states]
        for place in pair.selectors:
            if not self._users.get(place):
                self._users.pop(place, None)
        self._execute_surely(requests)

    def _policy_request(self, direction: Direction, selector: Selector) -> Request:
        """What makes the kernel's policy of a selector what it should be by now."""
        users = self._users.get((direction, selector))
        if not users:
            return Request(MessageType.DELPOLICY, policy_key(direction, selector), "remove a policy")
        reqid = INBOUND_REQID if direction is Direction.IN else users[-1]
        priority = _PRIORITY_OF_TYPES if selector.source_port[1] else _PRIORITY_OF_ALL
        policy = Policy(direction, selector, reqid, priority)
        return Request(MessageType.UPDPOLICY, policy.to_wire(), f"have {selector.destination} protected")

    def _remove_leftovers(self) -> None:
        requests = [
            Request(MessageType.DELPOLICY, policy_key(Direction(policy.direction), policy.selector), "remove a policy")
            for policy in self._channel.policies()
            if policy.selector is not None and policy.reqids and all(map(_is_ours, policy.reqids))
        ]
        requests += [_deletion(state) for state in self._channel.states() if _is_ours(state.reqid)]
        if requests:
            _LOG.info("%d IPsec states and policies of an earlier process are removed", len(requests))
            self._execute_surely(requests)

    def _execute(self, requests: Sequence[Request]) -> Sequence[XfrmRefused | None]:
        try:
            return self._channel.execute(requests)
        except XfrmLost as error:
            self.statistics["kernel-lost"] += 1
            raise IpsecBackendError("kernel-lost", str(error)) from error

    def _execute_surely(self, requests: Sequence[Request]) -> None:
        """Carry out requests that may be repeated; what is left over after all goes when the daemon starts again."""
        for _ in range(_TRIES):
            try:
                answers = self._channel.execute(requests)
            except XfrmLost:
                self.statistics["kernel-lost"] += 1
                continue
            for refused in answers:
                if refused is not None and refused.errno not in _GONE:
                    self.statistics["kernel-refused"] += 1
                    _LOG.error("the kernel does not %s", refused)
            return
        _LOG.error("the kernel does not answer: IPsec states may be left over until the next start")


def _is_ours(reqid: int) -> bool:
    return reqid & ~(_NUMBERS - 1) == _OURS


def _deletion(state: State | StateReport | SecurityAssociation) -> Request:
    return Request(MessageType.DELSA, state_key(state.destination, state.spi), f"remove SPI {state.spi:#010x}")


def _inbound_state(pair: _Pair, selectors: Sequence[Selector]) -> State:
    flow = pair.inbound.encapsulation
    ports = None if flow is None else Encapsulation(flow.remote_port, flow.local_port)
    return _state(pair.inbound, selectors, INBOUND_REQID, pair.number, ports)


def _outbound_state(pair: _Pair, selectors: Sequence[Selector]) -> State:
    flow = pair.outbound.encapsulation
    ports = None if flow is None else Encapsulation(flow.local_port, flow.remote_port)
    return _state(pair.outbound, selectors, pair.number, 0, ports)


def _state(
    association: SecurityAssociation,
    selectors: Sequence[Selector],
    reqid: int,
    mark: int,
    encapsulation: Encapsulation | None,
) -> State:
    everything = Selector(association.source, association.destination)
    suite, limits = association.suite, association.limits
    combined = _COMBINED_MODES.get(suite.encryption)
    check_bits = 8 * suite.integrity_check_size
    return State(
        source=association.source,
        destination=association.destination,
        spi=association.spi,
        reqid=reqid,
        selector=selectors[0] if len(selectors) == 1 else everything,
        replay_window=association.replay_window,
        mark=mark,
        aead=Algorithm(combined, association.encryption_key, check_bits) if combined else None,
        cipher=None if combined else Algorithm(_CIPHERS[suite.encryption], association.encryption_key),
        authentication=None
        if combined
        else Algorithm(_INTEGRITY[suite.integrity], association.integrity_key, check_bits),
        encapsulation=encapsulation,
        limits=NO_LIMITS
        if limits is None
        else UsageLimits(limits.soft_bytes, limits.hard_bytes, limits.soft_packets, limits.hard_packets),
    )
