"""A node that goes to its home agent by itself."""

from __future__ import annotations

from ipaddress import IPv6Address
from random import Random

import pytest

from control.mobile_node.events import (
    BindingLost,
    BindingUpdateSent,
    Deregistered,
    FirstTunnelledPacket,
    IkeEstablished,
    IkeStarted,
    Registered,
    RegistrationFailed,
)
from control.mobility.extension_headers import build_ipv6, parse_ipv6
from control.mobility.messages import BindingAcknowledgement, BindingRefreshRequest, UnknownMobilityMessage
from control.mobility.options import AlternateCareOfAddress

HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::11")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c0::11")
CORRESPONDENT = IPv6Address("2001:db8:cc::1")


def packet_from_home(payload=b"hello"):
    return build_ipv6(HOME_ADDRESS, CORRESPONDENT, 59, payload)


def test_it_registers(world):
    node = world.add_node()
    home_agent = world.add_home_agent()
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    assert [type(event) for event in world.events] == [IkeStarted, IkeEstablished, BindingUpdateSent, Registered]
    registered = world.of(Registered)[0]
    assert (registered.home_agent, registered.home_address) == (HA1, HOME_ADDRESS)
    assert registered.lifetime_s == 600.0
    assert not registered.refresh
    assert node.registered
    binding = home_agent.cache.get(HOME_ADDRESS)
    assert binding.care_of_address == CARE_OF_ADDRESS
    assert binding.identity == "mn1@mn.example.org"


def test_its_binding_update_asks_for_what_a_home_registration_needs(world):
    node = world.add_node(lifetime_s=601.0)
    home_agent = world.add_home_agent()
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    update = home_agent.binding_updates[0]
    assert update.home_registration
    assert update.acknowledge
    assert update.lifetime_units == 150
    assert AlternateCareOfAddress(CARE_OF_ADDRESS) in update.options
    on_the_wire = parse_ipv6(world.to_home_agents[0])
    assert (on_the_wire.source, on_the_wire.destination) == (CARE_OF_ADDRESS, HA1)
    assert on_the_wire.home_address_option == HOME_ADDRESS
    assert on_the_wire.next_header == 50


@pytest.mark.parametrize("seed", range(12))
def test_loss_only_delays_it(world, seed):
    random = Random(seed)
    world.lose = lambda: random.random() < 0.3
    node = world.add_node()
    world.add_home_agent()
    node.register(HA1, "ha1.example.org", world.now)
    world.run(240)
    assert node.registered


def test_an_unanswered_binding_update_is_repeated_with_the_waiting_time_doubled(world):
    node = world.add_node()
    home_agent = world.add_home_agent()
    home_agent.silent = True
    node.register(HA1, "ha1.example.org", world.now)
    start = world.now
    times = []
    while world.now < start + 46:
        world.run(0.25)
        times += [world.now - start] * (len(home_agent.received) - len(times))
    assert times == pytest.approx([0.25, 1.75, 4.75, 10.75, 22.75], abs=0.3)
    numbers = [update.sequence_number for update in home_agent.binding_updates]
    assert [(number - numbers[0]) % 65536 for number in numbers] == [0, 1, 2, 3, 4]


def test_a_silent_home_agent_is_tried_anew_with_new_security_associations(world):
    node = world.add_node()
    home_agent = world.add_home_agent()
    home_agent.silent = True
    node.register(HA1, "ha1.example.org", world.now)
    world.run(50)
    assert [failure.reason for failure in world.of(RegistrationFailed)] == ["no-acknowledgement"]
    home_agent.silent = False
    world.run(5)
    assert len(home_agent.established) == 2
    assert node.registered


def test_a_dead_home_agent_is_tried_again_and_again(world):
    node = world.add_node()
    world.add_home_agent()
    world.dead.add(HA1)
    node.register(HA1, "ha1.example.org", world.now)
    world.run(300)
    failures = world.of(RegistrationFailed)
    assert {failure.reason for failure in failures} == {"timeout"}
    assert len(failures) >= 3
    world.dead.clear()
    world.run(130)
    assert node.registered


