"""strongSwan (Debian's charon-systemd) in another network namespace: IKE SAs begun and rekeyed by either side."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildPolicy, ChildRequest
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.events import IkeClosed, IkeRekeyed, PeerAlive
from control.ikev2.payloads import Identity
from control.ikev2.policy import IkeConfiguration
from control.ikev2.states import Role, State
from control.ipsec.traffic_selector import TrafficSelector

pytestmark = pytest.mark.namespaces

OURS, THEIRS = IPv6Address("2001:db8:5::1"), IPv6Address("2001:db8:5::2")
CLONE_NEWNET = 0x40000000
OVER = (State.LINGERING, State.OBSOLETE)
# No child SA comes of it on a kernel without ESP; the IKE SA stays, and that is what is rekeyed here.
CHARON = """
charon-systemd {{
  load = random nonce openssl aes sha1 sha2 hmac kdf gcm curve25519 pem socket-default kernel-netlink vici
  plugins {{ vici {{ socket = unix://{socket} }} }}
  filelog {{ log {{ path = {log} }} }}
}}
"""
CONNECTIONS = """
connections {{ ha {{
  local_addrs = {theirs}
  remote_addrs = {ours}
  proposals = aes128gcm16-prfsha256-x25519
  local {{ auth = psk
 id = mn1@example.org }}
  remote {{ auth = psk
 id = ha1.example.org }}
  children {{ c {{ mode = transport
 esp_proposals = aes128gcm16 }} }}
}} }}
secrets {{ ike {{ id = ha1.example.org
 secret = secret }} }}
"""


class Policy:
    def shared_key(self, local, remote):
        return b"secret"

    def accept_peer(self, remote, as_initiator):
        return True

    def select_child(self, sa, local, remote):
        return ChildPolicy(local, remote)

    def configuration_reply(self, sa, request):
        return None


class Peers:
    """Our endpoint in one namespace and strongSwan in another."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names = [f"hatest-swan{side}-{os.getpid()}" for side in (1, 2)]
        self.vici = directory / "vici"
        self.environment = {**os.environ, "STRONGSWAN_CONF": str(directory / "strongswan.conf")}
        self.reported: list = []

    def __enter__(self) -> Peers:
        for name in self.names:
            run("ip", "netns", "add", name)
        run(
            "ip", "-n", self.names[0], "link", "add", "v1", "type", "veth", "peer", "name", "v2", "netns", self.names[1]
        )
        for name, device, address in zip(self.names, ("v1", "v2"), (OURS, THEIRS), strict=True):
            run("ip", "-n", name, "address", "add", f"{address}/64", "dev", device, "nodad")
            run("ip", "-n", name, "link", "set", device, "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        (self.directory / "strongswan.conf").write_text(CHARON.format(socket=self.vici, log=self.directory / "log"))
        (self.directory / "swanctl.conf").write_text(CONNECTIONS.format(ours=OURS, theirs=THEIRS))
        inside = ("ip", "netns", "exec", self.names[1])
        self.charon = subprocess.Popen([*inside, "/usr/sbin/charon-systemd"], env=self.environment)
        self.socket = socket_in(self.names[0])
        self.endpoint = IkeEndpoint(
            IkeConfiguration(Identity.from_text("ha1.example.org"), time.time),
            Policy(),
            os.urandom,
            lambda: int.from_bytes(os.urandom(4), "big") | 0x1000,
        )
        self.wait(self.vici.exists)
        self.swanctl("--load-all", "--file", str(self.directory / "swanctl.conf"))
        return self

    def __exit__(self, *details: object) -> None:
        self.socket.close()
        self.charon.terminate()
        try:
            self.charon.wait(10)
        except subprocess.TimeoutExpired:
            self.charon.kill()
            self.charon.wait()
        for name in self.names:
            run("ip", "netns", "delete", name)

    def swanctl_command(self, *arguments: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.names[1], "swanctl", *arguments, "--uri", f"unix://{self.vici}")

    def swanctl(self, *arguments: str) -> str:
        command = self.swanctl_command(*arguments)
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def pump(self, seconds: float = 0.05) -> None:
        for datagram in self.endpoint.datagrams_to_send():
            self.socket.sendto(datagram.data, (str(datagram.remote.address), datagram.remote.port))
        self.reported += self.endpoint.events()
        if select.select([self.socket], [], [], seconds)[0]:
            data, sender = self.socket.recvfrom(65535)
            remote = SocketAddress(IPv6Address(sender[0]), sender[1])
            self.endpoint.receive_datagram(data, SocketAddress(OURS), remote, time.monotonic())
        self.endpoint.handle_timer(time.monotonic())

    def wait(self, condition, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.reported, self.endpoint.statistics)
            self.pump()

    def happened(self, kind: type) -> list:
        return [event for _, event in self.reported if isinstance(event, kind)]

    def established(self):
        return [sa for sa in self.endpoint.sas() if sa.is_established]


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def socket_in(namespace: str) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as here, open(f"/run/netns/{namespace}") as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sock.bind((str(OURS), 500))
        finally:
            assert libc.setns(here.fileno(), CLONE_NEWNET) == 0
    return sock


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    with Peers(tmp_path) as both:
        yield both


def connect(peers: Peers) -> None:
    peers.endpoint.connect(
        SocketAddress(OURS),
        SocketAddress(THEIRS),
        time.monotonic(),
        remote_identity=Identity.from_text("mn1@example.org"),
        first_child=ChildRequest((TrafficSelector.host(OURS),), (TrafficSelector.host(THEIRS),)),
    )
    peers.wait(peers.established)


def test_strongswan_begins_and_ends_an_ike_sa(peers: Peers) -> None:
    peers.swanctl("--load-all", "--file", str(peers.directory / "swanctl.conf"))
    initiate = subprocess.Popen(
        peers.swanctl_command("--initiate", "--ike", "ha"), env=peers.environment, stdout=subprocess.DEVNULL
    )
    peers.wait(peers.established)
    peers.wait(lambda: initiate.poll() is not None)
    (sa,) = peers.established()
    assert (sa.role, str(sa.remote_identity)) == (Role.RESPONDER, "mn1@example.org")
    assert sa.remote_spi.hex() in peers.swanctl("--list-sas")
    terminate = subprocess.Popen(
        peers.swanctl_command("--terminate", "--ike", "ha"), env=peers.environment, stdout=subprocess.DEVNULL
    )
    peers.wait(lambda: peers.happened(IkeClosed))
    peers.wait(lambda: terminate.poll() is not None)
    assert [event.reason for event in peers.happened(IkeClosed)] == ["deleted-by-peer"]


def test_we_begin_and_end_an_ike_sa_with_strongswan(peers: Peers) -> None:
    connect(peers)
    (sa,) = peers.established()
    assert sa.local_spi.hex() in peers.swanctl("--list-sas")
    sa.probe_liveness(time.monotonic())
    peers.wait(lambda: peers.happened(PeerAlive))
    sa.delete(time.monotonic())
    peers.wait(lambda: peers.happened(IkeClosed))
    assert "ESTABLISHED" not in peers.swanctl("--list-sas")


@pytest.mark.parametrize("who", ["we", "strongSwan", "both at once"])
def test_the_ike_sa_is_rekeyed_with_strongswan(peers: Peers, who: str) -> None:
    connect(peers)
    for count in range(1, 4):
        (sa,) = peers.established()
        if who != "we":
            peers.swanctl("--rekey", "--ike", "ha")
        if who == "both at once":
            # Its request is in our socket by now, unread.
            assert select.select([peers.socket], [], [], 5.0)[0]
        if who != "strongSwan":
            sa.rekey(time.monotonic())
        peers.wait(lambda count=count: len(peers.happened(IkeRekeyed)) == count)
        # strongSwan may take the deletion of the old SA before the answer that makes a collision known to it; then it
        # forgets its own request, and what came of that here is left to expire (RFC 7296 section 2.8.2).
        peers.wait(lambda: len([each for each in peers.endpoint.sas() if each.state not in OVER]) == 1)
        (new,) = peers.established()
        listed = peers.swanctl("--list-sas")
        assert new.local_spi.hex() in listed
        assert new.remote_spi.hex() in listed
        assert listed.count("ESTABLISHED") == 1
    assert not peers.happened(IkeClosed)
    assert peers.endpoint.statistics["ike-rekeying-collisions"] == (3 if who == "both at once" else 0)
