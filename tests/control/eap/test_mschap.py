"""MS-CHAP-V2 against the example of RFC 2759 section 9.2 and its keys against RFC 3079 section 3.5.3."""

from __future__ import annotations

from control.eap import mschap

USER, PASSWORD = b"User", "clientPass"
AUTHENTICATOR_CHALLENGE = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER_CHALLENGE = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
CHALLENGE = bytes.fromhex("D02E4386BCE91226")
PASSWORD_HASH = bytes.fromhex("44EBBA8D5312B8D611474411F56989AE")
NT_RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")


def test_the_challenge() -> None:
    assert mschap.challenge_hash(PEER_CHALLENGE, AUTHENTICATOR_CHALLENGE, USER) == CHALLENGE
    assert mschap.challenge_hash(PEER_CHALLENGE, AUTHENTICATOR_CHALLENGE, b"DOMAIN\\User") == CHALLENGE


def test_the_password_hash() -> None:
    assert mschap.password_hash(PASSWORD) == PASSWORD_HASH


def test_the_response() -> None:
    assert mschap.nt_response(CHALLENGE, PASSWORD_HASH) == NT_RESPONSE


def test_the_authenticators_proof() -> None:
    proof = mschap.authenticator_response(PASSWORD_HASH, NT_RESPONSE, CHALLENGE)
    assert proof == "S=407A5589115FD0D6209F510FE9C04566932CDA56"


def test_the_key() -> None:
    # SendStartKey128 of the server, which goes to the client, as the RFC gives it.
    msk = mschap.master_session_key(PASSWORD_HASH, NT_RESPONSE)
    assert msk[16:32] == bytes.fromhex("8B7CDC149B993A1BA118CB153F56DCCB")
    assert (len(msk), msk[32:]) == (64, bytes(32))
