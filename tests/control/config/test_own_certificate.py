"""The home agent's own certificate is looked at as nodes will."""

from __future__ import annotations

import time

import pytest

from bench.lab.pki import CertificateAuthority
from control.config import load_configuration
from control.config.own_certificate import flaw_of_own_certificate

CONFIGURATION = """
[home_agent]
name = "ha1"
address = "2001:db8:a1::1"
{identity}
home_prefixes = ["2001:db8:100::/64"]
[datapath]
interfaces = ["core0"]
[ike]
{certificate}
"""
FILES = 'certificate = "ha1.pem"\nprivate_key = "ha1.key"'


@pytest.fixture
def flaw(tmp_path):
    def flaw(names, *, identity='identity = "ha1.example.org"', certificate=FILES, later_s=0.0):
        CertificateAuthority().issue(names).write(tmp_path, "ha1")
        path = tmp_path / "homeagent.toml"
        path.write_text(CONFIGURATION.format(identity=identity, certificate=certificate))
        found = flaw_of_own_certificate(load_configuration(path), time.time() + later_s)
        return None if found is None else found.reason

    return flaw


def test_a_good_one_whoever_issued_it(flaw):
    assert flaw("ha1.example.org") is None
    assert flaw("2001:db8:a1::1", identity="") is None


def test_what_nodes_refuse(flaw):
    assert flaw("ha2.example.org") == "identity-not-in-certificate"
    assert flaw("ha1.example.org", identity="") == "identity-not-in-certificate"
    assert flaw("ha1.example.org", later_s=1e8) == "expired-certificate"
    assert flaw("ha1.example.org", later_s=-1e8) == "certificate-not-yet-valid"


def test_none_at_all(flaw):
    assert flaw("ha1.example.org", certificate="") is None
