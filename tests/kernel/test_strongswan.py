"""strongSwan as the mobile node, with its ESP in this kernel: child SAs that protect Mobility Header messages.

Its SAs have the home address, ours too, while IKE runs between care-of address and home agent (RFC 4877 section 4):
that is strongSwan's mode ``transport_proxy``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from typing import Any

import pytest

from bench.lab.entering import inside
from bench.lab.ike_peers import OURS, THEIRS, Ours, Peers, run
from bench.lab.strongswan import StrongSwan
from control.daemon.kernel_ipsec import KernelIpsec
from control.ikev2.child import ChildRequest, ChildSa
from control.ikev2.events import ChildClosed, ChildEstablished, IkeClosed, IkeRekeyed
from control.ikev2.numbers import DiffieHellmanGroup
from control.ikev2.proposals import EspProposal
from control.ipsec.algorithms import EncryptionAlgorithm
from control.ipsec.security_association import security_association_pair
from control.ipsec.traffic_selector import TrafficSelector
from control.ipsec.userspace import UserspaceIpsec
from control.wire import internet_checksum, ipv6_pseudo_header
from datapath.xfrm.channel import XfrmChannel
from tests.interop.credentials import AUTHENTICATIONS, SHARED, connections, prepare

pytestmark = pytest.mark.kernel

HOME = IPv6Address("2001:db8:100::1001")
ESP, ICMPV6, MOBILITY = 50, 58, 135
BINDING_UPDATE, ACKNOWLEDGEMENT = 5, 6
CHILD = f"""
        mode = transport_proxy
        local_ts = {HOME}/128[{MOBILITY}]
        remote_ts = {OURS}/128[{MOBILITY}]
      }}
      mpd {{
        esp_proposals = aes128gcm16
        mode = transport_proxy
        local_ts = {HOME}/128[{ICMPV6}]
        remote_ts = {OURS}/128[{ICMPV6}]
"""
BINDINGS, DISCOVERY = (
    ChildRequest((TrafficSelector.host(OURS, protocol),), (TrafficSelector.host(HOME, protocol),), name)
    for protocol, name in ((MOBILITY, "mh"), (ICMPV6, "mpd"))
)
ROLES = ("initiator", "responder")
WHO = ("us", "strongSwan")
# Either side has done each once where it does not matter who has begun: this machine is slow.
OWN_IKE_SA = pytest.mark.parametrize(("who", "role"), tuple(zip(WHO, ROLES, strict=True)))


class Signalling:
    """Both sides with sockets for Mobility Header messages, in the clear as the sockets see them."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        run("ip", "-n", peers.their_namespace, "address", "add", f"{HOME}/128", "dev", "wire", "nodad")
        run("ip", "-n", peers.our_namespace, "route", "add", f"{HOME}/128", "via", str(THEIRS))
        with contextlib.ExitStack() as stack:
            with inside(peers.our_namespace):
                self.channel = XfrmChannel()
                stack.callback(self.channel.close)
                self.ipsec = KernelIpsec(self.channel, os.urandom)
                self.our_mobility = stack.enter_context(raw_socket(OURS, MOBILITY))
            with inside(peers.their_namespace):
                self.their_mobility = stack.enter_context(raw_socket(HOME, MOBILITY))
            self.close = stack.pop_all().close

    @property
    def ours(self) -> Ours:
        return self.peers.ours

    @property
    def charon(self) -> StrongSwan:
        return self.peers.charon

    def prepare(self, authentication: str, text: str | None = None, **settings: Any) -> None:
        """A new endpoint of ours whose child SAs go into the kernel."""
        prepare(self.peers, authentication, text or connections(authentication, CHILD), **settings)
        assert self.channel.states() == []
        self.ours.observe = self._observe

    def _observe(self, sa: object, event: object) -> None:
        if isinstance(event, ChildEstablished):
            waits = event.replaces is not None and not event.child.initiated
            self.ipsec.install(*security_association_pair(event.child, OURS, HOME), outbound_waits=waits)
        elif isinstance(event, ChildClosed):
            self.ipsec.remove(event.child.inbound_spi)

    def begin(self, role: str) -> None:
        """The IKE SA with its child, begun by us or by strongSwan."""
        if role == "initiator":
            self.peers.connect(BINDINGS)
        else:
            self.peers.swanctl_and_pump("--initiate", "--child", "mh")
        self.peers.wait(lambda: self.ours.happened(ChildEstablished) and len(self.charon.children()) == 1)

    def child(self) -> ChildSa:
        """Our only child SA."""
        (sa,) = self.ours.established()
        (child,) = sa.children.values()
        return child

    def check(self, child: ChildSa | None = None) -> None:
        """Both sides have a child SA, by default the only one, and a message each way is protected by it."""
        child = child or self.child()
        (seen,) = (one for one in self.charon.children() if int(one["spi-in"], 16) == child.outbound_spi)
        assert int(seen["spi-out"], 16) == child.inbound_spi
        assert (seen["protocol"], seen["mode"]) == ("ESP", "TRANSPORT_PROXY")
        before = self.usage(child)
        self.their_mobility.sendto(message(HOME, OURS, BINDING_UPDATE), (str(OURS), 0))
        assert self.our_mobility.recv(2000)[2] == BINDING_UPDATE
        self.our_mobility.sendto(message(OURS, HOME, ACKNOWLEDGEMENT), (str(HOME), 0))
        assert self.their_mobility.recv(2000)[2] == ACKNOWLEDGEMENT
        assert self.usage(child) == tuple(packets + 1 for packets in before)

    def usage(self, child: ChildSa) -> tuple[int, ...]:
        """Packets of a child SA in and out as we count them, and out and in as strongSwan's kernel does."""
        (ours,) = (pair for pair in self.ipsec.list() if pair[0].spi == child.inbound_spi)
        theirs = states(self.peers.their_namespace)
        return (
            *(association.usage.packets for association in ours),
            *(theirs[spi] for spi in (child.inbound_spi, child.outbound_spi)),
        )


def raw_socket(address: IPv6Address, protocol: int) -> socket.socket:
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)
    raw.settimeout(60)
    raw.bind((str(address), 0))
    return raw


def message(source: IPv6Address, destination: IPv6Address, kind: int) -> bytes:
    """A Mobility Header message of a type, with zeros for its contents."""
    content = struct.pack("!BBBBH", 59, 1, kind, 0, 0) + bytes(10)
    checksum = internet_checksum(ipv6_pseudo_header(source, destination, len(content), MOBILITY) + content)
    return content[:4] + checksum.to_bytes(2, "big") + content[6:]


def states(namespace: str) -> dict[int, int]:
    """Packets by SPI, from what ``ip -s xfrm state`` tells."""
    found: dict[int, int] = {}
    spi = None
    for words in map(str.split, run("ip", "-n", namespace, "-s", "xfrm", "state").splitlines()):
        if "spi" in words:
            spi = int(words[words.index("spi") + 1].partition("(")[0], 16)
        elif "lifetime" in words and "current:" in words:
            found[spi] = -1
        elif spi is not None and found.get(spi) == -1 and "bytes)," in " ".join(words):
            found[spi] = int(words[1].partition("(")[0])
    return found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signalling]:
    # By itself it keeps what was rekeyed for 5 s, for packets on their way.
    with Peers(tmp_path_factory.mktemp("swan"), options="delete_rekeyed_delay = 1") as peers:
        signalling = Signalling(peers)
        yield signalling
        signalling.close()


