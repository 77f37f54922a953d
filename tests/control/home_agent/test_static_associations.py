"""A node whose keys were written by hand, played by scapy: its ESP, its Mobility Header, none of our code."""

from __future__ import annotations

from ipaddress import IPv6Address
from itertools import count

import pytest
from scapy.layers.inet6 import MIP6MH_BE, MIP6MH_BU, IPv6, IPv6ExtHdrRouting, MIP6MH_Generic
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw, raw

from control.bootstrap.takeover import NodeToRecover
from control.home_agent.events import TimelineEvent
from control.ipsec.algorithms import AES_128_CBC_SHA256
from control.ipsec.static import StaticKeying, StaticPair

IDENTITY = "mn9@example.org"
HOME_ADDRESS = IPv6Address("2001:db8:100::99")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::99")
ACKNOWLEDGEMENT, HOME_AGENT_SWITCH = 6, 12


def keying(spi):
    return StaticKeying(spi, AES_128_CBC_SHA256, bytes((spi * n) & 0xFF for n in range(48)))


def scapy_association(one):
    key = one.key
    return SecurityAssociation(
        ESP, spi=one.spi, crypt_algo="AES-CBC", crypt_key=key[:16], auth_algo="SHA2-256-128", auth_key=key[16:]
    )


class ManualNode:
    """The node's side of one pair."""

    def __init__(self, agent, up, down):
        self.agent = agent
        self.up, self.down = scapy_association(up), scapy_association(down)
        self.sequence_number = count(1000)

    def update(self, *, sequence_number=None, lifetime_units=150, source=HOME_ADDRESS, flags="AHLK"):
        number = next(self.sequence_number) if sequence_number is None else sequence_number
        message = MIP6MH_BU(seq=number, flags=flags, mhtime=lifetime_units)
        return raw(self.up.encrypt(IPv6(src=str(source), dst=str(self.agent.address)) / message)[ESP])

    def receive(self, packet):
        outer = IPv6(packet)
        routing = outer[IPv6ExtHdrRouting]
        assert (outer.src, outer.dst) == (str(self.agent.address), str(CARE_OF_ADDRESS))
        assert (routing.type, routing.addresses) == (2, [str(HOME_ADDRESS)])
        inside = self.down.decrypt(IPv6(raw(IPv6(src=outer.src, dst=str(HOME_ADDRESS), nh=50) / Raw(raw(outer[ESP])))))
        assert inside.nh == 135
        return inside.payload


@pytest.fixture
def scene(make_scene):
    """Two home agents with a pair each for the node; it has its home at the first."""
    pairs = [StaticPair(135, keying(0x1001 + n), keying(0x30001 + n)) for n in range(2)]
    scene = make_scene(1, static={IDENTITY: (HOME_ADDRESS, pairs)})
    scene.manual = [
        ManualNode(agent, pair.inbound, pair.outbound)
        for agent, pair in zip((scene.ha1, scene.ha2), pairs, strict=True)
    ]
    return scene


def deliver(scene, node, packet, home_address=HOME_ADDRESS):
    node.agent.receive_protected(packet, home_address, CARE_OF_ADDRESS, scene.network.now, scene.network.wall)
    return collect(scene, node)


def collect(scene, node):
    before = len(scene.network.wire)
    scene.network.run(lambda: True)
    return [node.receive(packet) for packet in scene.network.wire[before:]]


def test_it_registers_and_deregisters_without_ike(scene):
    (node, _) = scene.manual
    (answer,) = deliver(scene, node, node.update())
    assert (answer.mhtype, answer.status, answer.seq) == (ACKNOWLEDGEMENT, 0, 1000)
    assert "K" not in str(answer.flags)
    (binding,) = scene.ha1.registrations.rules.cache.bindings()
    assert (binding.identity, binding.care_of_address, binding.key_management) == (IDENTITY, CARE_OF_ADDRESS, False)
    (answer,) = deliver(scene, node, node.update(lifetime_units=0))
    assert (answer.status, answer.mhtime) == (0, 0)
    assert not list(scene.ha1.registrations.rules.cache.bindings())
    assert len(scene.ha1.sessions) == 0


def test_a_replayed_update_changes_nothing_even_when_the_binding_is_gone(scene):
    (node, _) = scene.manual
    old = node.update()
    deliver(scene, node, old)
    deliver(scene, node, node.update(lifetime_units=0))
    scene.network.now += 100_000
    (answer,) = deliver(scene, node, old)
    assert (answer.status, answer.seq) == (135, 1001)  # sequence number out of window, with the last accepted
    assert not list(scene.ha1.registrations.rules.cache.bindings())


