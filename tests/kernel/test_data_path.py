"""The data path on the kernel that Debian ships: its verifier is older than that of the kernel most tests run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from datapath.loader import LoaderOptions, load
from datapath.show import show
from datapath.stranger_limits import StrangerLimits
from datapath.unload import unload
from datapath.verification import VERIFIER_LIMIT, verify
from tests.kernel.network import veth

pytestmark = pytest.mark.kernel

PIN_PATH = Path("/sys/fs/bpf/homeagent-load")


@pytest.fixture
def interface() -> Iterator[str]:
    with veth("load0"):
        yield "load0"
        unload(PIN_PATH)


FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "IPv4 and mobile networks": {
        "home_agent_ipv4_addresses": [IPv4Address("192.0.2.1")],
        "mobile_networks": True,
    },
    "stranger limits": {"stranger_limits": StrangerLimits()},
    "home links": {"home_links": ["load0"]},
    "VLANs": {"vlans": True, "home_links": ["load0"], "mobile_networks": True},
}


@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_the_verifier_accepts_the_program_and_it_is_attached_natively(interface: str, features: dict[str, Any]) -> None:
    assert os.uname().release.endswith("-cloud-amd64")
    home_agents = [IPv6Address("2001:db8:a1::1")]
    report = load(LoaderOptions([interface], PIN_PATH, home_agents, 64, **features))
    assert [(row.name, str(row.actual_mode)) for row in report.interfaces] == [("load0", "native")]
    assert 0 < report.verified_instructions < 500_000
    assert show(PIN_PATH)["interfaces"][0]["name"] == "load0"


def test_home_links_stay_below_half_of_the_verifiers_limit() -> None:
    """Compiling is slow in this machine, and the others are loaded above or by tests of their own."""
    chosen = [("home_links",)]
    for each in verify(PIN_PATH, (IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:a1::2")), chosen):
        assert 0 < each.verified_instructions < VERIFIER_LIMIT / 2, each
