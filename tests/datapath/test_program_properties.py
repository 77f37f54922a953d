"""Whatever a stranger sends: every truncation and mutation of every frame the program parses, judged by an oracle.

The oracle knows the one right outcome of a frame, byte for byte. So no frame enters a tunnel that the bindings do not
allow, none is read past its end, no inner source is believed from a wrong care-of address, and what is for the control
plane reaches it, untouched but for the Home Address option, unless limits say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.packet_rates.corpus import CORPUS, Sample, addresses
from datapath.reasons import Reason
from tests.datapath.expected.judge import mended, mutations
from tests.datapath.judged import SITES, Judged, judged_at, mac

pytestmark = pytest.mark.namespaces

PLACES = 134
"""Bytes at the beginning of a frame that are changed one by one: headers, options, and what they quote."""
HEADERS = 62

quick = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module", params=SITES)
def judged(request: pytest.FixtureRequest) -> Iterator[Judged]:
    """A data path without what some home agents do not need, and two that have all of it between them."""
    with judged_at(request.param) as running:
        yield running


def wanted(judged: Judged, sample: Sample) -> Reason | None:
    """What becomes of the sample there, None if that is not certain."""
    if judged.name == "networks":
        return sample.with_networks
    return sample.reason if judged.name == "plain" or sample.with_links is None else sample.with_links


def test_what_the_corpus_says_becomes_of_a_frame(judged):
    became = {name: judged(sample.frame) for name, sample in CORPUS.items()}

    expected = {name: wanted(judged, sample) for name, sample in CORPUS.items()}
    assert became == {name: became[name] if reason is None else reason for name, reason in expected.items()}


def test_the_corpus_goes_every_way():
    covered = {
        reason
        for sample in CORPUS.values()
        for reason in (sample.reason, sample.with_networks, sample.with_links)
        if reason is not None
    }
    elsewhere = {
        reason for reason in Reason if any(word in reason.name for word in ELSEWHERE) or reason in NOT_FROM_THE_CORE
    }
    assert covered.isdisjoint(elsewhere)
    assert set(Reason) == covered | elsewhere


ELSEWHERE = ("HOME_LINK", "AT_HOME", "ROUTING_HEADER", "RATE_LIMITED", "IKE_COOKIE")
"""Of the home link's program, and limits, which have tests of their own."""
NOT_FROM_THE_CORE = {
    # Of routes and next hops: test_program_encapsulation.py, test_program_decapsulation.py.
    Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR,
    Reason.PASS_ENCAPSULATED_SLOW_PATH,
    Reason.PASS_DECAPSULATED_NO_NEIGHBOUR,
    Reason.DROP_NO_ROUTE,
    Reason.DROP_FORWARDING_DISABLED,
    # Of ways that are narrow: test_fragments.py.
    Reason.FORWARD_IN_FRAGMENTS,
    Reason.DROP_FRAGMENTATION,
    Reason.DROP_LINK_MTU_TOO_SMALL,
    Reason.DROP_NO_ROOM,
    Reason.PASS_ENCAPSULATED_TO_FRAGMENT,
}


def sizes(whole: bytes, least: int) -> list[int]:
    return [*range(least, min(len(whole), PLACES)), *range(PLACES, len(whole), 61)]


def test_every_truncation(judged):
    for sample in CORPUS.values():
        whole = sample.frame
        for size in sizes(whole, 14):
            reason = judged(whole[:size])
            if whole[12:14] == b"\x86\xdd" and not whole[0] & 1:
                assert reason is Reason.PASS_MALFORMED


def test_every_shorter_packet(judged):
    """Whole as far as the IP header can tell: it is what is inside that is cut short."""
    for sample in CORPUS.values():
        for size in sizes(sample.frame, 54):
            judged(mended(shortened(sample.frame, size)))


def shortened(whole: bytes, size: int) -> bytes:
    at = 18 if whole[12:14] == b"\x81\0" else 14
    header, rest = whole[:at], whole[at:size]
    if whole[at - 2 : at] == b"\x08\0":
        return header + rest[:2] + len(rest).to_bytes(2, "big") + rest[4:]
    return header + rest[:4] + max(len(rest) - 40, 0).to_bytes(2, "big") + rest[6:]


FOREIGN = {"plain": (b"\x08\0", b"\x81\0"), "networks": (b"\x81\0",), "links": (b"\x08\0",)}
"""What a program does not look into."""


def test_every_byte_changed(judged):
    """As it is, and where a checksum tells of it, with the checksum that is right for it."""
    for sample in CORPUS.values():
        if sample.frame[12:14] in FOREIGN[judged.name]:
            continue
        for changed in mutations(sample.frame, PLACES):
            judged(changed)
            if (right := mended(changed)) != changed:
                judged(right)


def test_every_byte_of_the_header_has_every_fourth_value(judged):
    whole = CORPUS["home-address-and-esp"].frame
    for at in range(HEADERS):
        for value in range(at % 4, 256, 4):
            judged(whole[:at] + bytes([value]) + whole[at + 1 :])


