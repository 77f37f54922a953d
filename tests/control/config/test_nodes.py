"""The file of mobile nodes: quick and careful reading give the same, mistakes are named, secrets stay secret."""

from __future__ import annotations

import json
import tomllib
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.config import ConfigurationError, load_configuration, load_nodes
from control.config.nodes import Node, simple_tables
from control.eap.account import EapAccount
from control.eap.packet import EapType
from tests.control.configurations import WITH_NODES

CERTIFICATES = '[ike]\ncertificate = "ha1.pem"\nprivate_key = "ha1.key"\ntrust_anchors = ["ca.pem"]\n'

NODE = """\
[[node]]
identity = "mn1@example.org"
home_address = "2001:db8:100::11"
authentication = "shared-key"
shared_key = "very secret words"
"""


def load(folder: Path, nodes: str, added: str = "") -> list[Node]:
    (folder / "homeagent.toml").write_text(WITH_NODES + added)
    (folder / "nodes.toml").write_text(nodes)
    return load_nodes(load_configuration(folder / "homeagent.toml"))


def complaints(folder: Path, nodes: str, added: str = "") -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, nodes, added)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_a_node_with_a_shared_key(tmp_path: Path) -> None:
    (node,) = load(tmp_path, NODE)
    assert node.identity == "mn1@example.org"
    assert node.home_address == IPv6Address("2001:db8:100::11")
    assert node.authentication == "shared-key"
    assert node.shared_key == b"very secret words"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    (node,) = load(tmp_path, NODE)
    assert "very secret" not in repr(node)
    assert "very secret" not in f"{node.shared_key}"
    for mistake in (
        NODE.replace('"very', "very"),
        NODE + NODE,
        NODE.replace("shared-key", "certificate"),
        NODE.replace('"very secret words"', "4711"),
        NODE.replace('"very', '"0xvery'),
    ):
        text = "".join(complaints(tmp_path, mistake))
        assert "secret words" not in text
        assert "4711" not in text


def test_a_key_in_hexadecimal_and_a_key_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "mn.psk").write_text("0x00ff10\n")
    (first,) = load(tmp_path, NODE.replace("very secret words", "0x00ff10"))
    (second,) = load(
        tmp_path, NODE.replace("shared_key = ", "shared_key_file = ").replace("very secret words", "mn.psk")
    )
    assert first.shared_key == second.shared_key == b"\x00\xff\x10"


def test_a_node_with_a_certificate_needs_ours(tmp_path: Path) -> None:
    nodes = '[[node]]\nidentity = "mn1@example.org"\nhome_address = "2001:db8:100::11"\n'
    (node,) = load(tmp_path, nodes, CERTIFICATES)
    assert (node.authentication, node.shared_key) == ("certificate", None)
    (complaint,) = complaints(tmp_path, nodes)
    assert "mn1@example.org authenticates by certificate, but [ike] has no certificate and private_key" in complaint


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        (
            NODE + NODE.replace("::11", "::12"),
            "nodes.toml:7: node.identity: mn1@example.org is already that of the node in line 1. "
            "Remove one of the two nodes.",
        ),
        (
            NODE + NODE.replace("mn1", "mn2").replace("100::11", "100:0::11"),
            "nodes.toml:8: node.home_address: 2001:db8:100::11 is already that of the node in line 1. "
            "Remove one of the two nodes.",
        ),
        (
            NODE.replace("identity", "identiy"),
            "nodes.toml:2: node.identiy: there is no such key. Did you mean identity?",
        ),
        (
            NODE.replace("mn1@example.org", "mn1@"),
            'nodes.toml:2: node.identity: "mn1@" is not an IPv6 address, a name like mn1@example.org or a domain name. '
            'Write for example identity = "mn1@example.org".',
        ),
        (
            NODE.replace("shared_key = ", "# "),
            "nodes.toml:4: node.authentication: a node without its shared key. "
            "Give either shared_key or shared_key_file.",
        ),
        (
            NODE.replace("very secret words", ""),
            "nodes.toml:4: node.authentication: a node without its shared key. "
            "Give either shared_key or shared_key_file.",
        ),
        (
            NODE.replace("shared_key = ", "shared_key_file = "),
            "nodes.toml:5: node.shared_key_file: {folder}/very secret words: there is no such file. "
            "Create it or name another one.",
        ),
        (
            NODE.replace('"shared-key"', '"certificate"'),
            "nodes.toml:5: node.shared_key: a shared key for a node that authenticates by certificate. "
            'Write authentication = "shared-key", or remove shared_key.',
        ),
        (
            NODE.replace("[[node]]", "[node]"),
            "nodes.toml:1: node: not a list of tables. Write [[node]] with two brackets each.",
        ),
        (
            NODE.replace("[[node]]", "[[nodes]]"),
            "nodes.toml:1: nodes: there is no such key or table. Write one [[node]] for each node.",
        ),
    ],
)
def test_mistakes(tmp_path: Path, nodes: str, complaint: str) -> None:
    assert complaints(tmp_path, nodes)[0] == complaint.format(folder=tmp_path)


