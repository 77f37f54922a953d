"""Proposals as text, in the words of swanctl.conf: ``aes128gcm16-prfsha256-x25519``, ``aes256-sha256-modp2048``.

Words of one kind are alternatives, the earlier preferred: ``aes256gcm16-aes128gcm16-prfsha384-x25519-ecp256``.
What RFC 8247 and RFC 8221 advise against has no word here: 3DES, SHA-1, MD5, groups below 2048 bits.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

from control.ikev2.numbers import DiffieHellmanGroup, Prf
from control.ikev2.proposals import Encryption, EspProposal, IkeProposal
from control.ipsec.algorithms import COMBINED_MODE, EncryptionAlgorithm, IntegrityAlgorithm

_T = TypeVar("_T")

_ENCRYPTION: Mapping[str, Encryption] = {
    **{f"aes{bits}": (EncryptionAlgorithm.AES_CBC, bits) for bits in (128, 192, 256)},
    **{f"aes{bits}gcm16": (EncryptionAlgorithm.AES_GCM_16, bits) for bits in (128, 192, 256)},
    "chacha20poly1305": (EncryptionAlgorithm.CHACHA20_POLY1305, 0),
}
_INTEGRITY: Mapping[str, IntegrityAlgorithm] = {
    "sha256": IntegrityAlgorithm.HMAC_SHA2_256_128,
    "sha384": IntegrityAlgorithm.HMAC_SHA2_384_192,
    "sha512": IntegrityAlgorithm.HMAC_SHA2_512_256,
}
_PRFS: Mapping[str, Prf] = {
    "prfsha256": Prf.HMAC_SHA2_256,
    "prfsha384": Prf.HMAC_SHA2_384,
    "prfsha512": Prf.HMAC_SHA2_512,
}
_GROUPS: Mapping[str, DiffieHellmanGroup] = {
    "x25519": DiffieHellmanGroup.CURVE25519,
    "curve25519": DiffieHellmanGroup.CURVE25519,
    "ecp256": DiffieHellmanGroup.ECP256,
    "ecp384": DiffieHellmanGroup.ECP384,
    "ecp521": DiffieHellmanGroup.ECP521,
    "modp2048": DiffieHellmanGroup.MODP2048,
    "modp3072": DiffieHellmanGroup.MODP3072,
    "modp4096": DiffieHellmanGroup.MODP4096,
}
_LARGEST = 255


def parse_ike_proposal(text: str) -> IkeProposal:
    """A proposal for IKE SAs.

    Without a word for the pseudorandom function, those of the integrity algorithms' hashes are taken.

    Raises:
        ValueError: with what is wrong, for the operator.
    """
    words = _Words(text, (_ENCRYPTION, _INTEGRITY, _PRFS, _GROUPS))
    encryption, integrity = words.cipher()
    prfs = words.of(_PRFS) or tuple(_PRFS[f"prf{word}"] for word in words.words if word in _INTEGRITY)
    if not prfs:
        raise ValueError("no pseudorandom function, such as prfsha256")
    groups = words.of(_GROUPS)
    if not groups:
        raise ValueError("no Diffie-Hellman group, such as x25519")
    return IkeProposal(encryption, integrity, prfs, groups)


def parse_esp_proposal(text: str) -> EspProposal:
    """A proposal for child SAs; groups in it are for perfect forward secrecy.

    Raises:
        ValueError: with what is wrong, for the operator.
    """
    words = _Words(text, (_ENCRYPTION, _INTEGRITY, _GROUPS))
    encryption, integrity = words.cipher()
    return EspProposal(encryption, integrity, words.of(_GROUPS))


class _Words:
    """The words of a proposal, each known and standing there once."""

    def __init__(self, text: str, vocabularies: tuple[Mapping[str, object], ...]) -> None:
        if len(text) > _LARGEST:
            raise ValueError(f"longer than {_LARGEST} characters")
        self.words = text.split("-")
        known = [word for vocabulary in vocabularies for word in vocabulary]
        for word in self.words:
            if word not in known:
                near = difflib.get_close_matches(word, known, n=1)
                raise ValueError(f'"{word}" is no algorithm that belongs here' + (f", {near[0]} is" if near else ""))
        if len(set(self.words)) < len(self.words):
            raise ValueError("an algorithm is named twice")

    def of(self, vocabulary: Mapping[str, _T]) -> tuple[_T, ...]:
        """What the words of one kind mean, in their order."""
        return tuple(dict.fromkeys(vocabulary[word] for word in self.words if word in vocabulary))

    def cipher(self) -> tuple[tuple[Encryption, ...], tuple[IntegrityAlgorithm, ...]]:
        """Encryption algorithms and the integrity algorithms they need."""
        encryption, integrity = self.of(_ENCRYPTION), self.of(_INTEGRITY)
        combined = [algorithm in COMBINED_MODE for algorithm, _ in encryption]
        if not encryption:
            raise ValueError("no encryption algorithm, such as aes128gcm16")
        if all(combined) and integrity:
            raise ValueError("its encryption algorithms authenticate by themselves: leave the integrity algorithm out")
        if any(combined) and not all(combined):
            raise ValueError(
                "encryption algorithms that authenticate by themselves beside others: make it two proposals"
            )
        if not any(combined) and not integrity:
            raise ValueError("no integrity algorithm, such as sha256")
        return encryption, integrity