SAMPLES = st.sampled_from([sample.frame for sample in CORPUS.values()])


@given(whole=SAMPLES, data=st.data())
@quick
def test_several_bytes_changed(judged, whole, data):
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(2, 6))):
        changed[data.draw(st.integers(0, min(len(changed), PLACES) - 1))] = data.draw(st.integers(0, 255))

    judged(bytes(changed))


@given(first=SAMPLES, second=SAMPLES, cut=st.sampled_from([14, 18, 20, 22, 38, 54, 58, 60, 62, 78, 94, 102]))
@quick
def test_the_beginning_of_one_frame_and_the_end_of_another(judged, first, second, cut):
    judged(first[:cut] + second[cut:])
    length = max(len(second) - 54, 0).to_bytes(2, "big")
    judged((first[:18] + length + first[20:cut] if cut >= 20 else first[:cut]) + second[cut:])


WITHOUT_LINKS = pytest.mark.parametrize("judged", ["plain", "networks"], indirect=True)
"""Of what is behind the tags, and no solicitation: the same program text."""


def to_agent(payload: bytes, next_header: int, source: bytes = addresses.CARE_OF.packed, hop_limit: int = 64) -> bytes:
    header = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([next_header, hop_limit])
    link = mac(addresses.CORE_MAC) + mac(addresses.NODE_MAC) + b"\x86\xdd"
    return link + header + source + addresses.HOME_AGENT.packed + payload


@WITHOUT_LINKS
@given(next_header=st.integers(0, 255), payload=st.binary(max_size=200), hop_limit=st.integers(0, 255))
@quick
def test_anything_to_the_home_agent(judged, next_header, payload, hop_limit):
    judged(to_agent(payload, next_header, hop_limit=hop_limit))


@WITHOUT_LINKS
@given(options=st.binary(min_size=6, max_size=62), protocol=st.sampled_from([17, 44, 50, 51, 58, 135]), data=st.data())
@quick
def test_any_destination_options(judged, options, protocol, data):
    options += bytes(-(len(options) + 2) % 8)
    length = data.draw(st.one_of(st.just((len(options) + 2) // 8 - 1), st.integers(0, 255)))

    judged(to_agent(bytes([protocol, length]) + options + bytes(16), 60))


KINDS = st.sampled_from([0, 1, 5, 0x1E, 0xC9])
ADDRESSES = st.one_of(
    st.sampled_from(
        [addresses.HOME, addresses.OTHER_HOME, addresses.UNBOUND_HOME, addresses.CARE_OF, addresses.HOME_AGENT]
    ).map(lambda address: address.packed),
    st.sampled_from(["::", "::1", "fe80::1", "ff02::1", "2001:db8:700:12::7"]).map(
        lambda text: IPv6Address(text).packed
    ),
    st.binary(min_size=16, max_size=16),
)


@st.composite
def option(draw: st.DrawFn) -> bytes:
    kind = draw(KINDS)
    if kind == 0:
        return b"\0"
    if kind in (0x1E, 0xC9) and draw(st.integers(0, 9)):
        return bytes([kind, 16]) + draw(ADDRESSES)
    value = draw(st.binary(max_size=20))
    return bytes([kind, len(value)]) + value


@WITHOUT_LINKS
@given(
    options=st.lists(option(), max_size=10),
    protocol=st.sampled_from([17, 41, 44, 50, 51, 58, 59, 135]),
    upper=st.binary(max_size=60),
    source=ADDRESSES,
)
@quick
def test_options_one_after_another(judged, options, protocol, upper, source):
    content = b"".join(options)
    content += bytes(-(len(content) + 2) % 8)

    judged(to_agent(bytes([protocol, (len(content) + 2) // 8 - 1]) + content + upper, 60, source))


HEADER_CHAIN = st.lists(st.sampled_from([0, 43, 44, 60]), max_size=6)


@WITHOUT_LINKS
@given(chain=HEADER_CHAIN, upper=st.sampled_from([17, 50, 58, 135, 59]), offset=st.integers(0, 16), data=st.data())
@quick
def test_extension_headers_in_any_order(judged, chain, upper, offset, data):
    whole = CORPUS[{17: "ike", 135: "mobility-header"}.get(upper, "esp")].frame[54:]
    payload, following = whole, upper
    for kind in reversed(chain):
        rest = offset.to_bytes(2, "big") + bytes(4) if kind == 44 else b"\1\4" + bytes(4)
        payload, following = bytes([following, 0]) + rest + payload, kind
    cut = data.draw(st.one_of(st.just(len(payload)), st.integers(0, len(payload))))

    judged(to_agent(payload[:cut], following))


@WITHOUT_LINKS
@given(inner=ADDRESSES, outer=ADDRESSES, destination=ADDRESSES)
@quick
def test_no_stranger_gets_out_of_a_tunnel(judged, inner, outer, destination):
    header = b"\x60\0\0\0\0\x10\x11\x40" + inner + destination

    judged(to_agent(header + bytes(16), 41, outer))