def test_it_refreshes_before_the_binding_ends(world):
    node = world.add_node(lifetime_s=100.0)
    home_agent = world.add_home_agent()
    node.register(HA1, "ha1.example.org", world.now)
    world.run(69)
    assert len(home_agent.binding_updates) == 1
    world.run(12)
    assert len(home_agent.binding_updates) == 2
    assert [event.refresh for event in world.of(Registered)] == [False, True]
    world.run(1000)
    assert not world.of(BindingLost)
    assert node.registered


def test_a_binding_that_cannot_be_refreshed_holds_until_its_lifetime_is_over(world):
    node = world.add_node(lifetime_s=400.0)
    world.add_home_agent()
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    world.dead.add(HA1)
    world.run(399)
    assert node.registered
    assert "no-acknowledgement" in {failure.reason for failure in world.of(RegistrationFailed)}
    world.run(2)
    assert not node.registered
    assert [event.reason for event in world.of(BindingLost)] == ["expired"]


def test_it_accepts_a_shorter_lifetime(world):
    node = world.add_node(lifetime_s=600.0)
    home_agent = world.add_home_agent(max_lifetime_s=60.0)
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    assert world.of(Registered)[0].lifetime_s == 60.0
    world.run(55)
    assert len(home_agent.binding_updates) == 2


def test_a_sequence_number_out_of_window_is_corrected(world):
    node = world.add_node()
    home_agent = world.add_home_agent()
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    node.deregister(world.now)
    world.settle()
    # A node that lost its memory begins somewhere else; the home agent still knows the number of the old binding.
    again = world.add_node()
    again.register(HA1, "ha1.example.org", world.now)
    world.settle()
    assert again.registered
    accepted = home_agent.cache.get(HOME_ADDRESS).sequence_number
    third = world.add_node()
    third._registrar._counter.last = (accepted - 5) % 65536
    third.register(HA1, "ha1.example.org", world.now)
    world.settle()
    assert third.registered
    assert home_agent.cache.get(HOME_ADDRESS).sequence_number == (accepted + 1) % 65536


def test_a_refusal_is_reported_and_tried_again_later(world):
    node = world.add_node()
    home_agent = world.add_home_agent()
    home_agent.status_to_answer = 129
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    assert [failure.reason for failure in world.of(RegistrationFailed)] == ["refused-administratively-prohibited"]
    assert not node.registered
    home_agent.status_to_answer = None
    world.run(3)
    assert node.registered
    assert len(home_agent.established) == 1, "the security associations there are do"


def test_a_wrong_key_is_no_registration(world):
    node = world.add_node()
    home_agent = world.add_home_agent(key=b"another key")
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    assert [failure.reason for failure in world.of(RegistrationFailed)] == ["authentication-failed"]
    assert not home_agent.received


def test_a_home_agent_that_is_not_trusted_is_refused_although_it_knows_the_key(world):
    node = world.add_node()
    home_agent = world.add_home_agent(identity="ha1.example.net")
    node.register(HA1, "ha1.example.net", world.now)
    world.settle()
    assert [failure.reason for failure in world.of(RegistrationFailed)] == ["authentication-failed"]
    assert not home_agent.received


def test_a_shared_key_needs_to_know_the_home_agent(world):
    node = world.add_node()
    world.add_home_agent()
    node.register(HA1, None, world.now)
    assert [event.reason for event in node.events()] == ["home-agent-identity-unknown"]
    assert node.next_timer() is None


def test_it_deregisters(registered):
    node = registered.nodes[CARE_OF_ADDRESS]
    node.deregister(registered.now)
    registered.settle()
    assert registered.of(Deregistered) == [Deregistered(HA1, acknowledged=True)]
    assert registered.home_agents[HA1].cache.get(HOME_ADDRESS) is None
    assert not node.registered
    registered.run(1000)
    assert not node.registered


def test_it_stops_waiting_for_the_answer_to_a_deregistration(registered):
    registered.dead.add(HA1)
    registered.nodes[CARE_OF_ADDRESS].deregister(registered.now)
    registered.run(20)
    assert registered.of(Deregistered) == [Deregistered(HA1, acknowledged=False)]


