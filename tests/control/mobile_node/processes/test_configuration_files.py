"""The files of the agent and the simulator: what they say, and how mistakes in them are named."""

from __future__ import annotations

import json
import re
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from control.config import ConfigurationError
from control.eap.account import EapAccount
from control.eap.packet import EapType
from control.mobile_daemon.configuration import AgentSettings, load_agent_configuration, load_simulation

DOCUMENT = (Path(__file__).parents[4] / "docs" / "mobile-node.md").read_text()

AGENT = """\
[mobile_node]
identity = "mn1@mn.example.org"
home_address = "2001:db8:100::1001"
home_agent = "2001:db8:a1::1"
home_agent_identity = "ha1.example.org"
trusted_home_agents = ["*.example.org"]
care_of_interface = "eth0"
authentication = "shared-key"
shared_key = "hush-hush"
"""


def agent(tmp_path, text):
    path = tmp_path / "mobile-node.toml"
    path.write_text(text)
    return load_agent_configuration(path)


def problem(load, *arguments):
    with pytest.raises(ConfigurationError) as caught:
        load(*arguments)
    assert len(caught.value.problems) == 1, str(caught.value)
    return caught.value.problems[0]


def test_an_agents_file(tmp_path):
    configuration = agent(tmp_path, AGENT + 'other_home_agents = ["ha2.example.org@2001:db8:a2::1"]\n')
    assert configuration.node.home_address == IPv6Address("2001:db8:100::1001")
    assert configuration.node.routes == (IPv6Network("::/0"),)
    assert configuration.secret == b"hush-hush"
    assert configuration.home_agent_identities == {IPv6Address("2001:db8:a2::1"): "ha2.example.org"}
    assert configuration.key_export.ike is None
    assert "hush" not in repr(configuration)


def test_a_mobile_routers_file(tmp_path):
    node = agent(tmp_path, AGENT + 'mobile_network_prefixes = ["2001:db8:700::/56"]\n').node
    assert (node.mobile_network_prefixes, node.mobile_network_mode) == ((IPv6Network("2001:db8:700::/56"),), "explicit")


@pytest.mark.parametrize("prefix", ["2001:db8:100::/64", "fe80::/64", "::/0"])
def test_a_network_that_cannot_be_behind_the_node(tmp_path, prefix):
    found = problem(agent, tmp_path, AGENT + f'mobile_network_prefixes = ["{prefix}"]\n')
    assert (found.line, found.key) == (10, "mobile_node.mobile_network_prefixes")
    assert found.wrong.startswith(prefix)


def test_a_key_in_a_file_and_in_hexadecimal(tmp_path):
    (tmp_path / "key").write_text("0x00ff\n")
    text = AGENT.replace('shared_key = "hush-hush"', 'shared_key_file = "key"')
    assert agent(tmp_path, text).secret == b"\x00\xff"


@pytest.mark.parametrize(
    ("old", "new", "line", "key"),
    [
        ('"2001:db8:100::1001"', '"2001:db8:100::g"', 3, "mobile_node.home_address"),
        ('"2001:db8:100::1001"', '"ff02::1"', 3, "mobile_node.home_address"),
        ("care_of_interface", "care_of_device", 7, "mobile_node.care_of_device"),
        ('["*.example.org"]', "[]", 6, "mobile_node.trusted_home_agents"),
        ('"shared-key"', '"certificate"', 8, "mobile_node.authentication"),
        ('shared_key = "hush-hush"\n', "", 8, "mobile_node.authentication"),
        ('"hush-hush"', '"0xabc"', 9, "mobile_node.shared_key"),
        ('"hush-hush"', '"hush-hush"\nshared_key_file = "key"', 8, "mobile_node.authentication"),
        ('home_agent_identity = "ha1.example.org"\n', "", 4, "mobile_node.home_agent"),
        ('"hush-hush"', '"hush-hush"\nother_home_agents = ["ha2@:::"]', 10, "mobile_node.other_home_agents"),
        ('"hush-hush"', '"hush-hush"\nlifetime_s = 3', 10, "mobile_node.lifetime_s"),
        ('"hush-hush"', '"hush-hush"\n[key_exports]\nike = "x"', 10, "key_exports"),
    ],
)
def test_a_mistake_in_the_agents_file_is_named_with_its_remedy(tmp_path, old, new, line, key):
    with pytest.raises(ConfigurationError) as caught:
        agent(tmp_path, AGENT.replace(old, new, 1))
    problems = {found.key: found for found in caught.value.problems}
    assert key in problems, str(caught.value)
    assert problems[key].line == line
    assert problems[key].remedy.endswith((".", "?"))
    assert "hush" not in str(caught.value)


def test_no_file(tmp_path):
    assert problem(load_agent_configuration, tmp_path / "none.toml").wrong == "there is no such file"


NODE = {
    "identity": "mn1@mn.example.org",
    "home_address": "2001:db8:100::1001",
    "care_of_address": "2001:db8:c0::1001",
    "shared_key": "hush-hush",
}


def document(nodes=(NODE,), **simulator):
    settings = {"care_of_prefix": "2001:db8:c0::/64", "trusted_home_agents": ["*.example.org"], **simulator}
    return {"simulator": settings, "nodes": list(nodes)}