@pytest.fixture
def signalling(shared: Signalling) -> Iterator[Signalling]:
    yield shared
    shared.peers.end()


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> str:
    """Ours, in the first IKE SA."""
    return str(request.param)


@pytest.fixture
def established(signalling: Signalling, role: str) -> Signalling:
    signalling.prepare(SHARED)
    signalling.begin(role)
    return signalling


@pytest.mark.interop("child SA made with the IKE SA", role="{role}", authentication="{authentication}")
@pytest.mark.parametrize("authentication", [kind for kind in AUTHENTICATIONS if kind != "ECDSA P-384"])
def test_signalling_is_protected(signalling: Signalling, authentication: str, role: str) -> None:
    signalling.prepare(authentication)
    signalling.begin(role)
    signalling.check()


@pytest.mark.interop("child SA in our userspace back end", role="{role}", authentication=SHARED)
def test_signalling_is_protected_without_our_kernel(signalling: Signalling, role: str) -> None:
    signalling.prepare(SHARED)
    signalling.ours.observe = lambda sa, event: None
    signalling.begin(role)
    ipsec = UserspaceIpsec(os.urandom)
    ipsec.install(*security_association_pair(signalling.child(), OURS, HOME))
    with inside(signalling.peers.our_namespace):
        raw = raw_socket(OURS, ESP)
    with raw:
        signalling.their_mobility.sendto(message(HOME, OURS, BINDING_UPDATE), (str(OURS), 0))
        opened = ipsec.unprotect(HOME, OURS, raw.recv(2000), 0.0)
        assert (opened.protocol, opened.payload[2]) == (MOBILITY, BINDING_UPDATE)
        acknowledgement = message(OURS, HOME, ACKNOWLEDGEMENT)
        protected = ipsec.protect(OURS, HOME, MOBILITY, acknowledgement, 0.0)
        raw.sendto(protected, (str(HOME), 0))
        assert signalling.their_mobility.recv(2000)[2] == ACKNOWLEDGEMENT


