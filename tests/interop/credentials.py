"""Certificates for both sides, and connections of strongSwan that use them or a shared key."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from bench.lab.ike_peers import OUR_NAME, OURS, SHARED_KEY, THEIR_NAME, THEIRS, Peers, Policy
from bench.lab.pki import CertificateAuthority, IssuedCertificate
from control.ikev2.policy import Credentials

SHARED = "shared key"
KEY_TYPES = {
    "ECDSA P-256": "ecdsa-p256",
    "ECDSA P-384": "ecdsa-p384",
    "RSA": "rsa-2048",
    "Ed25519": "ed25519",
}
AUTHENTICATIONS = (SHARED, *KEY_TYPES)


@dataclass(frozen=True)
class Certified:
    """Both sides' certificates.

    Attributes:
        authorities: PEM by name; the first is the trust anchor, the others are between it and the certificates.
        ours: of our side.
        theirs: of strongSwan.
    """

    authorities: dict[str, bytes]
    ours: IssuedCertificate
    theirs: IssuedCertificate

    def settings(self) -> dict[str, Any]:
        """Of our side's IkeConfiguration."""
        anchor, *between = self.authorities.values()
        chain = tuple(load_pem_x509_certificate(pem) for pem in (self.ours.certificate_pem, *reversed(between)))
        key: Any = load_pem_private_key(self.ours.private_key_pem, None)
        return {"credentials": Credentials(chain, key), "trust_anchors": (load_pem_x509_certificate(anchor),)}


@functools.cache
def certified(key_type: str, intermediates: int = 0) -> Certified:
    """Certificates of one type of key all the way, made once."""
    kind: Any = KEY_TYPES[key_type]
    authority = CertificateAuthority("root", kind)
    authorities = {"root": authority.certificate_pem}
    for number in range(intermediates):
        authority = CertificateAuthority(f"between {number}", kind, authority)
        authorities[f"between{number}"] = authority.certificate_pem
    return Certified(authorities, authority.issue(OUR_NAME, kind), authority.issue(THEIR_NAME, kind))


def connections(
    authentication: str, child: str = "mode = transport", *, local: str = "", settings: str = "", secrets: str = ""
) -> str:
    """A swanctl.conf with the connection ``ha`` and its child ``mh``.

    Args:
        authentication: one of AUTHENTICATIONS.
        child: settings of the child.
        local: more of strongSwan's own authentication.
        settings: more of the connection.
        secrets: more secrets.
    """
    kind = "psk" if authentication == SHARED else "pubkey"
    certs = "" if authentication == SHARED else "certs = node.pem"
    return f"""
connections {{
  ha {{
    local_addrs = {THEIRS}
    remote_addrs = {OURS}
    proposals = aes128gcm16-prfsha256-x25519
    {settings}
    local {{
      auth = {kind}
      id = {THEIR_NAME}
      {certs}
      {local}
    }}
    remote {{
      auth = {kind}
      id = {OUR_NAME}
    }}
    children {{
      mh {{
        esp_proposals = aes128gcm16
        {child}
      }}
    }}
  }}
}}
secrets {{
  ike {{
    id = {OUR_NAME}
    secret = {SHARED_KEY.decode()}
  }}
  {secrets}
}}
"""


def prepare(
    peers: Peers, authentication: str, text: str | None = None, intermediates: int = 0, **settings: Any
) -> None:
    """Both sides ready to authenticate each other, our endpoint a new one.

    Args:
        peers: the two.
        authentication: one of AUTHENTICATIONS.
        text: of swanctl.conf, None for the plain one.
        intermediates: how many authorities there are between root and certificates.
        settings: more of our IkeConfiguration.
    """
    text = text or connections(authentication)
    if authentication == SHARED:
        peers.renew(**settings)
        peers.charon.load(text)
        return
    made = certified(authentication, intermediates)
    peers.renew(Policy(None), **made.settings(), **settings)
    peers.charon.load(
        text,
        certificates={"node": made.theirs.certificate_pem},
        authorities=made.authorities,
        private_keys={"node": made.theirs.private_key_pem},
    )
