"""What the timeline tells of refused nodes: enough to find the mistake, and in a flood no more than a bound."""

from __future__ import annotations

import logging
import random
from ipaddress import IPv6Address

import pytest

from control.daemon.event_log import EventLog
from control.home_agent.events import Happening, TimelineEvent, line_of
from control.home_agent.refusals import REFUSALS_PER_S
from control.ikev2.payloads import Identity
from control.ikev2.policy import IkeConfiguration, LifetimePolicy
from control.mobile_node.events import RegistrationFailed
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from tests.control.home_agent.conftest import HOME_PREFIX, WALL_AT_START

CARE_OF_ADDRESS = IPv6Address("2001:db8:c::77")


@pytest.fixture
def make_scene(make_scene_of_any_workers):
    return make_scene_of_any_workers


def add_node(scene, identity="mn1@example.org", key=bytes([1]) * 32, home_address=HOME_PREFIX[1], at=CARE_OF_ADDRESS):
    """A node that tries to register with ha1."""
    node = MobileNode(
        NodeSettings(home_address, at, trusted_home_agents=("*.example.org",), shared_key=key),
        IkeConfiguration(Identity.from_text(identity), wall_clock=lambda: WALL_AT_START),
        random.Random(5),
    )
    scene.network.nodes[at] = node
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    return node


def first(scene, event):
    assert scene.network.run(lambda: bool(scene.network.happened(event)), seconds=20)
    return scene.network.happened(event)[0]


@pytest.mark.parametrize(
    ("changes", "claimed", "detail"),
    [
        ({"key": b"wrong"}, "mn1@example.org", "wrong-shared-key"),
        ({"identity": "mn9@example.org"}, "mn9@example.org", "unknown-peer: mn9@example.org"),
    ],
)
def test_a_node_that_is_refused_is_told_of_with_its_address_its_claim_and_the_reason(
    make_scene, changes, claimed, detail
):
    scene = make_scene()
    add_node(scene, **changes)
    told = first(scene, TimelineEvent.IKE_REFUSED)
    assert told.node is None
    assert told.detail == {
        "peer": "2001:db8:c::77",
        "role": "responder",
        "claimed": claimed,
        "reason": "authentication-failed",
        "detail": detail,
    }
    [failed] = [event for event in scene.network.node_events if isinstance(event, RegistrationFailed)]
    assert (failed.reason, failed.detail) == ("authentication-failed", "the peer refused")


def test_a_node_with_another_home_address_than_it_was_given(make_scene):
    scene = make_scene()
    add_node(scene, home_address=HOME_PREFIX[0x55])
    told = first(scene, TimelineEvent.CHILD_REFUSED)
    assert (told.node, told.detail["reason"]) == ("mn1@example.org", "ts-unacceptable")
    assert "it asked for 2001:db8:100::55" in told.detail["detail"]


def test_a_binding_update_that_is_refused(make_scene):
    scene = make_scene(1)
    scene.ha1.registrations.rules.cache.capacity = 0
    scene.nodes[0].register(scene.ha1.address, "ha1.example.org", scene.network.now)
    told = first(scene, TimelineEvent.BINDING_REFUSED)
    assert (told.node, told.detail["reason"]) == ("mn1@example.org", "insufficient-resources")
    assert told.detail["care_of_address"] == "2001:db8:c::1"


def test_ends_of_every_day_are_not_told(make_scene):
    scene = make_scene()
    scene.register_all()
    scene.network.happenings.clear()
    scene.nodes[0].deregister(scene.network.now)
    assert scene.network.run(lambda: bool(scene.network.happened(TimelineEvent.DEREGISTERED)))
    scene.network.run(lambda: False, seconds=5)
    assert [happening.event for happening in scene.network.happenings] == [TimelineEvent.DEREGISTERED]


def test_a_node_that_does_not_answer_any_more(make_scene):
    scene = make_scene(agent_lifetimes=LifetimePolicy(child_s=60))
    scene.register_all()
    scene.network.nodes.clear()
    assert scene.network.run(lambda: bool(scene.network.happened(TimelineEvent.IKE_CLOSED)), seconds=900)
    [told] = scene.network.happened(TimelineEvent.IKE_CLOSED)
    assert (told.node, told.detail["reason"]) == ("mn1@example.org", "expired")


def test_of_a_node_that_is_not_there_the_attempt_tells(make_scene):
    scene = make_scene()
    scene.register_all()
    scene.network.nodes.clear()
    scene.fail_first()
    scene.network.happenings.clear()
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(lambda: bool(scene.network.happened(TimelineEvent.GIVEN_UP)), seconds=600)
    events = {happening.event for happening in scene.network.happenings}
    assert TimelineEvent.ATTEMPT_FAILED in events
    assert TimelineEvent.IKE_REFUSED not in events


def test_of_a_flood_so_many_are_told_and_how_many_were_not(make_scene):
    scene = make_scene()
    for number in range(40):
        add_node(scene, identity=f"mn{number + 100}@example.org", at=IPv6Address(f"2001:db8:c::1:{number:x}"))
    scene.network.run(lambda: False, seconds=0.01)
    told = scene.network.happened(TimelineEvent.IKE_REFUSED)
    assert 0 < len(told) <= REFUSALS_PER_S
    scene.network.nodes.clear()
    scene.network.run(lambda: False, seconds=20)
    add_node(scene, key=b"wrong")
    scene.network.run(lambda: scene.network.happened(TimelineEvent.IKE_REFUSED)[-1].detail["claimed"][:4] == "mn1@")
    counted = scene.ha1.endpoint.statistics["authentication-unknown-peer"]
    assert counted == 40


def test_one_line_whatever_a_peer_has_put_into_it():
    detail = {"detail": "untrusted-certificate: CN=\x1b[2J\nx", "claimed": "mn1@example.org", "peer": "a b"}
    assert line_of("ike-refused", None, detail) == (
        'ike-refused detail="untrusted-certificate: CN=\\u001b[2J\\nx" claimed=mn1@example.org peer="a b"'
    )


def test_the_log_has_what_is_wrong_and_not_what_is_as_it_should_be(caplog):
    caplog.set_level(logging.INFO, logger="control.daemon.event_log")
    given_up = [Happening(TimelineEvent.GIVEN_UP, f"mn{number}", {"reason": "timeout"}) for number in range(50)]
    EventLog(lambda: 1.0).write(
        [
            Happening(TimelineEvent.IKE_ESTABLISHED, "mn1@example.org", {"role": "responder"}),
            Happening(TimelineEvent.IKE_REFUSED, None, {"peer": "2001:db8::1", "reason": "authentication-failed"}),
            *given_up,
            Happening(TimelineEvent.TAKEOVER_FINISHED, None, {"recovered": 0, "given_up": 50}),
        ]
    )
    assert caplog.messages[0] == "ike-refused peer=2001:db8::1 reason=authentication-failed"
    assert caplog.messages[1:-1] == [f"given-up mn{number} reason=timeout" for number in range(10)]
    assert caplog.messages[-1] == "takeover-finished recovered=0 given_up=50"
