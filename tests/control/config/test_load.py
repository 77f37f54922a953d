"""The configuration file: what it gives, and what its errors say."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from control.cluster.redis_address import RedisAddress
from control.config import ConfigurationError, ListenAddress, load_configuration
from tests.control.configurations import SMALLEST


def write(folder: Path, text: str) -> Path:
    file = folder / "homeagent.toml"
    file.write_text(text)
    return file


def complaints(folder: Path, text: str) -> list[str]:
    file = write(folder, text)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(file)
    assert all(problem.file == file for problem in caught.value.problems)
    return [str(problem).removeprefix(f"{file}") for problem in caught.value.problems]


def test_the_smallest_file(tmp_path: Path) -> None:
    configuration = load_configuration(write(tmp_path, SMALLEST))
    assert configuration.path == tmp_path / "homeagent.toml"
    assert configuration.home_agent.address == IPv6Address("2001:db8:a1::1")
    assert configuration.home_agent.home_prefixes == (IPv6Network("2001:db8:100::/64"),)
    assert configuration.datapath.interfaces == ("core0",)
    assert configuration.metrics.listen == ListenAddress("::1", 9716)
    assert configuration.key_export.ike is None
    assert configuration.nodes.file is None


def test_the_address_is_the_identity_unless_another_is_given(tmp_path: Path) -> None:
    assert load_configuration(write(tmp_path, SMALLEST)).home_agent.identity == "2001:db8:a1::1"
    named = SMALLEST.replace("[datapath]", 'identity = "ha1.example.org"\n[datapath]')
    assert load_configuration(write(tmp_path, named)).home_agent.identity == "ha1.example.org"


def test_an_identity_has_one_spelling(tmp_path: Path) -> None:
    text = SMALLEST.replace("[datapath]", 'identity = "2001:0DB8:0:0::1"\n[datapath]')
    assert load_configuration(write(tmp_path, text)).home_agent.identity == "2001:db8::1"


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    keys = '[ike]\ncertificate = "pki/ha1.pem"\nprivate_key = "../ha1.key"\ntrust_anchors = ["/ca.pem"]\n'
    write(tmp_path / "etc", SMALLEST + keys)
    monkeypatch.chdir(tmp_path)
    configuration = load_configuration(Path("etc/homeagent.toml"))
    assert configuration.ike.certificate == tmp_path / "etc/pki/ha1.pem"
    assert configuration.ike.private_key == tmp_path / "ha1.key"
    assert configuration.ike.trust_anchors == (Path("/ca.pem"),)


@pytest.mark.parametrize(("added", "seconds"), [("", 10), ("[cluster]\nlease_s = 7.3\n", 15), ("lifetime_s = 0\n", 0)])
def test_routes_last_longer_than_a_restart_may_take(tmp_path: Path, added: str, seconds: int) -> None:
    assert load_configuration(write(tmp_path, f"{SMALLEST}[routes]\n{added}")).route_lifetime_s == seconds


def test_whole_numbers_do_for_numbers_and_empty_text_for_off(tmp_path: Path) -> None:
    text = SMALLEST + '[bootstrap]\nrate_per_s = 20\n[metrics]\nlisten = ""\n[key_export]\nike = ""\nesp = "esp_sa"\n'
    configuration = load_configuration(write(tmp_path, text))
    assert configuration.bootstrap.rate_per_s == 20.0
    assert configuration.metrics.listen is None
    assert configuration.key_export.ike is None
    assert configuration.key_export.esp == tmp_path / "esp_sa"


@pytest.mark.parametrize(
    ("added", "complaint"),
    [
        (
            "[ike]\ncookie_treshold = 5\n",
            ":9: ike.cookie_treshold: there is no such key. Did you mean cookie_threshold?",
        ),
        ("[ike]\nconcurrency = 5\n", ":9: ike.concurrency: there is no such key. It belongs in [bootstrap]."),
        ("[boostrap]\n", ":8: boostrap: there is no such section. Did you mean [bootstrap]?"),
        (
            '[ike]\ncookie_threshold = "many"\n',
            ':9: ike.cookie_threshold: "many" is not a whole number from 0 to 1000000. '
            "Write for example cookie_threshold = 256.",
        ),
        (
            '[ike]\nproposals = ["aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-ecp265"]\n',
            ':9: ike.proposals: ["aes128gcm16-prfsha256-x25519", "aes128gcm16-prfsha256-ecp265"] is not a list, each '
            'algorithms of an IKE SA joined by hyphens ("ecp265" is no algorithm that belongs here, ecp256 is). '
            'Write for example proposals = ["aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-x25519"].',
        ),
        (
            '[ike]\ncookie_threshold = 5\nesp_proposals = ["aes128"]\n',
            ':10: ike.esp_proposals: ["aes128"] is not a list, each algorithms of a child SA joined by hyphens '
            "(no integrity algorithm, such as sha256). "
            'Write for example esp_proposals = ["aes256gcm16", "aes128-sha256"].',
        ),
        (
            '[ike]\nredirect_to = "2001:db8:a1::1"\n',
            ":9: ike.redirect_to: this home agent itself. Name another one, or leave it out.",
        ),
        (
            "[bootstrap]\nattempts = true\n",
            ":9: bootstrap.attempts: true is not a whole number from 1 to 100. Write for example attempts = 5.",
        ),
        (
            "[metrics]\nlisten = '[::1]:0'\n",
            ':9: metrics.listen: "[::1]:0" is not an address and a port (the port is not from 1 to 65535). '
            'Write for example listen = "[::1]:9716".',
        ),
        (
            "[cluster]\n\nlease_s = 1.5\n",
            ":8: cluster.heartbeat_s: 1.0 s is more than half of lease_s, 1.5 s. "
            "Write at most 0.75, or make lease_s longer.",
        ),
        (
            '[ike]\ncertificate = "ha1.pem"\n',
            ":9: ike.certificate: a certificate without its private key. Add private_key to [ike].",
        ),
        (
            '[ike]\ncrl_policy = "hard"\n',
            ':9: ike.crl_policy: "hard" without revocation lists. Name them by crls, or choose another policy.',
        ),
        (
            f'[control]\nsocket = "/{"x" * 107}"\n',
            ":9: control.socket: longer than 107 octets, the most a Unix socket's path can have. "
            "Choose a shorter path, under /run for example.",
        ),
        (
            "[bootstrap]\nbackoff_initial_s = 60\n",
            ":9: bootstrap.backoff_initial_s: 60.0 s is longer than backoff_max_s, 30.0 s. "
            "Make it shorter, or backoff_max_s longer.",
        ),
        ("ike = 4\n[ike]\n", None),
        (
            "[mobility\n",
            ":8: not TOML: expected ']' at the end of a table declaration. "
            'Write key = value, with text in double quotes: name = "ha1".',
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_remedy(tmp_path: Path, added: str, complaint: str | None) -> None:
    found = complaints(tmp_path, SMALLEST + added)
    assert len(found) == 1
    if complaint is not None:
        assert found == [complaint]


def test_all_mistakes_are_found_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = SMALLEST.replace('"ha1"', '"h a"').replace("::/64", "::1/64").replace("address", "adress")
    found = complaints(tmp_path, text + "[bootstrap]\nrate_per_s = 0\n")
    assert [line.split(": ")[1] for line in found] == [
        "home_agent.address",
        "home_agent.name",
        "home_agent.adress",
        "home_agent.home_prefixes",
        "bootstrap.rate_per_s",
    ]
    assert "2001:db8:100::1/64 has host bits set" in found[3]


def test_a_key_outside_of_its_section(tmp_path: Path) -> None:
    found = complaints(tmp_path, "lease_s = 3\n" + SMALLEST)
    assert found == [":1: lease_s: this key stands outside of a section. Move it into [cluster]."]


def test_a_missing_section(tmp_path: Path) -> None:
    found = complaints(tmp_path, SMALLEST[: SMALLEST.index("[datapath]")])
    assert found == [": datapath: this section is missing. Add [datapath] with interfaces."]


@pytest.mark.parametrize("address", ["fe80::1", "ff02::1", "::", "::1", "192.0.2.1", "ha1.example.org", ""])
def test_addresses_that_no_home_agent_can_have(tmp_path: Path, address: str) -> None:
    found = complaints(tmp_path, SMALLEST.replace("2001:db8:a1::1", address))
    assert found[0].startswith(":3: home_agent.address: ")


def test_prefixes_and_interfaces_that_repeat_themselves(tmp_path: Path) -> None:
    text = SMALLEST.replace('"2001:db8:100::/64"', '"2001:db8:100::/64", "2001:db8::/32"').replace(
        '"core0"', '"core0", "core0"'
    )
    assert complaints(tmp_path, text) == [
        ":4: home_agent.home_prefixes: 2001:db8:100::/64 and 2001:db8::/32 overlap. Remove one of them.",
        ":7: datapath.interfaces: an interface is named twice. Name each once.",
    ]


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nix\.toml: there is no such file\. Create it or name another one\."):
        load_configuration(tmp_path / "nix.toml")
    (tmp_path / "x.toml").write_bytes(b"# a\n# \xff\n")
    with pytest.raises(ConfigurationError, match=r"x\.toml:2: not UTF-8 text"):
        load_configuration(tmp_path / "x.toml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_configuration(tmp_path)


@pytest.mark.parametrize(
    ("pools", "complaint"),
    [
        (
            '["2001:db8:999::/80"]',
            ":10: mobility.home_address_pools: 2001:db8:999::/80 is in none of the home prefixes. "
            "Write a home prefix or a part of one.",
        ),
        (
            '["2001:db8:100::/80", "2001:db8:100:0:1::/80"]',
            ":10: mobility.home_address_pools: 2001:db8:100::/80 and 2001:db8:100:0:1::/80 are both of "
            "2001:db8:100::/64. Write one pool for each home prefix.",
        ),
    ],
)
def test_pools_belong_to_home_prefixes(tmp_path: Path, pools: str, complaint: str) -> None:
    assert complaints(tmp_path, SMALLEST + f"\n[mobility]\nhome_address_pools = {pools}\n") == [complaint]


@pytest.mark.parametrize("url", ["redis://ha:sesame@store.example:7000/1", "redis+sentinel://s1,s2/homeagent/0"])
def test_the_store_may_be_a_redis_server(tmp_path: Path, url: str) -> None:
    store = load_configuration(write(tmp_path, f'{SMALLEST}\n[cluster]\nstore = "{url}"\n')).cluster.store
    assert store.place == RedisAddress.parse(url)
    assert "sesame" not in f"{store} {store!r}"


def test_a_password_with_a_slash_is_not_repeated(tmp_path: Path) -> None:
    for url in ("redis://ha:ses/ame@store.example:7000/1", "redis+sentinel://s1:ses,s2/homeagent/0"):
        (complaint,) = complaints(tmp_path, f'{SMALLEST}\n[cluster]\nstore = "{url}"\n')
        assert "ses" not in complaint
        assert "its port is no number from 0 to 65535; in a password write %2F for /" in complaint


def test_a_store_of_another_kind_is_refused_without_its_password(tmp_path: Path) -> None:
    (complaint,) = complaints(tmp_path, f'{SMALLEST}\n[cluster]\nstore = "mysql://ha:sesame@store.example"\n')
    assert complaint.startswith(":10: cluster.store: this value is not ")
    assert "sesame" not in complaint
    assert "a path, or the URL of a Redis server such as redis://host:6379/0" in complaint
