"""Two IKE endpoints in memory, and messages with contents of the fuzzer's choice under their own keys."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from ipaddress import IPv6Address
from itertools import cycle

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from control.ikev2.address import Datagram, SocketAddress
from control.ikev2.child import ChildPolicy, ChildRequest
from control.ikev2.dh import Curve25519KeyPair, KeyPair, KeyPairPool
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.message import encrypted_prefix
from control.ikev2.numbers import DiffieHellmanGroup, ExchangeType
from control.ikev2.payloads import ConfigurationPayload, Identity
from control.ikev2.policy import ConfigurationAnswer, IkeConfiguration, LifetimePolicy
from control.ikev2.sa import IkeSa
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector

NODE, AGENT = SocketAddress(IPv6Address("2001:db8:c1::2")), SocketAddress(IPv6Address("2001:db8:a1::1"))
HALF_OPEN_LIMIT = 8
MOST_SAS = 64
_NAMES = {NODE: "mn1@example.org", AGENT: "ha1.example.org"}
_ROUNDS = 40


class _Policy:
    def shared_key(self, local: Identity, remote: Identity) -> bytes | None:
        return b"secret"

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        return True

    def eap_authenticator(self, remote: Identity) -> None:
        return None

    def select_child(
        self, sa: IkeSa, local: tuple[TrafficSelector, ...], remote: tuple[TrafficSelector, ...]
    ) -> ChildPolicy | None:
        return ChildPolicy(local, remote)

    def configuration_reply(self, sa: IkeSa, request: ConfigurationPayload) -> ConfigurationAnswer | None:
        return None


@cache
def _key_pairs() -> tuple[Curve25519KeyPair, ...]:
    dice = random.Random(2)
    return tuple(Curve25519KeyPair(X25519PrivateKey.from_private_bytes(dice.randbytes(32))) for _ in range(8))


class _SameKeyPairs(KeyPairPool):
    """Gives the same ones each time: what happens shall depend on nothing but the input."""

    def __init__(self) -> None:
        super().__init__()
        self._endless = cycle(_key_pairs())

    def take(self, group: DiffieHellmanGroup) -> KeyPair:
        return next(self._endless) if group is DiffieHellmanGroup.CURVE25519 else super().take(group)


class IkePair:
    """A node that begins and an agent that answers; what they send is kept until ``run`` delivers it."""

    def __init__(self) -> None:
        self.now = 100.0
        dice = random.Random(1)
        self.endpoints = {
            address: IkeEndpoint(
                IkeConfiguration(
                    Identity.from_text(name),
                    lambda: 1.9e9,
                    lifetimes=LifetimePolicy(ike_s=0.0, child_s=0.0),
                    half_open_limit=HALF_OPEN_LIMIT,
                    follow_redirects=True,
                ),
                _Policy(),
                dice.randbytes,
                lambda: dice.randrange(256, 1 << 32),
            )
            for address, name in _NAMES.items()
        }
        for endpoint in self.endpoints.values():
            endpoint._environment.key_pairs = _SameKeyPairs()
        child = ChildRequest(
            (TrafficSelector.host(NODE.ipv6_address, PROTOCOL_MOBILITY),),
            (TrafficSelector.host(AGENT.ipv6_address, PROTOCOL_MOBILITY),),
        )
        identity = Identity.from_text(_NAMES[AGENT])
        self.sa = self.endpoints[NODE].connect(NODE, AGENT, self.now, first_child=child, remote_identity=identity)

    def step(self) -> list[Datagram]:
        """Deliver what is on its way; what it was."""
        carried = []
        for endpoint in self.endpoints.values():
            endpoint.events()
            carried += endpoint.datagrams_to_send()
        for datagram in carried:
            self.receive(datagram.remote, datagram.data)
        return carried

    def run(self) -> list[Datagram]:
        """Deliver until nobody has anything to say; everything that was said."""
        carried: list[Datagram] = []
        for _ in range(_ROUNDS):
            said = self.step()
            if not said:
                break
            carried += said
        return carried

    def receive(self, receiver: SocketAddress, data: bytes) -> None:
        """Give an endpoint a datagram from the other one's address."""
        endpoint = self.endpoints.get(receiver)
        if endpoint is not None:
            endpoint.receive_datagram(data, receiver, AGENT if receiver == NODE else NODE, self.now)

    def sas(self, address: SocketAddress) -> list[IkeSa]:
        """The IKE SAs of one side."""
        return list(self.endpoints[address].sas())

    def check(self) -> None:
        """Let time pass, and see that nothing has piled up."""
        self.run()
        for _ in range(8):
            self.now += 5.0
            for endpoint in self.endpoints.values():
                endpoint.handle_timer(self.now)
            self.run()
        for endpoint in self.endpoints.values():
            assert len(endpoint) <= MOST_SAS
            assert endpoint.half_open <= HALF_OPEN_LIMIT
            assert all(len(sa.children) <= endpoint.configuration.child_limit for sa in endpoint.sas())


def sealed(sender: IkeSa, exchange: int, is_response: bool, first_type: int, chain: bytes) -> bytes:
    """A message of ``sender`` with any chain of payloads, as authentic as its own ones."""
    assert sender.cipher is not None
    message_id = sender.exchanges.expected_id if is_response else sender.exchanges._next_id
    header = sender.header(exchange, message_id & 0xFFFF_FFFF, is_response=is_response)
    prefix = encrypted_prefix(header, first_type, sender.cipher.body_size(len(chain)))
    return prefix + sender.cipher.seal(chain, prefix)


@cache
def conversation() -> tuple[bytes, ...]:
    """The datagrams of a handshake, a rekeying and an end."""
    pair = IkePair()
    said = pair.run()
    for action in (pair.sa.rekey, pair.sa.probe_liveness, pair.sa.delete):
        if pair.sa.is_established:
            action(pair.now)
            said += pair.run()
    return tuple(datagram.data for datagram in said)


@cache
def opened_chains() -> tuple[tuple[int, int, bytes], ...]:
    """Exchange, first payload type and payloads of what an honest node says under its keys."""
    found: list[tuple[int, int, bytes]] = []
    pair = IkePair()
    _listen(pair, found.append)
    pair.run()
    pair.sa.create_child(ChildRequest(*_anything()), pair.now)
    pair.run()
    pair.sa.rekey_child(next(iter(pair.sa.children)), pair.now)
    pair.run()
    pair.sa.rekey(pair.now)
    pair.run()
    return tuple(found)


def _anything() -> tuple[tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]]:
    both = (TrafficSelector.host(NODE.ipv6_address), TrafficSelector.host(AGENT.ipv6_address))
    return both[:1], both[1:]


def _listen(pair: IkePair, note: Callable[[tuple[int, int, bytes]], None]) -> None:
    """Note the plaintext of whatever the pair's first SA opens."""
    from control.ikev2 import reception

    original = reception.parse_payloads

    def parse(first_type: int, chain: bytes) -> object:
        note((ExchangeType.CREATE_CHILD_SA, first_type, chain))
        return original(first_type, chain)

    pair_run = pair.run

    def run() -> list[Datagram]:
        reception.parse_payloads = parse  # type: ignore[assignment]
        try:
            return pair_run()
        finally:
            reception.parse_payloads = original

    pair.run = run  # type: ignore[method-assign]
