"""Nodes that move at any time whatever: they end up registered where they are, with one IKE SA, and nobody else's."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.ikev2.policy import LifetimePolicy
from control.mobility.extension_headers import parse_ipv6

NEVER = LifetimePolicy(ike_s=0.0, child_s=0.0)
# Few, so that a node comes to where another one was.
PLACES = [IPv6Address(f"2001:db8:d::{number}") for number in range(1, 5)]
PATIENCE_S = 900.0

nodes = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("move"), nodes, st.integers(0, len(PLACES) - 1)),
    st.tuples(st.just("detach"), nodes, st.just(0)),
    st.tuples(st.just("rekey-ike"), nodes, st.integers(0, 1)),
    st.tuples(st.just("rekey-child"), nodes, st.integers(0, 1)),
    st.tuples(st.just("loss"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("fail"), st.just(0), st.just(0)),
)
histories = st.lists(st.tuples(st.sampled_from([0.0, 0.01, 0.7, 3.0, 40.0]), steps), min_size=1, max_size=12)


class Story:
    """Plays a history, and knows which addresses each node has had."""

    def __init__(self, make_scene) -> None:
        self.scene = make_scene(2, agent_lifetimes=NEVER, node_lifetimes=NEVER, other_home_agents=True)
        self.network = self.scene.network
        self.failed = False
        self.places = [{node.care_of_address} for node in self.scene.nodes]
        for node in self.scene.nodes:
            node.register(self.scene.ha1.address, "ha1.example.org", self.network.now)

    @property
    def agent(self):
        return self.scene.ha2 if self.failed else self.scene.ha1

    def pass_time(self, seconds: float) -> None:
        end = self.network.now + seconds
        self.network.run(lambda: self.network.now >= end, seconds)

    def play(self, step) -> None:
        kind, which, detail = step
        if kind == "fail" and not self.failed:
            lost = self.scene.to_recover()
            self.scene.fail_first()
            self.failed = True
            self.scene.ha2.recover(lost, self.network.now)
        elif kind == "loss":
            self.network.loss = which / 10
        elif kind == "detach":
            self.network.move(self.scene.nodes[which], None)
        elif kind == "move":
            self.go(which, PLACES[detail])
        elif kind in ("rekey-ike", "rekey-child"):
            self.rekey(kind, which, by_agent=bool(detail))

    def go(self, which: int, place: IPv6Address) -> None:
        if place not in self.network.nodes:
            self.network.move(self.scene.nodes[which], place)
            self.places[which].add(place)

    def rekey(self, kind: str, which: int, *, by_agent: bool) -> None:
        node = self.scene.nodes[which]
        sas = self.agent.endpoint.sas() if by_agent else node.endpoint.sas()
        peer = node.identity if by_agent else str(self.agent.endpoint.configuration.local_identity)
        for sa in [sa for sa in sas if sa.is_established and str(sa.remote_identity) == peer]:
            if kind == "rekey-ike":
                sa.rekey(self.network.now)
            elif sa.children:
                sa.rekey_child(next(iter(sa.children)), self.network.now)

    def come_to_rest(self) -> None:
        self.network.loss = 0.0
        for which, node in enumerate(self.scene.nodes):
            if node in self.network.detached:
                self.go(which, next(place for place in PLACES if place not in self.network.nodes))
        assert self.network.run(self.at_rest, PATIENCE_S), [
            (node.registered, node.home_agent, node.care_of_address, node.statistics) for node in self.scene.nodes
        ]

    def at_rest(self) -> bool:
        return all(self.is_right(node) for node in self.scene.nodes)

    def agent_of(self, node):
        """The home agent it is registered with. Where much is lost it may have given the first one up."""
        return self.network.agents.get(node.home_agent, self.agent)

    def is_right(self, node) -> bool:
        agent = self.agent_of(node)
        binding = agent.registrations.rules.cache.get(node.home_address)
        sa = agent.sessions.current(node.identity)
        return (
            node.registered
            and node.home_agent == agent.address
            and binding is not None
            and binding.care_of_address == node.care_of_address
            and sa is not None
            and sa.is_established
            and sa.remote_address == node.care_of_address
        )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(histories)
def test_nodes_end_up_where_they_are(make_scene, history) -> None:
    story = Story(make_scene)
    for pause, step in history:
        story.pass_time(pause)
        story.play(step)
    story.come_to_rest()
    story.pass_time(1.0)
    addresses = {node.home_address: places for node, places in zip(story.scene.nodes, story.places, strict=True)}
    for packet in map(parse_ipv6, story.network.wire):
        if packet.routing_header_2 is not None:
            assert packet.destination in addresses[packet.routing_header_2], "sent to where the node never was"
        elif packet.home_address_option is not None:
            assert packet.source in addresses[packet.home_address_option]
    for node in story.scene.nodes:
        mine = story.agent_of(node).sessions.current(node.identity)
        (theirs,) = [sa for sa in node.endpoint.sas() if sa.is_established and sa.local_spi == mine.remote_spi]
        assert theirs.local_address == node.care_of_address
        assert {child.inbound_spi for child in theirs.children.values()} == {
            child.outbound_spi for child in mine.children.values()
        }
        assert not [slug for slug in node.statistics if slug == "esp-unknown-owner"]