@pytest.mark.interop("further child SA by CREATE_CHILD_SA, asked for by {who}", role="{role}", authentication=SHARED)
@OWN_IKE_SA
def test_a_further_child_sa_is_made(established: Signalling, who: str, role: str) -> None:
    (sa,) = established.ours.established()
    first = established.child()
    either(established, who, lambda now: sa.create_child(DISCOVERY, now), "--initiate", "--child", "mpd")
    established.peers.wait(lambda: len(sa.children) == len(established.charon.children()) == 2)
    (second,) = (child for child in sa.children.values() if child is not first)
    assert second.transport_mode
    assert {selector.protocol for selector in (*second.local_selectors, *second.remote_selectors)} == {ICMPV6}
    spis = {first.inbound_spi, first.outbound_spi, second.inbound_spi, second.outbound_spi}
    assert set(states(established.peers.their_namespace)) == spis
    established.check(first)


@pytest.mark.interop("child SA rekeyed by {who}, {keys}", role="{role}", authentication=SHARED)
@pytest.mark.parametrize(
    ("keys", "who", "role"),
    [
        *(("keys from the IKE SA", who, role) for who in WHO for role in ROLES),
        *(("new key exchange", who, "responder") for who in WHO),
    ],
)
def test_a_child_sa_is_rekeyed(signalling: Signalling, who: str, keys: str, role: str) -> None:
    groups = (DiffieHellmanGroup.CURVE25519,) if keys == "new key exchange" else ()
    proposal = EspProposal(((EncryptionAlgorithm.AES_GCM_16, 128),), (), groups)
    text = connections(SHARED, CHILD)
    if groups:
        text = text.replace("esp_proposals = aes128gcm16\n", "esp_proposals = aes128gcm16-x25519\n")
    signalling.prepare(SHARED, text, esp_proposals=(proposal,))
    signalling.begin(role)
    (sa,) = signalling.ours.established()
    old = signalling.child()
    either(signalling, who, lambda now: sa.rekey_child(old, now), "--rekey", "--child", "mh")
    signalling.peers.wait(lambda: signalling.ours.happened(ChildClosed))
    new = signalling.child()
    assert new.inbound_spi != old.inbound_spi
    assert new.group == (groups[0] if groups else None)
    signalling.peers.wait(lambda: set(states(signalling.peers.their_namespace)) == {new.inbound_spi, new.outbound_spi})
    signalling.check()


@pytest.mark.interop("child SA rekeyed by both at once", role="{role}", authentication=SHARED)
def test_a_child_sa_is_rekeyed_by_both_at_once(established: Signalling, role: str) -> None:
    (sa,) = established.ours.established()
    old = established.child()
    established.charon.swanctl("--rekey", "--child", "mh")
    # Its request is in our socket by now, unread.
    assert established.ours.has_arrivals(10.0)
    sa.rekey_child(old, time.monotonic())
    established.peers.wait(lambda: old.inbound_spi not in sa.children and len(sa.children) == 1)
    assert established.peers.endpoint.statistics["child-rekeying-collisions"] == 1
    new = established.child()
    spis = {new.inbound_spi, new.outbound_spi}
    established.peers.wait(lambda: set(states(established.peers.their_namespace)) == spis)
    established.check()


@pytest.mark.interop("IKE SA with a child SA rekeyed by {who}", role="{role}", authentication=SHARED)
@pytest.mark.parametrize("who", WHO)
def test_the_ike_sa_is_rekeyed_and_keeps_its_child(established: Signalling, who: str, role: str) -> None:
    (sa,) = established.ours.established()
    child = established.child()
    either(established, who, sa.rekey, "--rekey", "--ike", "ha")
    established.peers.wait(lambda: established.ours.happened(IkeRekeyed))
    established.peers.wait(lambda: len(established.charon.sas()) == 1)
    assert established.child() is child
    established.check()


@pytest.mark.interop("child SA deleted by {who}", role="{role}", authentication=SHARED)
@OWN_IKE_SA
def test_a_child_sa_is_deleted(established: Signalling, who: str, role: str) -> None:
    (sa,) = established.ours.established()
    child = established.child()
    either(established, who, lambda now: sa.delete_child(child, now), "--terminate", "--child", "mh")
    established.peers.wait(lambda: not sa.children and not states(established.peers.their_namespace))
    assert sa.is_established
    assert len(established.charon.established()) == 1
    assert established.channel.states() == []


@pytest.mark.interop("IKE SA with a child SA deleted by {who}", role="{role}", authentication=SHARED)
@OWN_IKE_SA
def test_the_ike_sa_is_deleted_with_its_child(established: Signalling, who: str, role: str) -> None:
    (sa,) = established.ours.established()
    either(established, who, sa.delete, "--terminate", "--ike", "ha")
    established.peers.wait(lambda: established.ours.happened(IkeClosed))
    established.peers.wait(lambda: not established.charon.sas())
    assert established.channel.states() == []
    assert states(established.peers.their_namespace) == {}


def either(signalling: Signalling, who: str, ours: Callable[[float], object], *theirs: str) -> None:
    """Let one of the sides do something."""
    if who == "us":
        ours(time.monotonic())
    else:
        signalling.peers.swanctl_and_pump(*theirs)
