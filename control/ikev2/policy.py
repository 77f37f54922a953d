"""What the application decides: the configuration of an endpoint and the policy towards its peers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import Certificate

from control.eap.authenticator import EapAuthenticator
from control.ikev2.address import IpAddress, is_usable
from control.ikev2.child import ChildPolicy
from control.ikev2.nat import NatTraversal
from control.ikev2.numbers import NotifyType
from control.ikev2.payloads.configuration import ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ikev2.proposals import DEFAULT_ESP_PROPOSALS, DEFAULT_IKE_PROPOSALS, EspProposal, IkeProposal
from control.ikev2.redirect import Redirection
from control.ikev2.revocation import RevocationLists
from control.ipsec.traffic_selector import TrafficSelector

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

HALF_OPEN_LIMIT = 16384
STRANGER_REPLIES_PER_S = 20.0
FRAGMENT_MEMORY = 16 << 20

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

KeyLog = Callable[[str, str, str, str, str, str, str, str], None]
"""Called once per IKE SA with what a row of Wireshark's ``ikev2_decryption_table`` holds: initiator SPI, responder SPI,
SK_ei, SK_er (hexadecimal), encryption name, SK_ai, SK_ar (hexadecimal), integrity name."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The certificate this side authenticates with.

    Attributes:
        certificates: the chain, this side's own first; trust anchors need not be in it.
        private_key: RSA (2048 bits or more), ECDSA on P-256 or P-384, or Ed25519.
        rsa_pss: sign with RSASSA-PSS (RFC 8247 section 3.2) rather than PKCS #1 v1.5 where the peer takes RFC 7427.
    """

    certificates: tuple[Certificate, ...]
    private_key: PrivateKey = field(repr=False)
    rsa_pss: bool = True


@dataclass(frozen=True, slots=True)
class CertificateMaterial:
    """What certificates authenticate with, and what is exchanged when they are renewed.

    Attributes:
        credentials: this side's certificate, None if it has only shared keys.
        trust_anchors: certificates that peers' chains must end at.
    """

    credentials: Credentials | None = None
    trust_anchors: tuple[Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class RetransmissionPolicy:
    """When a request is repeated and when the peer counts as dead (RFC 7296 section 2.1).

    Attributes:
        initial_s: seconds until the first repetition.
        base: factor from one waiting time to the next.
        tries: how often the request is sent in all; after the last one's waiting time it fails.
        jitter: largest share by which a waiting time is lengthened at random, so that thousands of exchanges begun
            together do not stay in step.
    """

    initial_s: float = 0.5
    base: float = 1.8
    tries: int = 7
    jitter: float = 0.2

    @property
    def patience_s(self) -> float:
        """Seconds from the first sending of a request to its failure, at most."""
        return sum(self.initial_s * self.base**number for number in range(self.tries)) * (1 + self.jitter)


@dataclass(frozen=True, slots=True)
class LifetimePolicy:
    """How long keys are used (RFC 7296 section 2.8). Nothing of it is negotiated: each side has its own.

    Attributes:
        ike_s: seconds after which this side rekeys an IKE SA, 0 for never.
        child_s: seconds after which this side rekeys a child SA, 0 for never.
        jitter: largest share by which these times are shortened at random, so that the two sides do not rekey at the
            same time, nor thousands of SAs that were made together.
        overtime: share of the time by which an SA that could not be rekeyed is used longer; then the IKE SA is closed.
        retry_s: seconds until a request is tried again that the peer could not fulfil for the moment; lengthened at
            random up to the double (section 2.25).
        refused_retry_s: the same for rekeying that the peer refused for another reason.
        out_of_sync_s: seconds of temporary failures alone after which the IKE SA is closed.
    """

    ike_s: float = 4 * 3600.0
    child_s: float = 3600.0
    jitter: float = 0.2
    overtime: float = 0.1
    retry_s: float = 5.0
    refused_retry_s: float = 60.0
    out_of_sync_s: float = 300.0


@dataclass(frozen=True, slots=True)
class IkeConfiguration:
    """What all security associations of an endpoint share.

    Attributes:
        local_identity: who this side is.
        wall_clock: seconds since the epoch, for the validity of certificates.
        credentials: this side's certificate, None if it has only shared keys.
        trust_anchors: certificates that peers' chains must end at.
        revocation: lists of revoked certificates, None to take no notice of revocation.
        ike_proposals: algorithms for IKE SAs, most preferred first.
        esp_proposals: algorithms for child SAs, most preferred first.
        retransmission: timing of requests.
        lifetimes: when IKE SAs and child SAs are rekeyed.
        cookie_threshold: from this many half-open SAs on, strangers must return a cookie; those of one network earlier.
        half_open_limit: most half-open SAs of strangers; further ones are dropped, as are those of a network that has
            more than its share (see ``half_open.py``).
        half_open_lifetime_s: seconds a peer has from its IKE_SA_INIT to a complete IKE_AUTH.
        linger_s: seconds an ended SA stays to repeat its last answer to a retransmission.
        child_limit: most child SAs of one IKE SA.
        stranger_replies_per_s: most unprotected error replies per second (RFC 7296 section 2.21.4).
        liveness_interval_s: an established IKE SA that has been silent for this long, and up to a quarter longer, is
            probed (RFC 7296 section 2.4): a peer that does not answer ends it. 0: never by itself.
        fragment_size: most bytes of an IKE message towards a peer that takes fragments (RFC 7383); larger ones are
            divided. The default keeps IPv6 packets within 1280 bytes, UDP encapsulation included. 0: no fragments are
            sent or taken.
        fragment_memory: most bytes kept of incomplete messages of strangers.
        nat_traversal: whether NATs on the way are looked for.
        nat_keepalive_s: a side behind a NAT that has been silent for this long shows the NAT that its mapping is in use
            (RFC 3948 section 4). 0: never.
        mobike: whether the side that began an IKE SA may move it (RFC 4555).
        accepts_address: whether a peer may move its end of an IKE SA there.
        redirection: sends peers that can be redirected to another gateway (RFC 5685); None serves everybody.
        follow_redirects: whether this side, as initiator, says that it can be redirected.
        shape_spi: makes one of this endpoint's IKE SPIs of 8 random bytes, where several endpoints share an address.
        key_log: told the keys of every IKE SA, for Wireshark; None in production.
    """

    local_identity: Identity
    wall_clock: Callable[[], float]
    credentials: Credentials | None = None
    trust_anchors: tuple[Certificate, ...] = ()
    revocation: RevocationLists | None = None
    ike_proposals: tuple[IkeProposal, ...] = DEFAULT_IKE_PROPOSALS
    esp_proposals: tuple[EspProposal, ...] = DEFAULT_ESP_PROPOSALS
    retransmission: RetransmissionPolicy = RetransmissionPolicy()
    lifetimes: LifetimePolicy = LifetimePolicy()
    cookie_threshold: int = 256
    half_open_limit: int = HALF_OPEN_LIMIT
    half_open_lifetime_s: float = 30.0
    linger_s: float = 10.0
    child_limit: int = 64
    stranger_replies_per_s: float = STRANGER_REPLIES_PER_S
    liveness_interval_s: float = 0.0
    fragment_size: int = 1228
    fragment_memory: int = FRAGMENT_MEMORY
    nat_traversal: NatTraversal = NatTraversal.AUTO
    nat_keepalive_s: float = 20.0
    mobike: bool = False
    accepts_address: Callable[[IpAddress], bool] = is_usable
    redirection: Redirection | None = None
    follow_redirects: bool = False
    shape_spi: Callable[[bytes], bytes] = bytes
    key_log: KeyLog | None = field(default=None, repr=False)

    @property
    def certificates(self) -> CertificateMaterial:
        """What certificates authenticate with."""
        return CertificateMaterial(self.credentials, self.trust_anchors)


@dataclass(frozen=True, slots=True)
class ConfigurationAnswer:
    """What comes of a CFG_REQUEST in the peer's IKE_AUTH.

    Attributes:
        reply: the CFG_REPLY, None for none.
        notify: a notification to go with it. INTERNAL_ADDRESS_FAILURE keeps the first child SA from being made
            (RFC 7296 section 3.15.4); None for none.
    """

    reply: ConfigurationPayload | None
    notify: NotifyType | None = None


class PeerPolicy(Protocol):
    """Asked by the engine while it answers; every method returns at once."""

    def shared_key(self, local: Identity, remote: Identity) -> bytes | None:
        """The key shared with ``remote``; None means that both sides use certificates."""
        ...

    def accept_peer(self, remote: Identity, as_initiator: bool) -> bool:
        """Whether to talk to ``remote`` at all.

        Called before the peer's proof is checked, to spare the work: ``remote`` is only claimed then.

        Args:
            remote: the identity the peer claims.
            as_initiator: whether this side began.
        """
        ...

    def eap_authenticator(self, remote: Identity) -> EapAuthenticator | None:
        """What authenticates a peer that wants to use EAP, None if ``remote`` may not.

        Called instead of accept_peer when the peer has begun and its first IKE_AUTH request holds no proof. A peer that
        is to use EAP is refused by accept_peer.
        """
        ...

    def select_child(
        self,
        sa: IkeSa,
        local_selectors: tuple[TrafficSelector, ...],
        remote_selectors: tuple[TrafficSelector, ...],
    ) -> ChildPolicy | None:
        """What to grant of a child SA the peer asks for; None answers TS_UNACCEPTABLE.

        Args:
            sa: the IKE SA; ``sa.remote_identity`` is authenticated, ``sa.peer_configuration`` holds its CP payload.
            local_selectors: traffic of this side as proposed by the peer.
            remote_selectors: traffic of the peer as proposed by it.
        """
        ...

    def configuration_reply(self, sa: IkeSa, request: ConfigurationPayload) -> ConfigurationAnswer | None:
        """The answer to a CFG_REQUEST in the peer's IKE_AUTH, None for no CP payload in the answer."""
        ...
