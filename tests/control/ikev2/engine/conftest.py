"""Two endpoints that talk in memory, and a public key infrastructure for them."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from msgspec import structs

from control.eap.authenticator import EapAuthenticator
from control.ikev2.address import IKE_PORT, Datagram, SocketAddress
from control.ikev2.child import ChildPolicy, ChildRequest, ChildSa
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.events import Event
from control.ikev2.exchanges.base import NONCE_SIZE
from control.ikev2.payloads import Identity
from control.ikev2.policy import ConfigurationAnswer, Credentials, IkeConfiguration, LifetimePolicy
from control.ikev2.sa import IkeSa
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector

WALL_CLOCK = datetime.datetime(2030, 6, 1, tzinfo=datetime.UTC).timestamp()
HOME_AGENT = IPv6Address("2001:db8:a1::1")
CARE_OF = IPv6Address("2001:db8:c1::2")
HOME_ADDRESS = IPv6Address("2001:db8:100::1001")


class RawRequest:
    """A request of an established SA with payloads of the test's choice."""

    def __init__(self, exchange_type, *payloads):
        self.exchange_type = exchange_type
        self.payloads = payloads
        self.answer = None

    def build(self, sa, now):
        return self.payloads

    def complete(self, sa, payloads, now):
        self.answer = payloads


@dataclass
class Policy:
    """A policy with answers set by the test."""

    key: bytes | None = b"secret"
    accepted: Callable[[Identity], bool] = lambda identity: True
    grant: Callable[[IkeSa, tuple, tuple], ChildPolicy | None] | None = None
    reply: ConfigurationAnswer | None = None
    eap: Callable[[Identity], EapAuthenticator | None] = lambda identity: None
    asked: list[tuple] = field(default_factory=list)

    def shared_key(self, local: Identity, remote: Identity) -> bytes | None:
        return self.key

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        self.asked.append((remote, as_initiator))
        return self.accepted(remote)

    def eap_authenticator(self, remote: Identity) -> EapAuthenticator | None:
        return self.eap(remote)

    def select_child(self, sa, local_selectors, remote_selectors) -> ChildPolicy | None:
        if self.grant is not None:
            return self.grant(sa, local_selectors, remote_selectors)
        return ChildPolicy(local_selectors, remote_selectors, "granted")

    def configuration_reply(self, sa, request) -> ConfigurationAnswer | None:
        return self.reply


