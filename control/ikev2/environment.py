"""What all security associations of an endpoint share: configuration, policy, indexes, output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

from control.ikev2.address import Datagram, SocketAddress
from control.ikev2.authentication import SUPPORTED_HASHES
from control.ikev2.certificates import CertificateValidator
from control.ikev2.cipher import KeptStates
from control.ikev2.cookies import CookieJar
from control.ikev2.dh import KeyPairPool
from control.ikev2.events import Event
from control.ikev2.fragmentation import FragmentMemory
from control.ikev2.half_open import HalfOpenSas
from control.ikev2.lifetimes import next_deadline
from control.ikev2.message import ZERO_SPI
from control.ikev2.numbers import CertificateEncoding, NotifyType
from control.ikev2.offers import EspOffer, IkeOffer
from control.ikev2.payloads import (
    CertificatePayload,
    CertificateRequestPayload,
    EncodedPayload,
    IdentificationInitiator,
    Identity,
    NotifyPayload,
    encoded,
)
from control.ikev2.policy import CertificateMaterial, IkeConfiguration, PeerPolicy
from control.ikev2.rate_limit import TokenBucket
from control.ikev2.timers import TimerHeap

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

_IKE_SPI_SIZE = 8
_SEED_SIZE = 16
_KEPT_STATES = 128  # twice as many as there are messages in a turn of the home agent


class Environment:
    """Shared by the endpoint, its security associations and their exchanges.

    Attributes:
        configuration: settings.
        retransmission: the configuration's.
        policy: what the application decides.
        random: source of random bytes.
        fraction: a random number from 0 to less than 1, to spread points of time; not fit for secrets.
        allocate_spi: source of SPIs for inbound ESP.
        key_pairs: key pairs made in idle time.
        certificates: checks peers' certificates.
        cookies: makes and checks cookies for strangers.
        kept_states: bounds what ciphers keep from message to message.
        stranger_replies: limits unprotected error replies.
        statistics: counters by slug.
        timers: deadlines of all SAs.
        fragment_memory: bounds what strangers' incomplete messages take.
        by_spi: every SA by the SPI this side chose.
        half_open: SAs of strangers that are not established yet.
        by_peer: established SAs by authenticated identity of the peer.
        due: SAs that have a request to begin, and since when.
        outbox: datagrams to send.
        event_queue: events not yet fetched.
    """

    def __init__(
        self,
        configuration: IkeConfiguration,
        policy: PeerPolicy,
        random: Callable[[int], bytes],
        allocate_spi: Callable[[], int],
        certificates: CertificateValidator | None,
    ) -> None:
        self.configuration = configuration
        self.retransmission = configuration.retransmission
        self.policy = policy
        self.random = random
        self.fraction = Random(random(_SEED_SIZE)).random
        self.allocate_spi = allocate_spi
        self.key_pairs = KeyPairPool()
        if certificates is None:
            certificates = CertificateValidator(
                configuration.trust_anchors, configuration.wall_clock, revocation=configuration.revocation
            )
        self.certificates = certificates
        self.cookies = CookieJar(random)
        self.kept_states = KeptStates(_KEPT_STATES)
        self.stranger_replies = TokenBucket(configuration.stranger_replies_per_s)
        self.statistics: Counter[str] = Counter()
        self.timers: TimerHeap[IkeSa] = TimerHeap(next_deadline)
        self.fragment_memory = FragmentMemory(configuration.fragment_memory)
        self.by_spi: dict[bytes, IkeSa] = {}
        self.half_open = HalfOpenSas(configuration.half_open_limit, configuration.cookie_threshold)
        self.by_peer: dict[Identity, list[IkeSa]] = {}
        self.due: list[tuple[IkeSa, float]] = []
        self.outbox: list[Datagram] = []
        self.event_queue: list[tuple[IkeSa, Event]] = []
        self._encode_what_never_changes()
        self._encode_certificates()

    def use_certificates(self, material: CertificateMaterial) -> None:
        """Use other certificates from the next proof on; established SAs are not concerned."""
        credentials, trust_anchors = material.credentials, material.trust_anchors
        self.configuration = replace(self.configuration, credentials=credentials, trust_anchors=trust_anchors)
        self.certificates.trust(trust_anchors)
        self._encode_certificates()

    def _encode_what_never_changes(self) -> None:
        configuration = self.configuration
        self.ike_offer = IkeOffer(configuration.ike_proposals)
        self.esp_offer = EspOffer(configuration.esp_proposals)
        self.identification = encoded(IdentificationInitiator(configuration.local_identity))
        self.signature_hashes = encoded(NotifyPayload.signature_hash_algorithms(SUPPORTED_HASHES))
        self.fragmentation_supported: tuple[EncodedPayload, ...] = ()
        if configuration.fragment_size:
            self.fragmentation_supported = (encoded(NotifyPayload(NotifyType.FRAGMENTATION_SUPPORTED)),)

    def _encode_certificates(self) -> None:
        credentials = self.configuration.credentials
        x509 = CertificateEncoding.X509_SIGNATURE
        self.certificate_request: tuple[EncodedPayload, ...] = ()
        if self.certificates.key_hashes:
            self.certificate_request = (encoded(CertificateRequestPayload(x509, self.certificates.key_hashes)),)
        self.certificate_payloads: tuple[EncodedPayload, ...] = ()
        if credentials is not None:
            self.certificate_payloads = tuple(
                encoded(CertificatePayload(x509, certificate.public_bytes(Encoding.DER)))
                for certificate in credentials.certificates
            )

    def new_ike_spi(self) -> bytes:
        """An SPI for an IKE SA that none of this side has."""
        while True:
            spi = self.configuration.shape_spi(self.random(_IKE_SPI_SIZE))
            if spi != ZERO_SPI and spi not in self.by_spi:
                return spi

    def enlist(self, sa: IkeSa, peer: Identity) -> None:
        """``sa`` is an established SA with ``peer``."""
        self.by_peer.setdefault(peer, []).append(sa)

    def replace(self, old: IkeSa, new: IkeSa) -> None:
        """``new`` is an established SA with the peer of ``old`` in the place of that."""
        if old.remote_identity is not None:
            self.by_peer[old.remote_identity] = [new if sa is old else sa for sa in self.by_peer[old.remote_identity]]

    def delist(self, sa: IkeSa) -> None:
        """``sa`` is not established any more, if it was."""
        peer = sa.remote_identity
        peers = self.by_peer.get(peer) if peer is not None else None
        if peer is None or peers is None or sa not in peers:
            return
        peers.remove(sa)
        if not peers:
            del self.by_peer[peer]

    def send(self, data: bytes, local: SocketAddress, remote: SocketAddress) -> None:
        """Queue a datagram."""
        self.outbox.append(Datagram(data, local, remote))

    def emit(self, sa: IkeSa, event: Event) -> None:
        """Queue an event."""
        self.event_queue.append((sa, event))

    def count(self, slug: str) -> None:
        """Add one to a counter."""
        self.statistics[slug] += 1
