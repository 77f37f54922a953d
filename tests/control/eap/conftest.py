"""Authenticators and peers that talk in memory."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from control.eap.authenticator import EapFailure, EapRequest, EapSuccess, LocalAuthenticator
from control.eap.md5 import Md5Peer, Md5Server
from control.eap.method import MethodSuccess
from control.eap.mschapv2 import MsChapV2Peer, MsChapV2Server
from control.eap.packet import EapError, EapType
from control.eap.peer import EapPeer

NAME = "mn1@example.org"


def servers(password: str, *kinds: EapType, seed: int = 1) -> LocalAuthenticator:
    randomness = random.Random(seed)
    makers = {
        EapType.MD5_CHALLENGE: lambda: Md5Server(password.encode(), randomness.randbytes, "ha1"),
        EapType.MSCHAPV2: lambda: MsChapV2Server(NAME, password, randomness.randbytes, "ha1"),
    }
    return LocalAuthenticator([makers[kind] for kind in kinds], 254)


def peers(password: str, *kinds: EapType, name: str = NAME, seed: int = 2) -> EapPeer:
    randomness = random.Random(seed)
    makers = {
        EapType.MD5_CHALLENGE: lambda: Md5Peer(password.encode(), name),
        EapType.MSCHAPV2: lambda: MsChapV2Peer(name, password, randomness.randbytes),
    }
    return EapPeer(name, {kind: makers[kind] for kind in kinds})


def talk(authenticator: LocalAuthenticator, peer: EapPeer) -> tuple[EapSuccess | EapFailure, MethodSuccess | str]:
    """What both sides make of each other in the end."""
    packet = authenticator.begin()
    for _ in range(100):
        try:
            response = peer.receive(packet)
        except EapError as error:
            return EapFailure(b"", "peer gave up"), error.reason
        assert isinstance(response, bytes)
        outcome = authenticator.receive(response)
        packet = outcome.packet
        if not isinstance(outcome, EapRequest):
            try:
                return outcome, peer.receive(packet)
            except EapError as error:
                return outcome, error.reason
    raise AssertionError("they never come to an end")


@pytest.fixture
def make_authenticator() -> Callable[..., LocalAuthenticator]:
    return servers


@pytest.fixture
def make_peer() -> Callable[..., EapPeer]:
    return peers


@pytest.fixture
def converse() -> Callable[..., tuple]:
    return talk