def test_many_mistakes_are_cut_short(tmp_path: Path) -> None:
    found = complaints(tmp_path, "".join(NODE.replace("mn1", f"mn{i}@") for i in range(50)))
    assert len(found) == 21
    assert found[-1].startswith("nodes.toml: 30 more mistakes like these")


def test_quick_and_careful_reading_give_the_same(tmp_path: Path) -> None:
    text = "# all of them\n\n" + "".join(
        f"  [[node]] # {number}\r\n"
        + NODE.partition("\n")[2].replace("mn1", f"mn{number}").replace("::11", f"::{number:x}")
        for number in range(1, 200)
    )
    quick = load(tmp_path, text)
    careful = load(tmp_path, text.replace('authentication = "shared-key"', "authentication = 'shared-key'"))
    assert simple_tables(text) is not None
    assert quick == careful
    assert len(quick) == 199


_LINE = st.sampled_from(
    [
        "[[node]]",
        "[node]",
        'a = "b"',
        'b = "c" # d',
        "b='c'",
        'a="\\n"',
        'a = "b',
        "# x",
        "",
        "\t",
        "c = 1",
        '"a" = "b"',
        "d = []",
        'd = ["a"]',
        'd=[ "a","b" , ]# "c"',
        'd = ["a" "b"]',
        "d = [,]",
        'd = ["a",,]',
        'd = ["a',
    ]
)


@given(st.lists(_LINE | st.text(alphabet='ab"#=[]\\\n\r\t node\x00\x7f', max_size=12), max_size=6))
def test_simple_tables_are_what_tomllib_reads(lines: list[str]) -> None:
    text = "\n".join(lines)
    tables = simple_tables(text)
    if tables is not None:
        assert tomllib.loads(text).get("node", []) == tables


ROUTERS = CERTIFICATES + "[mobility]\nmobile_routers = true\n"
OTHER_NODE = '[[node]]\nidentity = "mn2@example.org"\n'


def with_prefixes(node: str, *prefixes: str) -> str:
    return f"{node}mobile_network_prefixes = {json.dumps(prefixes)}\n"


@pytest.mark.parametrize("careful", [False, True])
def test_the_networks_behind_mobile_routers(tmp_path: Path, careful: bool) -> None:
    text = with_prefixes(NODE, "2001:db8:700::/56", "2001:db8:7::/48") + OTHER_NODE
    if careful:
        text = text.replace('authentication = "shared-key"', "authentication = 'shared-key'")
    assert (simple_tables(text) is None) is careful
    router, host = load(tmp_path, text, ROUTERS)
    assert router.mobile_networks == (IPv6Network("2001:db8:700::/56"), IPv6Network("2001:db8:7::/48"))
    assert host.mobile_networks == ()


@pytest.mark.parametrize(
    ("prefixes", "line", "wrong"),
    [
        (["2001:db8:100::/56"], 6, "2001:db8:100::/56 overlaps the home prefix 2001:db8:100::/64"),
        (["2001:db8:100::8000/113"], 6, "2001:db8:100::8000/113 overlaps the home prefix 2001:db8:100::/64"),
        (["2001:db8:a1::/48"], 6, "2001:db8:a1::/48 covers the home agent's own address, 2001:db8:a1::1"),
        (["ff05::/16"], 6, "ff05::/16 is not routed between networks"),
        (["::/0"], 6, "::/0 is not routed between networks"),
        (["2001:db8:7::/48", "2001:db8:7::/48"], 6, "2001:db8:7::/48 is part of 2001:db8:7::/48, or the same"),
        (["2001:db8:7:8::/64", "2001:db8:7::/48"], 6, "2001:db8:7:8::/64 is part of 2001:db8:7::/48, or the same"),
        (["2001:db8:700::/48"], 6, '["2001:db8:700::/48"] is not a list, each an IPv6 prefix without host bits'),
    ],
)
def test_networks_that_cannot_be(tmp_path: Path, prefixes: list[str], line: int, wrong: str) -> None:
    text = with_prefixes(NODE, *prefixes)
    if "host bits" in wrong:
        text = text.replace("::/48", "::1/48")
        wrong = wrong.replace("::/48", "::1/48")
    (complaint,) = complaints(tmp_path, text, ROUTERS)
    assert complaint.startswith(f"nodes.toml:{line}: node.mobile_network_prefixes: {wrong}")


def test_two_nodes_cannot_have_the_same_network(tmp_path: Path) -> None:
    text = with_prefixes(NODE, "2001:db8:7::/48") + with_prefixes(OTHER_NODE, "2001:db8:7:100::/56")
    (complaint,) = complaints(tmp_path, text, ROUTERS)
    wrong = "2001:db8:7:100::/56 overlaps 2001:db8:7::/48 of the node in line 1"
    assert complaint.startswith(f"nodes.toml:9: node.mobile_network_prefixes: {wrong}")


