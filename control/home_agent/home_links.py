"""Home links with hosts on them: whether a home address is free there, and telling the hosts who receives for it.

Duplicate address detection before the first registration (RFC 6275 section 10.3.1, RFC 4862 section 5.4), unsolicited
Neighbour Advertisements when the home agent begins to serve (RFC 6275 section 10.4.1). Solicitations are answered by
the data path. What is multicast goes out at a bounded rate, detection first and repetitions last.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heappop, heappush
from ipaddress import IPv6Address, IPv6Network
from itertools import count

from control.bootstrap.scheduler import RateGate
from control.mobility.addresses import UNSPECIFIED
from control.mobility.neighbour_discovery import (
    NeighbourMessageType,
    parse_neighbour_message,
    probe,
    unsolicited_advertisement,
)
from control.wire import WireError

RETRANS_TIMER_S = 1.0
"""Between advertisements of one address, and how long somebody has to object to its use (RFC 4861 section 10)."""
MAX_NEIGHBOUR_ADVERTISEMENTS = 3

_BURST_S = 0.1
_RESULT_KEPT_S = 10.0
_LINK_LOCAL_PREFIX = 0xFE80 << 112
_INTERFACE_IDENTIFIER = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class HomeLink:
    """A link as the home agent is attached to it.

    Attributes:
        name: of the interface.
        source: the home agent's address there.
        link_address: its Ethernet address.
        prefixes: on-link prefixes; home addresses in others are routed.
    """

    name: str
    source: IPv6Address
    link_address: bytes
    prefixes: frozenset[IPv6Network]


@dataclass(frozen=True, slots=True)
class LinkPacket:
    """A whole IPv6 packet for the link behind an interface."""

    link: str
    packet: bytes


class Detection(Enum):
    """What is known of the use of an address by others."""

    RUNNING = auto()
    UNIQUE = auto()
    DUPLICATE = auto()


@dataclass(slots=True)
class _Question:
    link: str
    targets: tuple[IPv6Address, ...]
    over_at: float | None = None
    """None: not asked yet."""


@dataclass(frozen=True, slots=True)
class _Served:
    link: str
    targets: tuple[IPv6Address, ...]
    router: bool

    @property
    def special(self) -> tuple[IPv6Address, ...]:
        """What the data path has to be told of: of home addresses it knows but those of routers."""
        return self.targets if self.router else self.targets[1:]


class Defence(Enum):
    """How the data path answers for an address."""

    NONE = auto()
    NODE = auto()
    ROUTER = auto()


def link_local_of(home_address: IPv6Address) -> IPv6Address:
    """The link-local address with the interface identifier of a home address (RFC 6275 section 10.3.1)."""
    return IPv6Address(_LINK_LOCAL_PREFIX | int(home_address) & _INTERFACE_IDENTIFIER)


class HomeLinks:
    """All home links of a home agent; without any, nothing here does anything.

    Attributes:
        statistics: what was sent and found, by slug.
    """

    def __init__(self, rate_per_s: float) -> None:
        """No links yet.

        Args:
            rate_per_s: most packets multicast in a second, over all links.
        """
        self.statistics: Counter[str] = Counter()
        self._gate = RateGate(rate_per_s, max(1.0, rate_per_s * _BURST_S))
        self._links: dict[str, HomeLink] = {}
        self._questions: dict[IPv6Address, _Question] = {}
        self._unasked: deque[IPv6Address] = deque()
        # Nodes of several prefixes may have the same link-local address.
        self._asked: dict[tuple[str, IPv6Address], tuple[IPv6Address, ...]] = {}
        self._ends: deque[tuple[float, IPv6Address, _Question]] = deque()
        self._duplicates: set[IPv6Address] = set()
        self._unique_until: dict[IPv6Address, float] = {}
        self._finished: list[IPv6Address] = []
        self._served: dict[IPv6Address, _Served] = {}
        self._unannounced: deque[tuple[IPv6Address, _Served]] = deque()
        self._repetitions: list[tuple[float, int, int, IPv6Address, _Served]] = []
        self._tickets = count()
        self._packets: list[LinkPacket] = []
        # Home addresses of several prefixes may have the same interface identifier.
        self._special_uses: Counter[tuple[IPv6Address, str]] = Counter()
        self._defence_changes: list[tuple[IPv6Address, str, Defence]] = []

    def update(self, links: Iterable[HomeLink]) -> None:
        """The links as they are now; where the home agent's Ethernet address is new, all hosts are told."""
        before, self._links = self._links, {link.name: link for link in links}
        renewed = {
            name
            for name, link in self._links.items()
            if name in before and before[name].link_address != link.link_address
        }
        for home_address, served in self._served.items():
            if served.link in renewed:
                self._unannounced.append((home_address, served))

    def link_of(self, home_address: IPv6Address) -> str | None:
        """The link that the home address is on, None for one that is routed to the home agent."""
        for link in self._links.values():
            if any(home_address in prefix for prefix in link.prefixes):
                return link.name
        return None

    # Duplicate address detection

    def detect(self, home_address: IPv6Address, link_local: bool, now: float) -> Detection:
        """Whether nobody else uses the address, as far as known; begins to find out if it is not.

        Args:
            home_address: the address.
            link_local: whether the same is asked of the link-local address.
            now: monotonic seconds.
        """
        if self._unique_until.get(home_address, now) > now:
            return Detection.UNIQUE
        if home_address in self._duplicates:
            return Detection.DUPLICATE
        link = self.link_of(home_address)
        if link is None:
            return Detection.UNIQUE
        if home_address not in self._questions:
            self._questions[home_address] = _Question(link, _targets(home_address, link_local))
            self._unasked.append(home_address)
            self._ask_and_tell(now)
        return Detection.RUNNING

    def is_duplicate(self, home_address: IPv6Address) -> bool:
        """Whether somebody else was found to use the address, until :meth:`forget_result`."""
        return home_address in self._duplicates

    def forget_result(self, home_address: IPv6Address) -> None:
        """Whoever waited for it knows it: next time, look again."""
        self._duplicates.discard(home_address)

    def finished(self) -> list[IPv6Address]:
        """Home addresses whose detection has ended, drained."""
        finished, self._finished = self._finished, []
        return finished

    # Serving

    def serve(
        self, home_address: IPv6Address, link_local: bool, *, announce: bool, now: float, router: bool = False
    ) -> None:
        """Receive for a home address from now on; on a routed one nothing happens.

        Args:
            home_address: the address.
            link_local: whether the link-local address is served as well.
            announce: whether the hosts are to be told.
            now: monotonic seconds.
            router: whether it is a mobile router's.
        """
        link = self.link_of(home_address)
        if link is None:
            return
        served = _Served(link, _targets(home_address, link_local), router)
        if self._served.get(home_address) == served and not announce:
            return  # and what is being told goes on
        self._replace(home_address, served)
        if announce:
            self._unannounced.append((home_address, served))
            self._ask_and_tell(now)

    def stop(self, home_address: IPv6Address) -> None:
        """The binding is gone: the node speaks for itself, or nobody does."""
        self._replace(home_address, None)
        self._unique_until.pop(home_address, None)

    def clear(self) -> None:
        """Serve nobody, and let no question be answered."""
        for home_address in list(self._served):
            self._replace(home_address, None)
        self._questions.clear()
        self._unasked.clear()
        self._asked.clear()
        self._ends.clear()
        self._duplicates.clear()
        self._unique_until.clear()
        self._unannounced.clear()
        self._repetitions.clear()
        self._finished.clear()

    def special_addresses(self) -> set[tuple[IPv6Address, str]]:
        """Link-local addresses that are served, and all of mobile routers, each with its link."""
        return set(self._special_uses)

    def defence_changes(self) -> list[tuple[IPv6Address, str, Defence]]:
        """Such addresses with their links, and how they are served from now on; drained."""
        changes, self._defence_changes = self._defence_changes, []
        return changes

    # Input, time and output

    def receive(self, link: str, packet: bytes, now: float) -> None:
        """Neighbour discovery of others, seen on a link."""
        if not self._asked:
            return
        try:
            message = parse_neighbour_message(packet)
        except WireError as error:
            self.statistics[error.reason] += 1
            return
        # Who asks with an address of his own only wants to reach the target.
        if message.type is NeighbourMessageType.SOLICITATION and message.source != UNSPECIFIED:
            return
        for home_address in self._asked.get((link, message.target), ()):
            self._end(home_address, Detection.DUPLICATE, now)

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        times = [self._ends[0][0]] if self._ends else []
        if self._unasked or self._unannounced:
            times.append(self._gate.opens_at)
        elif self._repetitions:
            times.append(max(self._repetitions[0][0], self._gate.opens_at))
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Let time pass."""
        while self._ends and self._ends[0][0] <= now:
            _, home_address, question = self._ends.popleft()
            if self._questions.get(home_address) is question:
                self._end(home_address, Detection.UNIQUE, now)
        self._ask_and_tell(now)

    def packets_to_send(self) -> list[LinkPacket]:
        """What is to be sent, drained."""
        packets, self._packets = self._packets, []
        return packets

    def _replace(self, home_address: IPv6Address, served: _Served | None) -> None:
        before = self._served.pop(home_address, None)
        if served is not None:
            self._served[home_address] = served
            for address in served.special:
                self._special_uses[address, served.link] += 1
                how = Defence.ROUTER if served.router else Defence.NODE
                self._defence_changes.append((address, served.link, how))
        if before is None:
            return
        for address in before.special:
            used = (address, before.link)
            self._special_uses[used] -= 1
            if not self._special_uses[used]:
                del self._special_uses[used]
                self._defence_changes.append((*used, Defence.NONE))

    def _end(self, home_address: IPv6Address, result: Detection, now: float) -> None:
        question = self._questions.pop(home_address)
        for target in question.targets:
            asked = (question.link, target)
            others = tuple(each for each in self._asked.pop(asked) if each != home_address)
            if others:
                self._asked[asked] = others
        self._finished.append(home_address)
        if result is Detection.DUPLICATE:
            self._duplicates.add(home_address)
            self.statistics["duplicate-address"] += 1
            return
        # The oldest are in front: all are kept for equally long.
        self._unique_until.pop(home_address, None)
        self._unique_until[home_address] = now + _RESULT_KEPT_S
        while self._unique_until and next(iter(self._unique_until.values())) <= now:
            del self._unique_until[next(iter(self._unique_until))]

    def _ask_and_tell(self, now: float) -> None:
        while self._gate.opens_at <= now:
            if not self._send_next(now):
                return

    def _send_next(self, now: float) -> bool:
        """One address's turn; whether there was any."""
        if self._unasked:
            self._ask(self._unasked.popleft(), now)
        elif self._unannounced:
            home_address, served = self._unannounced.popleft()
            self._tell(home_address, served, 1, now)
        elif self._repetitions and self._repetitions[0][0] <= now:
            _, _, number, home_address, served = heappop(self._repetitions)
            self._tell(home_address, served, number, now)
        else:
            return False
        return True

    def _ask(self, home_address: IPv6Address, now: float) -> None:
        question = self._questions.get(home_address)
        if question is None or question.over_at is not None:
            return
        for target in question.targets:
            self._asked[question.link, target] = (*self._asked.get((question.link, target), ()), home_address)
            self._multicast(question.link, probe(target), "detection-probe", now)
        question.over_at = now + RETRANS_TIMER_S
        self._ends.append((question.over_at, home_address, question))

    def _tell(self, home_address: IPv6Address, served: _Served, number: int, now: float) -> None:
        """Advertise, for the ``number``th time, what is still served so."""
        link = self._links.get(served.link)
        if self._served.get(home_address) is not served or link is None:
            return
        for target in served.targets:
            packet = unsolicited_advertisement(target, link.source, link.link_address, router=served.router)
            self._multicast(served.link, packet, "unsolicited-advertisement", now)
        if number < MAX_NEIGHBOUR_ADVERTISEMENTS:
            again = (now + RETRANS_TIMER_S, next(self._tickets), number + 1, home_address, served)
            heappush(self._repetitions, again)

    def _multicast(self, link: str, packet: bytes, slug: str, now: float) -> None:
        self._gate.take(now)
        self.statistics[slug] += 1
        self._packets.append(LinkPacket(link, packet))


def _targets(home_address: IPv6Address, link_local: bool) -> tuple[IPv6Address, ...]:
    return (home_address, link_local_of(home_address)) if link_local else (home_address,)
