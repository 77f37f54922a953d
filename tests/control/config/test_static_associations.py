"""Keys written by hand: what is read, and what each mistake is told as."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from control.cli.check import check
from control.config import ConfigurationError, load_configuration, load_nodes
from control.config.nodes import Node
from control.ipsec.algorithms import AES_128_CBC_SHA256
from control.ipsec.static import STATIC_SPIS, STATIC_SUITES
from control.ipsec.userspace import UserspaceIpsec
from tests.control.configurations import WITH_NODES

CONFIGURATION = WITH_NODES.replace("core0", "lo")
IN_KEY, OUT_KEY = "0x" + "5e" * 47 + "01", "0x" + "5e" * 47 + "02"
NODE = f"""\
[[node]]
identity = "mn1@example.org"
home_address = "2001:db8:100::11"
authentication = "manual"

[[node.security_association]]
direction = "in"
spi = 0x1001
algorithm = "aes128-sha256"
key = "{IN_KEY}"

[[node.security_association]]
direction = "out"
spi = 0x20001
algorithm = "aes128-sha256"
key = "{OUT_KEY}"
"""
SECOND = NODE.replace("mn1", "mn2").replace("::11", "::12").replace("1001", "1002").replace("5e" * 40, "6f" * 40)
_IN_TABLE, _OUT_TABLE = (
    f"[[node.security_association]]{part}" for part in NODE.split("[[node.security_association]]")[1:]
)


def load(folder: Path, nodes: str) -> list[Node]:
    (folder / "homeagent.toml").write_text(CONFIGURATION)
    (folder / "nodes.toml").write_text(nodes)
    return load_nodes(load_configuration(folder / "homeagent.toml"))


def complaints(folder: Path, nodes: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, nodes)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_both_directions_become_a_pair(tmp_path: Path) -> None:
    first, second = load(tmp_path, NODE + SECOND)
    (pair,) = first.static
    assert (pair.protocol, pair.inbound.spi, pair.outbound.spi) == (135, 0x1001, 0x20001)
    assert pair.inbound.suite == pair.outbound.suite == AES_128_CBC_SHA256
    assert (pair.inbound.key.hex(), pair.outbound.key.hex()) == (IN_KEY[2:], OUT_KEY[2:])
    assert second.static[0].inbound.spi == 0x1002
    assert "5e5e" not in repr(first)
    assert "^^" not in repr(first)


def test_a_key_in_a_file_and_a_pair_for_prefix_discovery(tmp_path: Path) -> None:
    (tmp_path / "in.key").write_text(IN_KEY + "\n")
    text = NODE.replace(f'key = "{IN_KEY}"', 'key_file = "in.key"')
    more = (_IN_TABLE + _OUT_TABLE).replace("1001", "1003").replace("5e" * 20, "7a" * 20)
    text += more.replace("spi", 'protects = "prefix-discovery"\nspi')
    (node,) = load(tmp_path, text)
    assert [pair.protocol for pair in node.static] == [135, 58]
    assert node.static[0].inbound.key.hex() == IN_KEY[2:]


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        (
            NODE.replace(_OUT_TABLE, ""),
            'nodes.toml:6: node.security_association: mobility has a security association of direction "in" and none '
            'of direction "out". Add one with direction = "out".',
        ),
        (
            NODE.replace("0x1001", "0x10000"),
            "nodes.toml:8: node.security_association.spi: 0x10000 could be chosen for an association of IKE. "
            "Choose one from 256 to 65535, and write it to the sender's file too.",
        ),
        (
            NODE + SECOND.replace("0x1002", "0x1001"),
            "nodes.toml:24: node.security_association.spi: 0x1001 is already that of the association in line 6. "
            "Choose another one for one of them.",
        ),
        (
            NODE.replace("0x1001", "255"),
            "nodes.toml:8: node.security_association.spi: 255 is not a whole number from 256 to 4294967295. "
            "Write for example spi = 4097.",
        ),
        (
            NODE.replace("aes128-sha256", "aes128gcm16", 1),
            "nodes.toml:9: node.security_association.algorithm: aes128gcm16 must not be used with keys written by hand"
            ": after a restart it would repeat itself. Use aes128-sha256 or aes256-sha256, or IKE (RFC 4106 section "
            "8.1). There are: aes128-sha256, aes256-sha256, aes256-sha384, aes256-sha512, null-sha256.",
        ),
        (
            NODE.replace("aes128-sha256", "3des-md5", 1),
            'nodes.toml:9: node.security_association.algorithm: there is no algorithm "3des-md5". Write one of '
            "aes128-sha256, aes256-sha256, aes256-sha384, aes256-sha512, null-sha256.",
        ),
        (
            NODE.replace(IN_KEY, IN_KEY[:-2]),
            "nodes.toml:10: node.security_association.key: 47 octets, where aes128-sha256 takes 16 and 32. "
            "Make one with: openssl rand -hex 48",
        ),
        (
            NODE.replace(IN_KEY, "0xnonsense"),
            "nodes.toml:10: node.security_association.key: not 0x and pairs of hexadecimal digits. Correct the digits.",
        ),
        (
            NODE.replace("key =", "key_file =", 1),
            "nodes.toml:10: node.security_association.key_file: {folder}/" + IN_KEY + ": there is no such file. "
            "Create it or name another one.",
        ),
        (
            NODE.replace(f'key = "{IN_KEY}"', ""),
            "nodes.toml:6: node.security_association.key: no key. Give either key or key_file.",
        ),
        (
            NODE.replace(OUT_KEY, IN_KEY),
            "nodes.toml:16: node.security_association.key: the same key as that of the association in line 6. "
            "Each needs its own (RFC 6275 section 5.1): openssl rand -hex 48",
        ),
        (
            NODE + _IN_TABLE.replace("0x1001", "0x1003").replace("5e" * 4, "5f" * 4),
            'nodes.toml:18: node.security_association.direction: a second association of direction "in" for mobility. '
            "A pair has one of each direction: remove one.",
        ),
        (
            NODE.replace(_IN_TABLE, "").replace(_OUT_TABLE, ""),
            'nodes.toml:1: node.authentication: there are no security associations of direction "in" and "out" for '
            "mobility. Write two [[node.security_association]] below it, or another authentication.",
        ),
        (
            NODE.replace("manual", "shared-key"),
            "nodes.toml:6: node.security_association: security associations written by hand for a node that uses IKE. "
            'Write authentication = "manual", or remove them.',
        ),
        (
            NODE.replace('"manual"', '"manual"\nshared_key = "words"'),
            "nodes.toml:5: node.shared_key: a shared key for a node that authenticates without IKE. "
            'Write authentication = "shared-key", or remove shared_key.',
        ),
        (
            NODE.replace("direction =", "direktion =", 1),
            "nodes.toml:7: node.security_association.direktion: there is no such key. Did you mean direction?",
        ),
        (
            NODE.replace("db8:100:", "db8:900:"),
            "nodes.toml: node.home_address: mn1@example.org has keys written by hand for 2001:db8:900::11, which is in "
            "none of home_prefixes. Add its prefix to home_prefixes in {folder}/homeagent.toml, or remove the node.",
        ),
        (
            NODE.replace("home_address", "# home_address"),
            "nodes.toml:1: node.home_address: keys written by hand are for one home address, and there is none. "
            "Add the node's home address.",
        ),
        (
            NODE.replace("[[node.sec", "[node.sec").replace(_OUT_TABLE.replace("[[", "[", 1), ""),
            None,
        ),
    ],
)
def test_mistakes(tmp_path: Path, nodes: str, complaint: str | None) -> None:
    found = complaints(tmp_path, nodes)
    if complaint is not None:
        assert complaint.format(folder=tmp_path) in found
    if "key_file" not in nodes:
        assert "5e5e" not in "".join(found)


def test_the_check_warns_of_a_pair_that_hides_nothing_and_of_a_file_others_can_read(tmp_path: Path) -> None:
    key = "0x" + "5e" * 31 + "01"
    load(tmp_path, NODE.replace("aes128-sha256", "null-sha256", 1).replace(IN_KEY, key))
    (tmp_path / "nodes.toml").chmod(0o644)
    result = CliRunner().invoke(check, ["--config", str(tmp_path / "homeagent.toml")])
    assert result.exit_code == 0, result.output
    assert "the signalling of mn1@example.org can be read: null-sha256 hides nothing" in result.output
    assert "nodes.toml holds a secret and others can read it" in result.output


def test_every_name_of_an_algorithm_is_a_complete_suite_without_counters() -> None:
    assert all(suite.is_complete and suite.integrity for suite in STATIC_SUITES.values())


def test_negotiated_associations_never_take_an_spi_for_manual_keys() -> None:
    backend = UserspaceIpsec(lambda size: bytes(size))  # steps of one from zero
    assert [backend.allocate_spi() for _ in range(3)] == [STATIC_SPIS[-1] + 1 + n for n in range(3)]
