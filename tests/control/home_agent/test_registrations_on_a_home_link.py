"""Registrations whose home addresses are on a home link: engines against mobile nodes, in memory."""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest
from msgspec.structs import replace

from control.home_agent.engine import HomeAgent
from control.home_agent.home_links import HomeLink
from control.mobility.neighbour_discovery import probe, unsolicited_advertisement
from tests.control.home_agent.conftest import HOME_PREFIX

SOMEBODY = bytes.fromhex("0200000000ff")


class Hosts:
    """Those on the link: they record what is said there, and may object."""

    def __init__(self, scene) -> None:
        self.scene = scene
        self.heard: dict[HomeAgent, list[bytes]] = {}
        for number, agent in enumerate((scene.ha1, scene.ha2), 1):
            link_address = bytes((2, 0, 0, 0, 0, number))
            agent.home_links.update([HomeLink("home0", agent.address, link_address, frozenset({HOME_PREFIX}))])
            self.heard[agent] = []

    def listen(self) -> bool:
        for agent, heard in self.heard.items():
            heard += [packet.packet for packet in agent.home_links.packets_to_send()]
        return False

    def run_until(self, condition, seconds: float = 120.0) -> bool:
        return self.scene.network.run(lambda: self.listen() or condition(), seconds)


@pytest.fixture
def scene(make_scene):
    return make_scene()


@pytest.fixture
def hosts(scene) -> Hosts:
    return Hosts(scene)


def told(agent: HomeAgent, home_address, *, router: bool = False) -> bytes:
    number = 1 if agent.address.packed[5] == 0xA1 else 2
    return unsolicited_advertisement(home_address, agent.address, bytes((2, 0, 0, 0, 0, number)), router=router)


def test_a_first_registration_waits_a_second_and_is_told_to_all(scene, hosts):
    (node,) = scene.nodes
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)

    assert hosts.run_until(lambda: probe(node.home_address) in hosts.heard[scene.ha1])
    assert not node.registered
    begun = scene.network.now
    assert hosts.run_until(lambda: node.registered)
    assert scene.network.now == pytest.approx(begun + 1.0)
    hosts.run_until(lambda: False, 10.0)
    assert hosts.heard[scene.ha1] == [probe(node.home_address)] + 3 * [told(scene.ha1, node.home_address)]


def test_an_address_in_use_is_refused_with_status_134_until_it_is_free(scene, hosts):
    (node,) = scene.nodes
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert hosts.run_until(lambda: probe(node.home_address) in hosts.heard[scene.ha1])
    objection = unsolicited_advertisement(node.home_address, node.home_address, SOMEBODY)
    scene.ha1.receive_from_home_link("home0", objection, scene.network.now)
    assert hosts.run_until(
        lambda: scene.ha1.registrations.messages["out", "binding-acknowledgement", "134"] == 1, seconds=5.0
    )
    assert not node.registered
    assert scene.ha1.registrations.statistics["duplicate-address-detection-failed"] == 1
    assert scene.ha1.registrations.rules.cache.bindings() == []

    # Whoever it was is gone when the node tries again.
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert hosts.run_until(lambda: node.registered)


def test_a_binding_that_is_renewed_or_moves_is_neither_detected_nor_told(scene, hosts):
    (node,) = scene.nodes
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    hosts.run_until(lambda: node.registered and False, 10.0)
    hosts.heard[scene.ha1].clear()
    updates = scene.ha1.registrations.messages["in", "binding-update", ""]

    scene.network.move(node, node.care_of_address + 0x100)
    assert hosts.run_until(
        lambda: scene.ha1.registrations.messages["in", "binding-update", ""] > updates and node.registered
    )
    hosts.run_until(lambda: False, 10.0)

    assert hosts.heard[scene.ha1] == []
    (binding,) = scene.ha1.registrations.rules.cache.bindings()
    assert binding.care_of_address == node.care_of_address


def test_whoever_takes_over_tells_the_hosts_at_once_without_asking(scene, hosts):
    (node,) = scene.nodes
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert hosts.run_until(lambda: node.registered)
    scene.fail_first()
    scene.ha2.recover(scene.to_recover(), scene.network.now)

    assert hosts.run_until(lambda: node.registered and node.home_agent == scene.ha2.address)

    hosts.listen()
    assert hosts.heard[scene.ha2] == [told(scene.ha2, node.home_address)]


def test_de_registration_ends_it_and_nothing_more_is_told(scene, hosts):
    (node,) = scene.nodes
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert hosts.run_until(lambda: node.registered)
    hosts.listen()
    assert hosts.heard[scene.ha1].count(told(scene.ha1, node.home_address)) == 1

    node.deregister(scene.network.now)
    assert hosts.run_until(lambda: not scene.ha1.registrations.rules.cache.bindings())
    hosts.run_until(lambda: False, 10.0)

    assert hosts.heard[scene.ha1].count(told(scene.ha1, node.home_address)) == 1


def test_a_binding_that_belongs_to_another_home_agent_by_now_is_not_told_any_more(scene, hosts):
    (node,) = scene.nodes
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert hosts.run_until(lambda: node.registered)
    scene.ha1.let_go(node.home_address)
    hosts.run_until(lambda: False, 10.0)
    assert hosts.heard[scene.ha1].count(told(scene.ha1, node.home_address)) == 1
    assert scene.ha1.registrations.rules.cache.bindings() == []


def test_a_mobile_router_is_told_as_a_router(scene, hosts, monkeypatch):
    (node,) = scene.nodes
    stored = scene.ha1.stored

    def stored_as_router(registrations, now):
        (registration,) = registrations
        binding = replace(registration.outcome.binding, mobile_networks=(IPv6Network("2001:db8:700::/56"),))
        stored([replace(registration, outcome=replace(registration.outcome, binding=binding))], now)

    monkeypatch.setattr(scene.ha1, "stored", stored_as_router)
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)

    assert hosts.run_until(lambda: told(scene.ha1, node.home_address, router=True) in hosts.heard[scene.ha1])


def test_an_agent_that_lost_its_nodes_forgets_what_waits(scene, hosts):
    (node,) = scene.nodes
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert hosts.run_until(lambda: probe(node.home_address) in hosts.heard[scene.ha1])

    scene.ha1.stand_down(scene.network.now)
    scene.ha1.handle_timer(scene.network.now + 2.0)

    assert scene.ha1.registrations.pending() == []


def test_a_pools_address_is_free_again_when_its_node_left_and_somebody_else_uses_it(make_scene):
    scene = make_scene(pooled=True)
    hosts, (node,), agent, network = Hosts(scene), scene.nodes, scene.ha1, scene.network
    node.register(agent.address, "ha1.example.org", network.now)
    assert hosts.run_until(lambda: agent.directory.home_address(node.identity) and any(hosts.heard[agent]))
    home_address = agent.directory.home_address(node.identity)
    node.close(network.now)
    assert hosts.run_until(lambda: not agent.sessions.of(node.identity), seconds=0.5)
    assert agent.directory.home_address(node.identity) == home_address, "its registration waits to be stored"
    objection = unsolicited_advertisement(home_address, home_address, SOMEBODY)
    agent.receive_from_home_link("home0", objection, network.now)
    assert agent.directory.home_address(node.identity) is None