def test_a_replayed_update_changes_nothing_when_the_binding_of_before_a_restart_is_gone(make_scene, scene):
    (node, _) = scene.manual
    old = node.update()
    deliver(scene, node, old)
    deliver(scene, node, node.update())
    (binding,) = scene.ha1.registrations.rules.cache.bindings()
    pair = StaticPair(135, keying(0x1001), keying(0x30001))
    started_again = make_scene(1, static={IDENTITY: (HOME_ADDRESS, [pair, pair])})
    agent = node.agent = started_again.ha1
    agent.registrations.rules.restore(binding)
    started_again.network.now += 100_000
    assert agent.expire(started_again.network.wall) == [binding]
    (answer,) = deliver(started_again, node, old)
    assert (answer.status, answer.seq) == (135, 1001)


def test_a_sender_that_restarts_counts_from_one_again_and_is_understood(scene):
    (node, _) = scene.manual
    for _ in range(3):
        deliver(scene, node, node.update())
    node.up.seq_num = 1
    (answer,) = deliver(scene, node, node.update())
    assert (answer.status, answer.seq) == (0, 1003)


def test_its_association_speaks_for_its_own_home_address_only(scene):
    (node, _) = scene.manual
    others = scene.nodes[0].home_address
    assert deliver(scene, node, node.update(source=others), home_address=others) == []
    assert scene.ha1.statistics["esp-selector-mismatch"] == 1
    forged = bytearray(node.update())
    forged[-1] ^= 1
    assert deliver(scene, node, bytes(forged)) == []
    assert scene.ha1.statistics["esp-bad-icv"] == 1


def test_the_surviving_agent_sends_the_switch_at_once_and_without_ike(scene):
    first, second = scene.manual
    deliver(scene, first, first.update())
    scene.fail_first()
    scene.network.happenings.clear()
    scene.ha2.recover([NodeToRecover(IDENTITY, HOME_ADDRESS, CARE_OF_ADDRESS)], scene.network.now)
    scene.ha2.handle_timer(scene.network.now)
    (switch,) = collect(scene, second)
    assert isinstance(switch, MIP6MH_Generic)
    assert switch.mhtype == HOME_AGENT_SWITCH
    assert scene.ha2.address.packed in raw(switch)
    (answer,) = deliver(scene, second, second.update())
    assert (answer.mhtype, answer.status) == (ACKNOWLEDGEMENT, 0)
    assert [happening.event for happening in scene.network.happenings] == [
        TimelineEvent.HOME_AGENT_SWITCH_SENT,
        TimelineEvent.BINDING_UPDATE,
        TimelineEvent.RECOVERED,
        TimelineEvent.TAKEOVER_FINISHED,
    ]


def test_a_node_that_does_not_answer_the_switch_is_given_up_and_keeps_its_keys(scene):
    _, second = scene.manual
    scene.ha2.recover([NodeToRecover(IDENTITY, HOME_ADDRESS, CARE_OF_ADDRESS)], scene.network.now)
    assert scene.network.run(lambda: not scene.ha2.takeover.active, seconds=900)
    assert scene.ha2.takeover.failures == {"no-binding-update": 3}
    assert deliver(scene, second, second.update())[0].status == 0


def test_after_a_restart_there_is_nothing_to_renew(scene):
    scene.ha1.recover([NodeToRecover(IDENTITY, HOME_ADDRESS, CARE_OF_ADDRESS, switch=False)], scene.network.now)
    scene.ha1.handle_timer(scene.network.now)
    assert not scene.ha1.takeover.active
    assert collect(scene, scene.manual[0]) == []


def test_ike_with_its_name_is_refused(make_scene, scene):
    impostor = make_scene(9).nodes[8]
    assert impostor.identity == IDENTITY
    scene.network.nodes[impostor.settings.care_of_address] = impostor
    impostor.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert not scene.network.run(lambda: impostor.registered, seconds=10)
    assert IDENTITY not in {str(sa.remote_identity) for sa in scene.ha1.sessions}


def test_an_assignment_of_another_home_address_does_not_hold(scene):
    scene.ha1.directory.restore(IDENTITY, IPv6Address("2001:db8:100::77"))
    assert scene.ha1.directory.home_address(IDENTITY) == HOME_ADDRESS


def test_a_message_of_unknown_type_under_esp_is_answered_with_a_binding_error(scene):
    (node, _) = scene.manual
    message = MIP6MH_Generic(mhtype=99, msg=bytes(10))
    packet = raw(node.up.encrypt(IPv6(src=str(HOME_ADDRESS), dst=str(node.agent.address)) / message)[ESP])
    node.agent.receive_protected(packet, HOME_ADDRESS, CARE_OF_ADDRESS, scene.network.now, scene.network.wall)
    scene.network.run(lambda: True)
    answer = IPv6(scene.network.wire[-1])
    assert (answer.src, answer.dst, answer.nh) == (str(node.agent.address), str(CARE_OF_ADDRESS), 135)
    assert (answer[MIP6MH_BE].status, answer[MIP6MH_BE].ha) == (2, str(HOME_ADDRESS))
    assert node.agent.unprotected.statistics["binding-error-sent"] == 1
