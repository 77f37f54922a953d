"""A node with a password (EAP): real daemons, XDP, pings, and a takeover, in which a shared key stands in for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials, Subscriber
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import EchoProbes
from bench.lab.scene import Scene, SceneOptions
from bench.lab.toml import Table
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces

METHOD = "eap-mschapv2"
PASSWORD, SHARED_KEY = "correct horse battery staple", "0x8f3c52d1e07a4b96"


class Passwords(Credentials):
    """Certificates for the home agents, a password for the node."""

    def __init__(self) -> None:
        super().__init__("cert")

    def issue(self, identity: str, directory: Path, stem: str) -> dict[str, str]:
        return {} if stem.startswith("mn") else super().issue(identity, directory, stem)

    def node_row(self, subscriber: Subscriber) -> Table:
        secrets = {"authentication": METHOD, "password": PASSWORD, "shared_key": SHARED_KEY}
        return {**super().node_row(subscriber), **secrets}


def test_a_node_registers_by_a_password_and_is_taken_over_by_a_shared_key(laboratory: Laboratory) -> None:
    credentials = Passwords()
    subscriber = credentials.subscriber(1, home_address(1))
    scene = Scene(laboratory, credentials, [subscriber], SceneOptions(ike={}))
    changes: Table = {"authentication": METHOD, "password": PASSWORD, "shared_key": SHARED_KEY}
    node = MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing, changes=changes)
    scene.register([node])
    probes = EchoProbes(laboratory, scene.correspondent, 1, "--interval", "0.02")
    probes.set_target(0, subscriber.home_address)
    wait_until(probes.reach_all, "no ping is answered")
    (row,) = scene.failing.sas()
    assert (row["identity"], row["eap_identity"]) == (subscriber.identity, subscriber.identity)
    probes.mark(scene.fail())
    wait_until(probes.are_answered, "the node is not reachable through the home agent that took over")
    (binding,) = scene.surviving.bindings()
    assert binding["identity"] == subscriber.identity