def simulation(tmp_path, content, name="simulation.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_simulation_in_json_with_its_nodes_elsewhere(tmp_path):
    folder = tmp_path / "more"
    folder.mkdir()
    second = {**NODE, "identity": "mn2@mn.example.org", "home_address": "2001:db8:100::2"}
    second |= {"care_of_address": "2001:db8:c0::2", "certificate": "mn2.pem", "private_key": "mn2.key"}
    del second["shared_key"]
    (folder / "nodes.json").write_text(json.dumps({"nodes": [second]}))
    path = simulation(tmp_path, document(nodes_file="more/nodes.json", trust_anchors=["ca.pem"]))
    configuration = load_simulation(path)
    assert [str(node.identity) for node in configuration.nodes] == ["mn1@mn.example.org", "mn2@mn.example.org"]
    assert configuration.nodes[1].certificate == str(folder / "mn2.pem")
    assert configuration.simulator.trust_anchors == (tmp_path / "ca.pem",)
    assert configuration.simulator.rate_per_s == 200.0


def test_a_simulation_in_toml(tmp_path):
    text = """
    [simulator]
    care_of_prefix = "2001:db8:c0::/64"
    trusted_home_agents = ["*.example.org"]
    [[nodes]]
    identity = "mn1@mn.example.org"
    home_address = "2001:db8:100::1001"
    care_of_address = "2001:db8:c0::1001"
    shared_key = "hush-hush"
    """
    assert len(load_simulation(simulation(tmp_path, text, "simulation.toml")).nodes) == 1
    found = problem(load_simulation, simulation(tmp_path, text.replace("c0::1001", "c0::1xx1"), "simulation.toml"))
    assert (found.line, found.key) == (8, "nodes[0].care_of_address")


@pytest.mark.parametrize(
    ("content", "key", "wrong"),
    [
        ("{", "", "not JSON"),
        (document(rate=1), "simulator", "rate"),
        (document(loss_percent=101), "simulator.loss_percent", "100"),
        (document([{**NODE, "home_address": "fe80::1"}]), "nodes[0].home_address", "link-local"),
        (document([]), "nodes", "no nodes"),
        (document([NODE, NODE]), "nodes[1]", "already taken by nodes[0]"),
        (document(care_of_prefix="2001:db8:c1::/64"), "nodes[0].care_of_address", "not in care_of_prefix"),
        (document([{**NODE, "shared_key": None}]), "nodes[0]", "exactly one"),
        (document([{**NODE, "shared_key": "0xz"}]), "nodes[0].shared_key", "not a shared key"),
        (document([{**NODE, "private_key": "x"}]), "nodes[0]", "go together"),
        (document(home_agent="2001:db8:a1::1"), "simulator.home_agent_identity", "prove themselves"),
        (
            document([{**NODE, "shared_key": None, "certificate": "c", "private_key": "k"}]),
            "simulator.trust_anchors",
            "trust_anchors",
        ),
    ],
)
def test_a_mistake_in_a_simulation_is_named(tmp_path, content, key, wrong):
    found = problem(load_simulation, simulation(tmp_path, content))
    assert found.key == key
    assert wrong in found.wrong
    assert found.remedy


WITH_PASSWORD = AGENT.replace("shared-key", "eap-mschapv2").replace("shared_key", "password") + (
    'trust_anchors = ["ca.pem"]\n'
)


def test_a_password_and_a_key_for_home_agents_that_come(tmp_path):
    configuration = agent(tmp_path, WITH_PASSWORD.replace('home_agent_identity = "ha1.example.org"\n', ""))
    assert configuration.eap == EapAccount(EapType.MSCHAPV2, "mn1@mn.example.org", "hush-hush")
    assert configuration.secret is None
    assert "hush" not in repr(configuration)
    (tmp_path / "word").write_text("of a file\n")
    text = WITH_PASSWORD.replace('password = "hush-hush"', 'password_file = "word"').replace("mschapv2", "md5")
    configuration = agent(tmp_path, text + 'eap_identity = "mn1"\nshared_key = "0x00"\n')
    assert configuration.eap == EapAccount(EapType.MD5_CHALLENGE, "mn1", "of a file")
    assert configuration.secret == b"\x00"


@pytest.mark.parametrize(
    ("old", "new", "key", "wrong"),
    [
        ('trust_anchors = ["ca.pem"]\n', "", "authentication", "certificates are to be used, but there is no trust_"),
        ('password = "hush-hush"\n', "", "authentication", "exactly one password is needed"),
        ("hush-hush", "", "authentication", "exactly one password is needed"),
        ('"hush-hush"\n', '"hush-hush"\npassword_file = "word"\n', "authentication", "exactly one password is needed"),
        ('"hush-hush"\n', '"hush-hush"\nshared_key = "0x0"\n', "shared_key", "not a shared key"),
        ('"hush-hush"\n', "4711\n", "password", ""),
    ],
)
def test_passwords_that_cannot_be_used(tmp_path, old, new, key, wrong):
    found = problem(agent, tmp_path, WITH_PASSWORD.replace(old, new))
    assert (found.key, found.wrong[: len(wrong)]) == (f"mobile_node.{key}", wrong)
    assert "hush" not in str(found)
    assert "4711" not in str(found)


def test_the_examples_of_the_documentation_are_read(tmp_path):
    [example, *_] = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert agent(tmp_path, example).node.further_care_of_interfaces == ("wlan0",)
    for line in re.findall(r"^# (\w+ = .*)$", example, re.MULTILINE):
        assert re.sub(r"\W.*", "", line) in AgentSettings.__struct_fields__, line

    (tmp_path / "nodes.json").write_text('{"nodes": []}')
    [example] = re.findall(r"```json\n(\{\"simulator.*?)```", DOCUMENT, re.DOTALL)
    assert len(load_simulation(simulation(tmp_path, example)).nodes) == 2
