"""The arithmetic of MS-CHAP-V2 (RFC 2759 section 8) and of its keys (RFC 3079 section 3)."""

from __future__ import annotations

import hashlib

from Cryptodome.Cipher import DES
from Cryptodome.Hash import MD4

CHALLENGE_SIZE = 16
NT_RESPONSE_SIZE = 24

_SIGNING = b"Magic server to client signing constant"
_ITERATION = b"Pad to make it do more than one iteration"
_MASTER_KEY = b"This is the MPPE Master Key"
_TO_SERVER = b"On the client side, this is the send key; on the server side, it is the receive key."
_TO_CLIENT = b"On the client side, this is the receive key; on the server side, it is the send key."
_PAD_1, _PAD_2 = bytes(40), b"\xf2" * 40
_KEY_SIZE = 16
_MSK_SIZE = 64


def password_hash(password: str) -> bytes:
    """NtPasswordHash: what a user database may keep in place of the password, and as secret as it."""
    return _md4(password.encode("utf-16-le"))


def challenge_hash(peer_challenge: bytes, authenticator_challenge: bytes, user_name: bytes) -> bytes:
    """ChallengeHash: the 8 bytes that the response encrypts. A domain before a backslash does not count."""
    name = user_name.rpartition(b"\\")[2]
    return _sha1(peer_challenge + authenticator_challenge + name)[:8]


def nt_response(challenge: bytes, hashed_password: bytes) -> bytes:
    """ChallengeResponse: the challenge encrypted with DES under three parts of the hashed password."""
    padded = hashed_password.ljust(21, b"\0")
    return b"".join(DES.new(_des_key(padded[at : at + 7]), DES.MODE_ECB).encrypt(challenge) for at in (0, 7, 14))


def authenticator_response(hashed_password: bytes, response: bytes, challenge: bytes) -> str:
    """GenerateAuthenticatorResponse: the proof that the authenticator knows the password too, "S=" included."""
    digest = _sha1(_md4(hashed_password) + response + _SIGNING)
    return "S=" + _sha1(digest + challenge + _ITERATION).hex().upper()


def master_session_key(hashed_password: bytes, response: bytes) -> bytes:
    """The MSK: the key from peer to authenticator, that of the other direction, and zeros to 64 bytes."""
    master = _sha1(_md4(hashed_password) + response + _MASTER_KEY)[:_KEY_SIZE]
    halves = (_sha1(master + _PAD_1 + purpose + _PAD_2)[:_KEY_SIZE] for purpose in (_TO_SERVER, _TO_CLIENT))
    return b"".join(halves).ljust(_MSK_SIZE, b"\0")


def _des_key(seven: bytes) -> bytes:
    """Eight bytes of seven bits each; DES ignores the parity bit."""
    bits = int.from_bytes(seven, "big")
    return bytes((bits >> shift & 0x7F) << 1 for shift in range(49, -1, -7))


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _md4(data: bytes) -> bytes:
    return MD4.new(data).digest()