@dataclass
class Peer:
    """An endpoint with its address and what it has reported."""

    name: str
    address: SocketAddress
    policy: Policy
    configuration: IkeConfiguration
    seed: int = 0
    reported: list[tuple[IkeSa, Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.next_spi = 0x1000 * (self.seed + 1)
        self.restart()

    def restart(self) -> None:
        """Begin with a new endpoint that knows nothing."""
        self.endpoint = IkeEndpoint(self.configuration, self.policy, self.random.randbytes, self._spi)

    def configure(self, **changes) -> None:
        self.configuration = replace(self.configuration, **changes)
        self.restart()

    def _spi(self) -> int:
        self.next_spi += 1
        return self.next_spi

    @property
    def identity(self) -> Identity:
        return self.configuration.local_identity

    def collect(self) -> None:
        self.reported += self.endpoint.events()

    def events(self, kind: type) -> list:
        self.collect()
        return [event for _, event in self.reported if isinstance(event, kind)]

    def sas(self) -> list[IkeSa]:
        return list(self.endpoint.sas())


class Network:
    """Carries datagrams between peers, under the test's control of loss and order."""

    def __init__(self, *peers: Peer) -> None:
        self.peers = {peer.address: peer for peer in peers}
        self.now = 100.0
        self.carried: list[Datagram] = []
        self.keep: Callable[[Datagram], bool] = lambda datagram: True

    def gather(self) -> list[Datagram]:
        """Everything the endpoints want to send."""
        gathered = []
        for peer in self.peers.values():
            gathered += peer.endpoint.datagrams_to_send()
            peer.collect()
        return gathered

    def take(self, peer: Peer) -> list[Datagram]:
        """What one peer wants to send, for the test to deliver, to keep back or to lose."""
        datagrams = peer.endpoint.datagrams_to_send()
        peer.collect()
        return datagrams

    def deliver(self, datagram: Datagram) -> None:
        receiver = self.peers.get(datagram.remote._replace(port=IKE_PORT))
        if receiver is not None:
            receiver.endpoint.receive_datagram(datagram.data, datagram.remote, datagram.local, self.now)

    def run(self, rounds: int = 50) -> None:
        """Deliver until nobody has anything to say."""
        for _ in range(rounds):
            datagrams = self.gather()
            if not datagrams:
                return
            for datagram in datagrams:
                self.carried.append(datagram)
                if self.keep(datagram):
                    self.deliver(datagram)
        raise AssertionError("the endpoints never fall silent")

    def advance(self, until: float) -> None:
        """Let time pass, timers and traffic included."""
        while True:
            self.run()
            timers = [peer.endpoint.next_timer() for peer in self.peers.values()]
            due = [at for at in timers if at is not None and at <= until]
            if not due:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, min(due))
            for peer in self.peers.values():
                peer.endpoint.handle_timer(self.now)


@dataclass
class Pair:
    """A home agent (initiator by default) and a mobile node."""

    agent: Peer
    node: Peer
    network: Network

    def request(self, **changes) -> ChildRequest:
        request = ChildRequest(
            (TrafficSelector.host(HOME_AGENT, PROTOCOL_MOBILITY),),
            (TrafficSelector.host(HOME_ADDRESS, PROTOCOL_MOBILITY),),
            "mobility",
        )
        return structs.replace(request, **changes)

    def connect(self, initiator: Peer | None = None, **changes) -> IkeSa:
        initiator = initiator or self.agent
        responder = self.node if initiator is self.agent else self.agent
        arguments = {"remote_identity": responder.identity, "first_child": self.request(), **changes}
        return initiator.endpoint.connect(initiator.address, responder.address, self.network.now, **arguments)

    def established(self, initiator: Peer | None = None, **changes) -> tuple[IkeSa, IkeSa]:
        """Both ends of a new IKE SA: the initiator's and the responder's."""
        initiator = initiator or self.agent
        responder = self.node if initiator is self.agent else self.agent
        sa = self.connect(initiator, **changes)
        self.network.run()
        assert sa.is_established, (self.agent.reported, self.node.reported, self.node.endpoint.statistics)
        other = next(other for other in responder.endpoint.sas() if other.local_spi == sa.remote_spi)
        assert other.is_established
        return sa, other


NEVER_REKEYED = LifetimePolicy(ike_s=0.0, child_s=0.0)
"""So that two endpoints with nothing to do fall silent."""


def make_peer(name: str, address: IPv6Address, seed: int, **changes) -> Peer:
    changes = {"lifetimes": NEVER_REKEYED, **changes}
    configuration = IkeConfiguration(Identity.from_text(name), lambda: WALL_CLOCK, **changes)
    return Peer(name, SocketAddress(address), Policy(), configuration, seed)


@pytest.fixture
def pair() -> Pair:
    agent = make_peer("ha1.example.org", HOME_AGENT, 1)
    node = make_peer("mn1@example.org", CARE_OF, 2)
    return Pair(agent, node, Network(agent, node))


PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass
class Authority:
    """A certification authority."""

    key: PrivateKey
    certificate: x509.Certificate


class Pki:
    """Makes keys and certificates; keys of one kind and name are made once."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], PrivateKey] = {}
        self.root = self.authority("root")

    def key(self, kind: str, name: str = "") -> PrivateKey:
        if (kind, name) not in self._keys:
            makers = {
                "rsa": lambda: rsa.generate_private_key(65537, 2048),
                "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
                "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
                "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
                "ed25519": ed25519.Ed25519PrivateKey.generate,
            }
            self._keys[kind, name] = makers[kind]()
        return self._keys[kind, name]

    def authority(
        self,
        name: str,
        issuer: Authority | None = None,
        *,
        kind: str = "p256",
        ca: bool = True,
        path_length: int | None = None,
        extensions: tuple = (),
        **dates,
    ) -> Authority:
        key = self.key(kind, name)
        extensions = [(x509.BasicConstraints(ca, path_length if ca else None), True), *extensions]
        certificate = self._sign(name, key.public_key(), issuer or Authority(key, None), extensions, **dates)
        return Authority(key, certificate)

    def credentials(
        self,
        names: str | list[str],
        kind: str = "p256",
        issuer: Authority | None = None,
        *,
        intermediates: tuple[x509.Certificate, ...] = (),
        extensions: tuple = (),
        rsa_pss: bool = True,
        **dates,
    ) -> Credentials:
        names = [names] if isinstance(names, str) else names
        key = self.key(kind, names[0] if names else "")
        alternatives = [(x509.SubjectAlternativeName([general_name(name) for name in names]), False)] if names else []
        certificate = self._sign("leaf", key.public_key(), issuer or self.root, [*alternatives, *extensions], **dates)
        return Credentials((certificate, *intermediates), key, rsa_pss)

    def _sign(self, name, public_key, issuer: Authority, extensions, *, starts=-86400.0, ends=86400.0, digest=None):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        start = datetime.datetime.fromtimestamp(WALL_CLOCK + starts, datetime.UTC)
        end = datetime.datetime.fromtimestamp(WALL_CLOCK + ends, datetime.UTC)
        builder = x509.CertificateBuilder(
            issuer.certificate.subject if issuer.certificate is not None else subject,
            subject,
            public_key,
            x509.random_serial_number(),
            start,
            end,
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        is_edwards = isinstance(issuer.key, ed25519.Ed25519PrivateKey)
        return builder.sign(issuer.key, None if is_edwards else (digest or hashes.SHA256()))


def general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.RFC822Name(text) if "@" in text else x509.DNSName(text)


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki()


def match_child(child: ChildSa, twin: ChildSa) -> None:
    """The two are the ends of one: the same keys and selectors in opposite directions."""
    assert (child.inbound_spi, child.outbound_spi) == (twin.outbound_spi, twin.inbound_spi)
    assert child.inbound_encryption_key == twin.outbound_encryption_key
    assert child.outbound_encryption_key == twin.inbound_encryption_key
    assert child.inbound_integrity_key == twin.outbound_integrity_key
    assert child.local_selectors == twin.remote_selectors
    assert child.remote_selectors == twin.local_selectors
    assert child.transport_mode == twin.transport_mode


def match(sa: IkeSa, other: IkeSa) -> None:
    """Both ends have the same children, with the same keys in opposite directions."""
    theirs = {child.outbound_spi: child for child in other.children.values()}
    assert sorted(theirs) == sorted(sa.children)
    for spi, child in sa.children.items():
        match_child(child, theirs[spi])


def current(pair: Pair) -> tuple[IkeSa, IkeSa]:
    """Both ends of the one established IKE SA."""
    (a,) = pair.agent.endpoint.sas_with(pair.node.identity)
    (b,) = pair.node.endpoint.sas_with(pair.agent.identity)
    assert (a.local_spi, a.remote_spi) == (b.remote_spi, b.local_spi)
    return a, b


@pytest.fixture
def assert_match() -> Callable[[IkeSa, IkeSa], None]:
    return match


@pytest.fixture
def next_nonces() -> Callable[[Peer, list[int]], None]:
    """Choose the first bytes of the nonces a peer makes next."""

    def choose(peer: Peer, first_bytes: list[int]) -> None:
        environment = peer.endpoint._environment
        original = environment.random

        def chosen(size: int) -> bytes:
            data = original(size)
            return bytes((first_bytes.pop(0),)) + data[1:] if size == NONCE_SIZE and first_bytes else data

        environment.random = chosen

    return choose
