"""Keys of IKE SAs as rows of Wireshark's ``ikev2_decryption_table``."""

from __future__ import annotations

from control.ikev2.keys import IkeKeys
from control.ikev2.proposals import IkeSuite
from control.ipsec.algorithms import EncryptionAlgorithm, IntegrityAlgorithm

_INTEGRITY_NAMES = {
    IntegrityAlgorithm.NONE: "NONE [RFC4306]",
    IntegrityAlgorithm.HMAC_SHA2_256_128: "HMAC_SHA2_256_128 [RFC4868]",
    IntegrityAlgorithm.HMAC_SHA2_384_192: "HMAC_SHA2_384_192 [RFC4868]",
    IntegrityAlgorithm.HMAC_SHA2_512_256: "HMAC_SHA2_512_256 [RFC4868]",
}

DECRYPTABLE = frozenset((EncryptionAlgorithm.AES_CBC, EncryptionAlgorithm.AES_GCM_16))
"""What Wireshark (4.0 to date) decrypts in IKE messages; keys of other algorithms are of no use to it."""


def log_row(
    initiator_spi: bytes, responder_spi: bytes, suite: IkeSuite, keys: IkeKeys
) -> tuple[str, str, str, str, str, str, str, str]:
    """One row: SPIs, SK_ei, SK_er, encryption name, SK_ai, SK_ar, integrity name, all but the names hexadecimal."""
    bits = suite.cipher.key_bits
    if suite.cipher.encryption is EncryptionAlgorithm.AES_GCM_16:
        encryption = f"AES-GCM-{bits} with 16 octet ICV [RFC5282]"
    else:
        encryption = f"AES-CBC-{bits} [RFC3602]"
    return (
        initiator_spi.hex(),
        responder_spi.hex(),
        keys.sk_ei.hex(),
        keys.sk_er.hex(),
        encryption,
        keys.sk_ai.hex(),
        keys.sk_ar.hex(),
        _INTEGRITY_NAMES[suite.cipher.integrity],
    )


def wireshark_line(*row: str) -> str:
    """The row as a line of the file ``ikev2_decryption_table`` in a Wireshark profile, without its newline.

    Also the value of ``tshark -o uat:ikev2_decryption_table:…``. Hexadecimal fields stand bare, names in quotes.
    """
    initiator_spi, responder_spi, sk_ei, sk_er, encryption, sk_ai, sk_ar, integrity = row
    return f'{initiator_spi},{responder_spi},{sk_ei},{sk_er},"{encryption}",{sk_ai},{sk_ar},"{integrity}"'
