"""The authentication methods that are compared, and credentials for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from cryptography import x509

from bench.lab.pki import CertificateAuthority, KeyType, PrivateKey, generate_key
from control.ikev2.policy import Credentials

Method = Literal["psk", "ecdsa", "ed25519", "rsa"]
METHODS: tuple[Method, ...] = get_args(Method)

KEY_TYPES: dict[Method, KeyType] = {"ecdsa": "ecdsa-p256", "ed25519": "ed25519", "rsa": "rsa-2048"}
_SHARED_KEY_SIZE = 32


@dataclass(frozen=True, slots=True)
class Trust:
    """What two home agents and their nodes authenticate with.

    Attributes:
        method: psk, or the kind of all keys: authority, home agents and nodes.
        anchors: the authority's certificate; empty for shared keys.
        home_agents: their credentials, None for shared keys.
        nodes: the same for every node. They share one private key, because RSA keys take long to make, but each has
            a certificate of its own.
        shared_keys: by node; None for certificates.
    """

    method: Method
    anchors: tuple[x509.Certificate, ...]
    home_agents: tuple[Credentials | None, ...]
    nodes: tuple[Credentials | None, ...]
    shared_keys: tuple[bytes | None, ...] = field(repr=False)


def make_trust(method: Method, home_agents: tuple[str, ...], nodes: tuple[str, ...]) -> Trust:
    """Credentials for parties of those identities."""
    if method == "psk":
        keys = tuple(number.to_bytes(_SHARED_KEY_SIZE, "big") for number in range(1, len(nodes) + 1))
        return Trust(method, (), (None,) * len(home_agents), (None,) * len(nodes), keys)
    kind = KEY_TYPES[method]
    authority = CertificateAuthority("key exchange bench CA", kind)
    of_home_agents, of_nodes = generate_key(kind), generate_key(kind)
    return Trust(
        method,
        (authority.certificate,),
        _credentials(authority, of_home_agents, home_agents),
        _credentials(authority, of_nodes, nodes),
        (None,) * len(nodes),
    )


def _credentials(
    authority: CertificateAuthority, key: PrivateKey, identities: tuple[str, ...]
) -> tuple[Credentials, ...]:
    return tuple(Credentials((authority.certify(identity, key),), key) for identity in identities)
