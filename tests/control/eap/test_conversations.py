"""An authenticator and a peer: success, refusal, negotiation of the method, and nonsense from either side."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.eap.authenticator import MAX_ROUNDS, EapFailure, EapSuccess
from control.eap.method import MethodSuccess
from control.eap.packet import EapCode, EapError, EapPacket, EapType

MD5, MSCHAPV2 = EapType.MD5_CHALLENGE, EapType.MSCHAPV2
REASONS = {
    "malformed-eap",
    "malformed-eap-md5",
    "malformed-mschapv2",
    "unexpected-eap-code",
    "unexpected-eap-type",
    "unexpected-eap-request",
    "unexpected-mschapv2-operation",
    "wrong-eap-identifier",
    "wrong-eap-identity",
    "wrong-password",
    "no-common-eap-method",
    "authenticator-knows-no-password",
    "premature-eap-success",
    "eap-failure",
}


@pytest.mark.parametrize(("kind", "key_size"), [(MD5, 0), (MSCHAPV2, 64)])
def test_the_right_password_succeeds_and_both_have_the_same_key(
    make_authenticator, make_peer, converse, kind, key_size
) -> None:
    outcome, result = converse(make_authenticator("secret", kind), make_peer("secret", kind))
    assert isinstance(outcome, EapSuccess)
    assert isinstance(result, MethodSuccess)
    assert outcome.msk == result.msk
    assert len(outcome.msk) == key_size


@pytest.mark.parametrize("kind", [MD5, MSCHAPV2])
def test_a_wrong_password_fails(make_authenticator, make_peer, converse, kind) -> None:
    outcome, result = converse(make_authenticator("secret", kind), make_peer("guess", kind))
    assert (outcome.reason, result) == ("wrong-password", "eap-failure")


def test_the_user_name_has_to_be_the_one_expected(make_authenticator, make_peer, converse) -> None:
    peer = make_peer("secret", MSCHAPV2, name="mn2@example.org")
    outcome, _ = converse(make_authenticator("secret", MSCHAPV2), peer)
    assert outcome.reason == "wrong-eap-identity"


def test_an_authenticator_without_the_password_is_found_out(make_authenticator, make_peer) -> None:
    authenticator, peer = make_authenticator("secret", MSCHAPV2), make_peer("secret", MSCHAPV2)
    success = bytearray(authenticator.receive(peer.receive(authenticator.begin())).packet)
    success[12] ^= 1
    with pytest.raises(EapError, match="authenticator-knows-no-password"):
        peer.receive(bytes(success))


def test_a_peer_that_wants_another_method_gets_it(make_authenticator, make_peer, converse) -> None:
    outcome, _ = converse(make_authenticator("secret", MSCHAPV2, MD5), make_peer("secret", MD5))
    assert isinstance(outcome, EapSuccess)
    assert outcome.msk == b""


def test_without_a_common_method_it_ends(make_authenticator, make_peer, converse) -> None:
    outcome, result = converse(make_authenticator("secret", MD5), make_peer("secret", MSCHAPV2))
    assert (outcome.reason, result) == ("no-common-eap-method", "eap-failure")


def test_methods_are_not_declined_for_ever(make_authenticator) -> None:
    authenticator = make_authenticator("secret", MSCHAPV2, MD5)
    packet = authenticator.begin()
    for wanted in (MD5, MSCHAPV2):
        outcome = authenticator.receive(EapPacket(EapCode.RESPONSE, packet[1], EapType.NAK, bytes((wanted,))).to_wire())
        packet = outcome.packet
    assert outcome.reason == "no-common-eap-method"


def test_a_method_once_begun_is_not_left(make_authenticator, make_peer) -> None:
    authenticator, peer = make_authenticator("secret", MSCHAPV2, MD5), make_peer("secret", MSCHAPV2, MD5)
    request = authenticator.receive(peer.receive(authenticator.begin())).packet
    decline = EapPacket(EapCode.RESPONSE, request[1], EapType.NAK, bytes((MD5,))).to_wire()
    assert authenticator.receive(decline).reason == "unexpected-eap-type"
    other = EapPacket(EapCode.REQUEST, 9, MD5, b"\x10" + bytes(16)).to_wire()
    with pytest.raises(EapError, match="unexpected-eap-type"):
        peer.receive(other)


def test_success_before_the_end_is_not_believed(make_peer) -> None:
    with pytest.raises(EapError, match="premature-eap-success"):
        make_peer("secret", MD5).receive(EapPacket(EapCode.SUCCESS, 1).to_wire())


def test_nothing_comes_after_the_end(make_authenticator) -> None:
    authenticator = make_authenticator("secret", MD5)
    authenticator.begin()
    assert isinstance(authenticator.receive(b""), EapFailure)
    assert authenticator.receive(b"").reason == "eap-over"


def test_an_authenticator_that_never_ends_is_left(make_peer) -> None:
    peer = make_peer("secret", MD5)
    question = EapPacket(EapCode.REQUEST, 1, EapType.IDENTITY).to_wire()
    for _ in range(MAX_ROUNDS):
        assert EapPacket.from_wire(peer.receive(question)).data == b"mn1@example.org"
    with pytest.raises(EapError, match="too-many-eap-rounds"):
        peer.receive(question)


def test_a_notification_is_acknowledged(make_peer) -> None:
    response = make_peer("secret", MD5).receive(EapPacket(EapCode.REQUEST, 7, EapType.NOTIFICATION, b"hello").to_wire())
    assert EapPacket.from_wire(response) == EapPacket(EapCode.RESPONSE, 7, EapType.NOTIFICATION)


def reason_or(receive, packet: bytes) -> object:
    try:
        return receive(packet)
    except EapError as error:
        return error.reason


MUTATION = st.one_of(
    st.binary(max_size=80).map(lambda data: lambda packet: data),
    st.integers(0, 200).map(lambda size: lambda packet: packet[:size]),
    st.tuples(st.integers(0, 200), st.integers(1, 255)).map(
        lambda change: (
            lambda packet: bytes(
                byte ^ change[1] if at == change[0] % max(1, len(packet)) else byte for at, byte in enumerate(packet)
            )
        )
    ),
    st.binary(min_size=1, max_size=8).map(
        lambda more: lambda packet: packet[:2] + (len(packet) + len(more)).to_bytes(2, "big") + packet[4:] + more
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # they only make things
@given(st.sampled_from([MD5, MSCHAPV2]), st.integers(0, 5), MUTATION)
def test_changed_packets_end_in_typed_errors(make_authenticator, make_peer, kind, when, mutate) -> None:
    authenticator, peer = make_authenticator("secret", kind), make_peer("secret", kind)
    packet = authenticator.begin()
    for step in range(20):
        to_peer = step % 2 == 0
        if step == when:
            packet = mutate(packet)
        if to_peer:
            answer = reason_or(peer.receive, packet)
            if not isinstance(answer, bytes):
                assert isinstance(answer, MethodSuccess) or answer in REASONS
                return
            packet = answer
        else:
            outcome = authenticator.receive(packet)
            if isinstance(outcome, EapFailure):
                assert outcome.reason in REASONS
                return
            packet = outcome.packet
    raise AssertionError("they never come to an end")


@pytest.mark.parametrize("secret_in", ["authenticator", "peer"])
def test_secrets_are_not_shown(make_authenticator, make_peer, converse, secret_in) -> None:
    outcome, result = converse(make_authenticator("secret", MSCHAPV2), make_peer("secret", MSCHAPV2))
    shown = repr(outcome) if secret_in == "authenticator" else repr(result)
    assert str(outcome.msk[:8])[2:-1] not in shown
