"""What is to be sent waits until it is asked for, then is protected: under the association it was queued for."""

from __future__ import annotations

import random
from ipaddress import IPv6Address, IPv6Network

import pytest

from control.home_agent.home_links import HomeLinks
from control.home_agent.registrations import Registrations
from control.home_agent.signalling import UserspaceSignalling
from control.ipsec.usage_limits import DEFAULT_USAGE_LIMITS, UsageLimits
from control.ipsec.userspace import UserspaceIpsec
from control.mobility.binding_cache import BindingCache
from control.mobility.extension_headers import parse_ipv6
from control.mobility.header import parse_mobility_message
from control.mobility.home_registration import HomeRegistration
from control.mobility.messages import HomeAgentSwitch
from tests.control.ipsec.associations import association_between

AGENT, HOME, CARE_OF = (IPv6Address(text) for text in ("2001:db8:a1::1", "2001:db8:100::17", "2001:db8:f::17"))
OTHER_HOME = IPv6Address("2001:db8:100::18")
SWITCH = HomeAgentSwitch(addresses=(AGENT,), bootstrap=True)
TWO_PACKETS = UsageLimits(1, 2, 2**40, 2**41)


class Ends:
    """A home agent that has a pair of associations with a node, and that node's half."""

    def __init__(self, limits: UsageLimits = DEFAULT_USAGE_LIMITS) -> None:
        self.ipsec, self.node = (UserspaceIpsec(random.Random(seed).randbytes) for seed in (1, 2))
        up, down = (0x1000, HOME, AGENT), (0x2000, AGENT, HOME)
        self.ipsec.install(association_between(*up, limits=limits), association_between(*down, limits=limits))
        self.node.install(association_between(*down), association_between(*up))
        rules = HomeRegistration(AGENT, [IPv6Network("2001:db8:100::/64")], 3600, BindingCache(10))
        signalling = UserspaceSignalling(AGENT, self.ipsec)
        self.registrations = Registrations(rules, signalling, HomeLinks(100.0))

    def send(self) -> bool:
        return self.registrations.send(SWITCH, HOME, CARE_OF, 1.0)

    def arrive(self) -> list[object]:
        """The messages that the node finds in what the home agent sends."""
        packets = [parse_ipv6(packet) for packet in self.registrations.packets_to_send() if isinstance(packet, bytes)]
        assert all(packet.destination == CARE_OF and packet.routing_header_2 == HOME for packet in packets)
        opened = [self.node.unprotect(AGENT, HOME, packet.payload, 1.0) for packet in packets]
        return [parse_mobility_message(each.payload, AGENT, HOME) for each in opened]


@pytest.fixture
def ends() -> Ends:
    return Ends()


def test_what_was_queued_is_sent_once(ends: Ends) -> None:
    assert ends.send()
    assert ends.send()
    assert ends.ipsec.statistics["protected"] == 0
    assert ends.arrive() == [SWITCH, SWITCH]
    assert ends.arrive() == []
    assert ends.registrations.messages == {("out", "home-agent-switch", ""): 2}


def test_what_no_association_covers_is_not_queued(ends: Ends) -> None:
    assert not ends.registrations.send(SWITCH, OTHER_HOME, CARE_OF, 1.0)
    assert ends.arrive() == []
    assert ends.registrations.messages == {}


def test_an_association_that_goes_meanwhile_protects_what_was_queued_for_it(ends: Ends) -> None:
    assert ends.send()
    ends.ipsec.remove(0x1000)
    assert not ends.send()
    assert ends.arrive() == [SWITCH]


def test_what_goes_beyond_the_limit_is_dropped_and_counted_and_the_rest_is_sent() -> None:
    ends = Ends(TWO_PACKETS)
    assert [ends.send() for _ in range(3)] == 3 * [True]
    assert ends.arrive() == [SWITCH, SWITCH]
    assert ends.registrations.statistics["usage-exceeded"] == 1
    assert ends.registrations.messages == {("out", "home-agent-switch", ""): 2}
