"""The keys of IKE SAs and of their children (RFC 7296 sections 2.14 and 2.17)."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import ClassVar

from control.ikev2.numbers import Prf
from control.ikev2.prf import prf, prf_plus, prf_size
from control.ikev2.proposals import IkeSuite
from control.ipsec.algorithms import CipherSuite
from control.records import Record


class IkeKeys(Record, frozen=True):
    """The seven secrets of an IKE SA; ``i`` keys protect what the original initiator sends."""

    hidden_fields: ClassVar[frozenset[str]] = frozenset({"sk_d", "sk_ai", "sk_ar", "sk_ei", "sk_er", "sk_pi", "sk_pr"})

    sk_d: bytes
    sk_ai: bytes
    sk_ar: bytes
    sk_ei: bytes
    sk_er: bytes
    sk_pi: bytes
    sk_pr: bytes

    @classmethod
    def derive(
        cls, suite: IkeSuite, shared_secret: bytes, initiator_nonce: bytes, responder_nonce: bytes, spis: bytes
    ) -> IkeKeys:
        """The keys that follow from IKE_SA_INIT.

        Args:
            suite: the negotiated algorithms.
            shared_secret: g^ir.
            initiator_nonce: Ni.
            responder_nonce: Nr.
            spis: SPIi | SPIr.
        """
        nonces = initiator_nonce + responder_nonce
        return cls._expand(suite, prf(suite.prf, nonces, shared_secret), nonces + spis)

    @classmethod
    def rederive(
        cls,
        suite: IkeSuite,
        old: tuple[Prf, bytes],
        shared_secret: bytes,
        initiator_nonce: bytes,
        responder_nonce: bytes,
        spis: bytes,
    ) -> IkeKeys:
        """The keys that follow from rekeying an IKE SA (RFC 7296 section 2.18).

        Args:
            suite: the new SA's algorithms.
            old: the function and the SK_d of the SA that is rekeyed.
            shared_secret: g^ir of the rekeying exchange.
            initiator_nonce: Ni of that exchange.
            responder_nonce: Nr of that exchange.
            spis: the new SA's SPIi | SPIr.
        """
        old_prf, old_sk_d = old
        nonces = initiator_nonce + responder_nonce
        return cls._expand(suite, prf(old_prf, old_sk_d, shared_secret + nonces), nonces + spis)

    @classmethod
    def _expand(cls, suite: IkeSuite, skeyseed: bytes, label: bytes) -> IkeKeys:
        prf_key, integrity_key = prf_size(suite.prf), suite.cipher.integrity_key_size
        encryption_key = suite.cipher.encryption_key_size
        layout = _layout(prf_key, integrity_key, integrity_key, encryption_key, encryption_key, prf_key, prf_key)
        return cls(*layout.unpack(prf_plus(suite.prf, skeyseed, label, layout.size)))


def child_keys(prf: Prf, sk_d: bytes, cipher: CipherSuite, seed: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """The keys of a child SA: of encryption and integrity, of what the exchange's initiator sends and of the answers.

    Args:
        prf: the IKE SA's function.
        sk_d: the IKE SA's key for deriving others.
        cipher: the child's algorithms.
        seed: of the exchange that makes the child: g^ir, if there was a key exchange, Ni and Nr.
    """
    encryption_key, integrity_key = cipher.encryption_key_size, cipher.integrity_key_size
    layout = _layout(encryption_key, integrity_key, encryption_key, integrity_key)
    encryption_i, integrity_i, encryption_r, integrity_r = layout.unpack(prf_plus(prf, sk_d, seed, layout.size))
    return encryption_i, integrity_i, encryption_r, integrity_r


@lru_cache(maxsize=128)
def _layout(*sizes: int) -> Struct:
    """Keys of those sizes one after the other."""
    return Struct("".join(f"{size}s" for size in sizes))