def test_closing_tells_the_home_agent(registered):
    node = registered.nodes[CARE_OF_ADDRESS]
    node.close(registered.now)
    registered.settle()
    assert len(registered.home_agents[HA1].ipsec) == 0
    assert len(node.ipsec) == 0


def test_a_home_agent_that_closes_the_ike_sa_is_asked_for_another(registered):
    home_agent = registered.home_agents[HA1]
    home_agent.established[0].delete(registered.now)
    registered.run(5)
    assert len(home_agent.established) == 2
    assert registered.nodes[CARE_OF_ADDRESS].registered


def test_a_refresh_request_is_obeyed(registered):
    home_agent = registered.home_agents[HA1]
    home_agent.send(BindingRefreshRequest(), registered.now)
    registered.settle()
    assert len(home_agent.binding_updates) == 2


def test_an_unknown_message_is_answered_with_a_binding_error(registered):
    home_agent = registered.home_agents[HA1]
    home_agent.send(UnknownMobilityMessage(99, bytes(10)), registered.now)
    registered.settle()
    error = home_agent.received[-1]
    assert error.status == 2


def test_an_acknowledgement_nobody_asked_for_changes_nothing(registered):
    node = registered.nodes[CARE_OF_ADDRESS]
    registered.home_agents[HA1].send(BindingAcknowledgement(129, 1), registered.now)
    registered.settle()
    assert node.registered
    assert node.statistics["unexpected-acknowledgement"] == 1


# The tunnel


def test_packets_go_both_ways_through_the_tunnel(registered):
    node = registered.nodes[CARE_OF_ADDRESS]
    inner = build_ipv6(CORRESPONDENT, HOME_ADDRESS, 59, b"to the node")
    outer = build_ipv6(HA1, CARE_OF_ADDRESS, 41, inner)
    assert node.receive_packet(outer, registered.now) == inner
    assert node.receive_packet(outer + b"\0\0\0", registered.now) == inner, "padding of the link is cut off"
    assert node.events() == [FirstTunnelledPacket(HA1)]
    sent = parse_ipv6(node.tunnel(packet_from_home()))
    assert (sent.source, sent.destination, sent.next_header) == (CARE_OF_ADDRESS, HA1, 41)
    assert sent.payload == packet_from_home()


def test_the_tunnel_takes_packets_of_the_home_agent_only(registered):
    node = registered.nodes[CARE_OF_ADDRESS]
    inner = build_ipv6(CORRESPONDENT, HOME_ADDRESS, 59, b"forged")
    assert node.receive_tunnelled(HA2, inner) is None
    assert node.receive_packet(build_ipv6(CORRESPONDENT, CARE_OF_ADDRESS, 41, inner), registered.now) is None
    assert node.statistics["tunnel-not-from-home-agent"] == 2
    assert not node.events()


def test_the_tunnel_takes_packets_for_the_home_address_only(registered):
    node = registered.nodes[CARE_OF_ADDRESS]
    other = build_ipv6(CORRESPONDENT, IPv6Address("2001:db8:100::12"), 59, b"")
    assert node.receive_tunnelled(HA1, other) is None
    assert node.receive_tunnelled(HA1, b"\x60") is None
    assert node.receive_tunnelled(HA1, b"\x45" + other[1:]) is None
    assert node.statistics["tunnel-not-for-home-address"] == 1
    assert node.statistics["tunnel-malformed"] == 2


def test_only_packets_from_the_home_address_go_into_the_tunnel(registered):
    node = registered.nodes[CARE_OF_ADDRESS]
    assert node.tunnel(build_ipv6(CARE_OF_ADDRESS, CORRESPONDENT, 59, b"")) is None
    assert node.tunnel(b"") is None
    assert node.statistics["tunnel-not-from-home-address"] == 2


def test_nothing_goes_through_before_registration(world):
    node = world.add_node()
    assert node.tunnel(packet_from_home()) is None
    assert node.receive_tunnelled(HA1, build_ipv6(CORRESPONDENT, HOME_ADDRESS, 59, b"")) is None
    assert node.statistics["tunnel-not-registered"] == 1
