"""Duplicate address detection and unsolicited advertisements, alone and with an engine around them."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from control.home_agent.home_links import Defence, Detection, HomeLink, HomeLinks, link_local_of
from control.mobility.neighbour_discovery import (
    NeighbourMessageType,
    parse_neighbour_message,
    probe,
    unsolicited_advertisement,
)

HOME = IPv6Address("2001:db8:100::5")
OTHER_HOME = IPv6Address("2001:db8:100::6")
ROUTED = IPv6Address("2001:db8:900::5")
LINK_LOCAL = IPv6Address("fe80::5")
MAC = bytes.fromhex("020000000003")
LINK = HomeLink("home0", IPv6Address("fe80::1"), MAC, frozenset({IPv6Network("2001:db8:100::/64")}))
OBJECTION = unsolicited_advertisement(HOME, IPv6Address("fe80::77"), bytes(6))


@pytest.fixture
def links() -> HomeLinks:
    links = HomeLinks(1000.0)
    links.update([LINK])
    return links


def sent(links: HomeLinks) -> list[bytes]:
    packets = links.packets_to_send()
    assert all(packet.link == "home0" for packet in packets)
    return [packet.packet for packet in packets]


def told(target: IPv6Address) -> bytes:
    return unsolicited_advertisement(target, LINK.source, MAC)


def test_an_address_that_nobody_claims_within_a_second_is_free(links: HomeLinks) -> None:
    assert links.detect(HOME, False, 10.0) is Detection.RUNNING
    assert links.detect(HOME, False, 10.5) is Detection.RUNNING
    assert sent(links) == [probe(HOME)]
    assert links.next_timer() == 11.0
    links.handle_timer(10.9)
    assert links.finished() == []

    links.handle_timer(11.0)

    assert links.finished() == [HOME]
    assert links.detect(HOME, False, 11.0) is Detection.UNIQUE
    assert not links.is_duplicate(HOME)
    assert sent(links) == []
    assert links.detect(HOME, False, 30.0) is Detection.RUNNING  # that was long ago


@pytest.mark.parametrize("objection", [OBJECTION, probe(HOME)], ids=["has it", "wants it"])
def test_whoever_has_or_wants_the_address_makes_it_a_duplicate(links: HomeLinks, objection: bytes) -> None:
    links.detect(HOME, False, 0.0)
    links.receive("other0", objection, 0.1)
    links.receive("home0", told(OTHER_HOME), 0.1)
    links.receive("home0", b"nonsense", 0.1)
    assert links.finished() == []

    links.receive("home0", objection, 0.2)
    links.receive("home0", objection, 0.3)

    assert links.finished() == [HOME]
    assert links.is_duplicate(HOME)
    assert links.detect(HOME, False, 0.4) is Detection.DUPLICATE
    links.forget_result(HOME)
    assert links.detect(HOME, False, 0.5) is Detection.RUNNING
    assert links.statistics["duplicate-address"] == 1


def test_who_only_asks_for_the_address_does_not_claim_it(links: HomeLinks) -> None:
    links.detect(HOME, False, 0.0)
    question = bytearray(probe(HOME))
    question[23] = 9  # of the source; the checksum makes up for it
    question[42:44] = ((int.from_bytes(question[42:44], "big") - 9) % 0xFFFF).to_bytes(2, "big")
    assert parse_neighbour_message(bytes(question)).type is NeighbourMessageType.SOLICITATION

    links.receive("home0", bytes(question), 0.1)

    assert links.finished() == []


def test_the_link_local_address_is_asked_for_and_told_too_where_that_is_wanted(links: HomeLinks) -> None:
    links.detect(HOME, True, 0.0)
    assert sent(links) == [probe(HOME), probe(LINK_LOCAL)]
    links.receive("home0", told(LINK_LOCAL), 0.1)
    assert links.is_duplicate(HOME)

    links.serve(OTHER_HOME, True, announce=True, now=1.0)
    assert sent(links) == [told(OTHER_HOME), told(link_local_of(OTHER_HOME))]
    assert links.defence_changes() == [(link_local_of(OTHER_HOME), "home0", Defence.NODE)]
    links.stop(OTHER_HOME)
    assert links.defence_changes() == [(link_local_of(OTHER_HOME), "home0", Defence.NONE)]


def test_a_mobile_router_is_told_and_defended_as_one_for_as_long_as_it_is(links: HomeLinks) -> None:
    links.serve(HOME, True, announce=True, now=0.0, router=True)
    assert sent(links) == [
        unsolicited_advertisement(target, LINK.source, MAC, router=True) for target in (HOME, LINK_LOCAL)
    ]
    assert links.defence_changes() == [(HOME, "home0", Defence.ROUTER), (LINK_LOCAL, "home0", Defence.ROUTER)]
    assert links.special_addresses() == {(HOME, "home0"), (LINK_LOCAL, "home0")}

    links.serve(HOME, True, announce=False, now=1.0)
    assert links.defence_changes() == [(LINK_LOCAL, "home0", Defence.NODE), (HOME, "home0", Defence.NONE)]


def test_a_link_local_address_of_two_is_served_until_both_are_gone() -> None:
    links = HomeLinks(1000.0)
    two = HomeLink("home0", LINK.source, MAC, LINK.prefixes | {IPv6Network("2001:db8:900::/64")})
    links.update([two])
    links.serve(HOME, True, announce=False, now=0.0)
    links.serve(ROUTED, True, announce=False, now=0.0)
    assert links.special_addresses() == {(LINK_LOCAL, "home0")}
    links.defence_changes()
    links.stop(HOME)
    assert links.defence_changes() == []
    links.serve(ROUTED, False, announce=False, now=1.0)
    assert links.defence_changes() == [(LINK_LOCAL, "home0", Defence.NONE)]


@pytest.mark.parametrize("claimed", [False, True])
def test_a_link_local_address_of_two_is_asked_for_both(claimed: bool) -> None:
    prefixes = [IPv6Network("2001:db8:100::/64"), IPv6Network("2001:db8:200::/64")]
    links = HomeLinks(1000.0)
    links.update([HomeLink("home0", LINK.source, MAC, frozenset(prefixes))])
    homes = [prefix[5] for prefix in prefixes]
    for number, home in enumerate(homes):
        links.detect(home, True, 0.1 * number)

    if claimed:
        links.receive("home0", unsolicited_advertisement(LINK_LOCAL, LINK_LOCAL, bytes(6)), 0.5)
    links.handle_timer(1.0)
    links.handle_timer(1.1)

    assert links.finished() == homes
    assert [links.is_duplicate(home) for home in homes] == [claimed, claimed]
    links.receive("home0", unsolicited_advertisement(LINK_LOCAL, LINK_LOCAL, bytes(6)), 1.2)
    assert links.finished() == []


def test_routed_home_addresses_are_nobodys_on_the_link(links: HomeLinks) -> None:
    assert links.detect(ROUTED, True, 0.0) is Detection.UNIQUE
    links.serve(ROUTED, True, announce=True, now=0.0)
    assert sent(links) == []
    assert links.special_addresses() == set()
    assert links.next_timer() is None


def test_all_hosts_are_told_three_times_a_second_apart(links: HomeLinks) -> None:
    links.serve(HOME, False, announce=True, now=5.0)
    assert sent(links) == [told(HOME)]
    for at in (6.0, 7.0):
        assert links.next_timer() == at
        links.handle_timer(at - 0.1)
        assert sent(links) == []
        links.handle_timer(at)
        assert sent(links) == [told(HOME)]
    assert links.next_timer() is None


def test_a_renewal_tells_nobody_and_interrupts_nothing(links: HomeLinks) -> None:
    links.serve(HOME, False, announce=True, now=0.0)
    links.serve(HOME, False, announce=False, now=0.5)
    sent(links)
    links.handle_timer(1.0)
    assert sent(links) == [told(HOME)]


def test_nobody_is_told_any_more_once_the_binding_is_gone(links: HomeLinks) -> None:
    links.serve(HOME, False, announce=True, now=0.0)
    sent(links)
    links.stop(HOME)
    links.handle_timer(1.0)
    assert sent(links) == []
    links.serve(HOME, False, announce=True, now=2.0)
    links.clear()
    sent(links)
    links.handle_timer(3.0)
    assert sent(links) == []


def test_a_new_ethernet_address_is_told_for_all(links: HomeLinks) -> None:
    links.serve(HOME, False, announce=False, now=0.0)
    assert sent(links) == []
    new = HomeLink("home0", LINK.source, bytes.fromhex("020000000099"), LINK.prefixes)
    links.update([new])
    links.handle_timer(0.0)
    assert sent(links) == [unsolicited_advertisement(HOME, LINK.source, new.link_address)]


def test_thousands_are_told_at_the_rate_first_those_never_told_and_questions_before_all() -> None:
    links = HomeLinks(100.0)
    links.update([LINK])
    homes = [HOME + index for index in range(2000)]
    now, sending = 0.0, []
    for home in homes:
        links.serve(home, False, announce=True, now=now)
    asked_at = None
    while (due := links.next_timer()) is not None:
        now = max(now, due)
        if now > 5 and asked_at is None:
            asked_at = now
            links.detect(IPv6Address("2001:db8:100::ffff:5"), False, now)
        links.handle_timer(now)
        sending += [(now, packet) for packet in sent(links)]
    advertised = [packet for _, packet in sending if packet != probe(IPv6Address("2001:db8:100::ffff:5"))]
    assert sorted(advertised) == sorted(told(home) for home in homes for _ in range(3))
    assert set(advertised[:2000]) == {told(home) for home in homes}
    assert now >= 6000 / 100.0 - 0.2
    times = [at for at, _ in sending]
    assert all(later - earlier >= 1.0 - 0.11 for earlier, later in zip(times, times[110:], strict=False))
    (probed_at,) = [at for at, packet in sending if packet == probe(IPv6Address("2001:db8:100::ffff:5"))]
    assert asked_at is not None
    assert probed_at <= asked_at + 0.02
