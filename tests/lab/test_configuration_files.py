"""The files the laboratory writes are what the product reads."""

from __future__ import annotations

import tomllib
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab.addresses import HOME_PREFIX, home_address, home_agent_prefix, node_prefix, router_address
from bench.lab.credentials import Credentials
from bench.lab.toml import toml_document


def test_toml_reads_back_as_written() -> None:
    tables = {
        "a": {"text": 'quo"te\\ and \u00fcml', "number": 3, "real": 1.5, "yes": True},
        "b": {"list": ["x", "y"], "path": Path("/x")},
        "empty": {},
    }
    document = toml_document(tables, {"row": [{"n": 1}, {"n": 2}]})
    assert tomllib.loads(document) == {
        "a": {"text": 'quo"te\\ and \u00fcml', "number": 3, "real": 1.5, "yes": True},
        "b": {"list": ["x", "y"], "path": "/x"},
        "empty": {},
        "row": [{"n": 1}, {"n": 2}],
    }


def test_address_plan_has_no_overlaps() -> None:
    links = [home_agent_prefix(number) for number in (1, 2)] + [node_prefix(number) for number in range(17)]
    links.append(HOME_PREFIX)
    assert not any(one.overlaps(other) for i, one in enumerate(links) for other in links[i + 1 :])
    assert home_agent_prefix(1)[1] == IPv6Address("2001:db8:a1::1")
    assert home_address(1) in HOME_PREFIX
    assert router_address(node_prefix(3)) in node_prefix(3)


def test_shared_keys_differ_and_stay_out_of_sight(tmp_path: Path) -> None:
    credentials = Credentials("psk")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    assert subscribers[0].shared_key != subscribers[1].shared_key
    assert str(subscribers[0].shared_key) not in repr(subscribers)
    assert credentials.issue("mn1@mn.example.org", tmp_path, "mn1") == {}
    assert credentials.trust_anchors(tmp_path) == []
    row = credentials.node_row(subscribers[0])
    assert row["authentication"] == "shared-key"
    assert row["shared_key"] == subscribers[0].shared_key


def test_certificates_are_written_where_the_configuration_says(tmp_path: Path) -> None:
    credentials = Credentials("cert")
    subscriber = credentials.subscriber(1, home_address(1))
    keys = credentials.issue(subscriber.identity, tmp_path, "mn1")
    assert (tmp_path / keys["certificate"]).exists()
    assert (tmp_path / keys["private_key"]).exists()
    assert [(tmp_path / name).exists() for name in credentials.trust_anchors(tmp_path)] == [True]
    assert credentials.node_row(subscriber)["authentication"] == "certificate"
    assert "shared_key" not in credentials.node_row(subscriber)


@pytest.mark.namespaces
@pytest.mark.parametrize("authentication", ["psk", "cert"])
def test_home_agent_configuration_is_accepted(authentication: str, tmp_path: Path) -> None:
    from bench.lab.laboratory import Laboratory
    from bench.lab.scene import Scene, SceneOptions
    from control.config import load_configuration
    from control.config.nodes import load_nodes

    credentials = Credentials(authentication)  # type: ignore[arg-type]
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2, 3)]
    options = SceneOptions(cluster={"lease_s": 1.5, "heartbeat_s": 0.5}, key_directory=tmp_path)
    with Laboratory("test") as laboratory:
        scene = Scene(laboratory, credentials, subscribers, options)
        for agent in scene.home_agents:
            configuration = load_configuration(agent.configuration)
            assert configuration.home_agent.name == agent.name
            assert configuration.home_agent.address == agent.host.address
            assert configuration.control.socket == agent.socket
            assert configuration.key_export.ike == tmp_path / f"{agent.name}-ikev2_decryption_table"
            nodes = load_nodes(configuration)
            assert [node.home_address for node in nodes] == [subscriber.home_address for subscriber in subscribers]
