"""Whatever a stranger sends: no frame of theirs enters a tunnel that the bindings do not allow, none is read past its
end, and control traffic reaches the kernel untouched."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapath.reasons import Reason, Verdict

pytestmark = pytest.mark.namespaces

quick = settings(max_examples=200, deadline=None)


@pytest.fixture(scope="module", autouse=True)
def _bindings(testbed):
    testbed.reset_bindings()


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ipv6(source: IPv6Address, destination: IPv6Address, next_header: int, payload: bytes, hop_limit: int = 64) -> bytes:
    fixed = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([next_header, hop_limit])
    return fixed + source.packed + destination.packed + payload


def frame(testbed, packet: bytes) -> bytes:
    return mac(testbed.core_mac) + mac(testbed.care_of_mac) + b"\x86\xdd" + packet


def samples(testbed) -> list[bytes]:
    """One well-formed frame of each way through the program."""
    udp = b"\x03\xe8\x07\xd0\x00\x10\0\0" + b"payload!"
    inner = ipv6(testbed.home, testbed.correspondent, 17, udp)
    option = b"\x01\x02\0\0\xc9\x10" + testbed.home.packed
    packets = [
        ipv6(testbed.correspondent, testbed.home, 17, udp),
        ipv6(testbed.correspondent, testbed.home, 17, bytes(1440)),
        ipv6(testbed.correspondent, testbed.home, 17, udp, hop_limit=1),
        ipv6(testbed.care_of, testbed.home_agent, 41, inner),
        ipv6(testbed.care_of, testbed.home_agent, 41, ipv6(testbed.home, testbed.other_home, 17, udp)),
        ipv6(testbed.care_of, testbed.home_agent, 41, ipv6(testbed.home, testbed.home_agent, 58, bytes(8))),
        ipv6(testbed.care_of, testbed.home_agent, 60, bytes([50, 2]) + option + bytes(32)),
        ipv6(testbed.care_of, testbed.home_agent, 17, udp),
    ]
    return [frame(testbed, packet) for packet in packets]


def check(testbed, sent: bytes) -> None:
    """What holds for every frame."""
    outcome = testbed.run(sent, "core")
    came = outcome.frame
    assert (
        outcome.reason.verdict
        is {
            "redirect": Verdict.FORWARD,
            "tx": Verdict.REPLY,
            "pass": Verdict.PASS,
            "drop": Verdict.DROP,
        }[outcome.verdict]
    )
    if outcome.verdict == "redirect":
        assert sent[12:14] == b"\x86\xdd"
        assert not sent[0] & 1
        assert sent[14] >> 4 == 6
        assert len(sent) >= 54 + int.from_bytes(sent[18:20], "big")
    homes = {testbed.home.packed: testbed.care_of.packed, testbed.other_home.packed: testbed.other_care_of.packed}
    agents = (testbed.home_agent.packed, testbed.other_home_agent.packed)
    if outcome.reason is Reason.FORWARD_ENCAPSULATED:
        assert sent[38:54] in homes
        assert came[38:54] == homes[sent[38:54]]
        assert came[22:38] in agents
        length = int.from_bytes(sent[18:20], "big") + 40
        assert int.from_bytes(came[18:20], "big") == length
        assert came[54:61] == sent[14:21]
        assert came[61] == sent[21] - 1
        assert came[62:] == sent[22:]
    if outcome.reason in (Reason.FORWARD_DECAPSULATED, Reason.FORWARD_REENCAPSULATED) or "DECAPSULATED" in (
        outcome.reason.name
    ):
        # The only way out of a tunnel: to this agent, inner source bound, outer source its care-of address.
        assert sent[20] == 41
        assert sent[38:54] in agents
        assert homes[sent[62:78]] == sent[22:38]
        assert int.from_bytes(sent[58:60], "big") + 40 <= int.from_bytes(sent[18:20], "big")
    if outcome.reason is Reason.PASS_HOME_ADDRESS_SWAPPED:
        assert len(came) == len(sent)
        assert sent[54] in (50, 135)
        assert came[38:56] == sent[38:56]
        assert sent[22:38] in came[56:]
    if outcome.verdict == "pass" and "CAPSULATED" not in outcome.reason.name and "SWAPPED" not in outcome.reason.name:
        assert came == sent
    if outcome.verdict == "drop":
        # Control traffic is never dropped: only what is in a tunnel, to a home address, or forged.
        assert sent[38:54] in homes or sent[20] == 41 or outcome.reason is Reason.DROP_FORGED_CARE_OF_ADDRESS


@given(data=st.data())
@quick
def test_truncated_frames(testbed, data):
    whole = data.draw(st.sampled_from(samples(testbed)))
    size = data.draw(st.integers(14, len(whole)))  # the kernel runs nothing on less than an Ethernet header

    check(testbed, whole[:size])

    if size < len(whole):
        assert testbed.run(whole[:size], "core").reason in (Reason.PASS_MALFORMED, Reason.PASS_NOT_IPV6)


@given(data=st.data())
@quick
def test_mutated_frames(testbed, data):
    changed = bytearray(data.draw(st.sampled_from(samples(testbed))))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, min(len(changed), 120) - 1))] = data.draw(st.integers(0, 255))

    check(testbed, bytes(changed))


@given(next_header=st.integers(0, 255), payload=st.binary(max_size=200), hop_limit=st.integers(0, 255))
@quick
def test_anything_to_the_home_agent(testbed, next_header, payload, hop_limit):
    check(testbed, frame(testbed, ipv6(testbed.care_of, testbed.home_agent, next_header, payload, hop_limit)))


@given(options=st.binary(min_size=6, max_size=62), protocol=st.sampled_from([50, 135]), data=st.data())
@quick
def test_any_destination_options(testbed, options, protocol, data):
    options += bytes(-(len(options) + 2) % 8)
    length = data.draw(st.one_of(st.just((len(options) + 2) // 8 - 1), st.integers(0, 255)))
    payload = bytes([protocol, length]) + options + bytes(16)

    check(testbed, frame(testbed, ipv6(testbed.care_of, testbed.home_agent, 60, payload)))


@given(source=st.binary(min_size=16, max_size=16), outer=st.binary(min_size=16, max_size=16), data=st.data())
@quick
def test_no_stranger_gets_out_of_a_tunnel(testbed, source, outer, data):
    known = [testbed.home.packed, testbed.other_home.packed, testbed.care_of.packed, testbed.other_care_of.packed]
    inner_source = IPv6Address(data.draw(st.sampled_from([source, *known])))
    outer_source = IPv6Address(data.draw(st.sampled_from([outer, *known])))
    packet = ipv6(inner_source, testbed.correspondent, 17, bytes(16))

    outcome = testbed.run(frame(testbed, ipv6(outer_source, testbed.home_agent, 41, packet)), "core")

    allowed = {(testbed.home, testbed.care_of), (testbed.other_home, testbed.other_care_of)}
    assert (outcome.reason is Reason.FORWARD_DECAPSULATED) == ((inner_source, outer_source) in allowed)
    assert (outcome.verdict == "drop") == ((inner_source, outer_source) not in allowed)


@given(payload=st.binary(min_size=2, max_size=400))
@quick
def test_random_frames(testbed, payload):
    check(testbed, mac(testbed.core_mac) + mac(testbed.care_of_mac) + payload)