def test_networks_without_mobile_routers(tmp_path: Path) -> None:
    (complaint,) = complaints(tmp_path, with_prefixes(NODE, "2001:db8:7::/48"))
    assert complaint.startswith("nodes.toml:6: node.mobile_network_prefixes: mobile routers are not served here")
    assert "mobile_routers = true in [mobility]" in complaint


PASSWORD_NODE = NODE.replace("shared-key", "eap-mschapv2").replace("shared_key = ", "password = ")


def test_a_node_with_a_password(tmp_path: Path) -> None:
    (node,) = load(tmp_path, PASSWORD_NODE, CERTIFICATES)
    assert node.eap == EapAccount(EapType.MSCHAPV2, "mn1@example.org", "very secret words")
    assert (node.shared_key, node.has_secret) == (None, True)
    assert "very secret" not in repr(node)


def test_a_user_name_a_password_in_a_file_and_a_key_for_home_agents_that_come(tmp_path: Path) -> None:
    (tmp_path / "mn.password").write_text("of a file\n")
    text = PASSWORD_NODE.replace('password = "very secret words"', 'password_file = "mn.password"')
    text += 'eap_identity = "mn1"\nshared_key = "0x00ff"\n'
    (node,) = load(tmp_path, text.replace("mschapv2", "md5"), CERTIFICATES)
    assert node.eap == EapAccount(EapType.MD5_CHALLENGE, "mn1", "of a file")
    assert node.shared_key == b"\x00\xff"


def test_home_agents_need_a_certificate_for_nodes_with_passwords_but_no_trust_anchors(tmp_path: Path) -> None:
    (complaint,) = complaints(tmp_path, PASSWORD_NODE)
    assert "mn1@example.org authenticates by eap-mschapv2, but [ike] has no certificate and private_key" in complaint
    assert load(tmp_path, PASSWORD_NODE, CERTIFICATES.replace('trust_anchors = ["ca.pem"]\n', ""))


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        (
            NODE + 'password = "hush"\n',
            "nodes.toml:6: node.password: not for a node that authenticates by shared key. "
            'Write authentication = "eap-mschapv2", or remove password.',
        ),
        (
            NODE + 'eap_identity = "mn1"\n',
            "nodes.toml:6: node.eap_identity: not for a node that authenticates by shared key. "
            'Write authentication = "eap-mschapv2", or remove eap_identity.',
        ),
        (
            PASSWORD_NODE.replace("password = ", "# "),
            "nodes.toml:4: node.authentication: a node without its password. Give either password or password_file.",
        ),
        (
            PASSWORD_NODE + 'password_file = "mn.password"\n',
            "nodes.toml:4: node.authentication: two passwords for one node. Give either password or password_file.",
        ),
        (
            PASSWORD_NODE.replace("password = ", "password_file = "),
            "nodes.toml:5: node.password_file: {folder}/very secret words: there is no such file. "
            "Create it or name another one.",
        ),
        (
            PASSWORD_NODE + 'shared_key = "one"\nshared_key_file = "two"\n',
            "nodes.toml:4: node.authentication: two shared keys for one node. "
            "Give either shared_key or shared_key_file.",
        ),
    ],
)
def test_mistakes_with_passwords(tmp_path: Path, nodes: str, complaint: str) -> None:
    (found,) = complaints(tmp_path, nodes)
    assert found == complaint.format(folder=tmp_path)
    assert "hush" not in found


def test_an_empty_password_file_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "mn.password").write_text("\n")
    text = PASSWORD_NODE.replace('password = "very secret words"', 'password_file = "mn.password"')
    assert complaints(tmp_path, text) == [
        "nodes.toml:5: node.password_file: an empty password. Write a long one: openssl rand -base64 24."
    ]


def test_a_node_with_eap_tls(tmp_path: Path) -> None:
    text = NODE.replace("shared-key", "eap-tls").replace('shared_key = "very secret words"\n', "")
    (node,) = load(tmp_path, text, CERTIFICATES)
    assert (node.eap, node.has_secret) == (EapAccount(EapType.TLS, "mn1@example.org"), False)
    (node,) = load(tmp_path, text + 'eap_identity = "mn1.example.org"\n', CERTIFICATES)
    assert node.eap == EapAccount(EapType.TLS, "mn1.example.org")
    assert "eap-tls, but [ike] has no certificate and private_key" in complaints(tmp_path, text)[0]
    assert complaints(tmp_path, text + 'eap_identity = "mn 1"\n')[0].startswith(
        'nodes.toml:5: node.eap_identity: "mn 1" is nothing a certificate could name.'
    )
    assert complaints(tmp_path, text + 'password = "hush"\n') == [
        "nodes.toml:5: node.password: not for a node that authenticates by eap-tls. "
        'Write authentication = "eap-mschapv2", or remove password.'
    ]
