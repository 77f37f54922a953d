"""Keys of security associations in the form Wireshark reads, to look into captures while hunting a fault.

Whoever holds such a line reads and forges the traffic of the association: the export is off unless asked for, and the
file is for its owner's eyes only. This module returns text; writing it down is the caller's.
"""

from __future__ import annotations

from ipaddress import IPv6Address

from control.ipsec.algorithms import EncryptionAlgorithm, IntegrityAlgorithm
from control.ipsec.security_association import SecurityAssociation

_ENCRYPTION_NAMES = {
    EncryptionAlgorithm.NULL: "NULL",
    EncryptionAlgorithm.AES_CBC: "AES-CBC [RFC3602]",
    EncryptionAlgorithm.AES_GCM_16: "AES-GCM with 16 octet ICV [RFC4106]",
}
_INTEGRITY_NAMES = {
    IntegrityAlgorithm.NONE: "NULL",
    IntegrityAlgorithm.HMAC_SHA2_256_128: "HMAC-SHA-256-128 [RFC4868]",
    IntegrityAlgorithm.HMAC_SHA2_384_192: "HMAC-SHA-384-192 [RFC4868]",
    IntegrityAlgorithm.HMAC_SHA2_512_256: "HMAC-SHA-512-256 [RFC4868]",
}

DECRYPTABLE = frozenset(_ENCRYPTION_NAMES)
"""What Wireshark (4.0 to date) decrypts; an association with another algorithm has no line."""


def wireshark_esp_sa(
    security_association: SecurityAssociation,
    source: IPv6Address | None = None,
    destination: IPv6Address | None = None,
) -> str:
    """One line of Wireshark's ``esp_sa`` table, without a line end.

    Args:
        security_association: whose keys to give away.
        source: the address in the IPv6 header on the wire. Between a home agent and its node that is a care-of
            address on the node's side, which changes; None, any address, leaves the SPI to tell associations apart.
        destination: likewise.
    """
    sa = security_association
    fields = (
        "IPv6",
        str(source) if source else "*",
        str(destination) if destination else "*",
        f"0x{sa.spi:08x}",
        _ENCRYPTION_NAMES[sa.suite.encryption],
        _key(sa.encryption_key),
        _INTEGRITY_NAMES[sa.suite.integrity],
        _key(sa.integrity_key),
    )
    return ",".join(f'"{field}"' for field in fields)


def _key(key: bytes) -> str:
    return f"0x{key.hex()}" if key else ""
