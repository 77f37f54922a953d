"""Whatever a stranger sends: every truncation and mutation of every frame the program parses, judged by an oracle.

The oracle knows the one right outcome of a frame, byte for byte. So no frame enters a tunnel that the bindings do not
allow, none is read past its end, no inner source is believed from a wrong care-of address, and what is for the control
plane reaches it, untouched but for the Home Address option, unless limits say otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datapath.bindings import IPv4CareOfAddress
from datapath.bpf_syscall import Map, possible_processors, program_test_run
from datapath.layout import pin_directory
from datapath.mobile_networks import MobileNetworkMap
from datapath.reasons import Reason
from datapath.stranger_limits import StrangerLimits
from tests.datapath import frames, oracle
from tests.datapath.conftest import Testbed, loaded_testbed, run

pytestmark = pytest.mark.namespaces

VERDICTS = ("aborted", "drop", "pass", "tx", "redirect")
NETWORK = IPv6Network("2001:db8:700::/56")
PLACES = 134
"""Bytes at the beginning of a frame that are changed one by one: headers, options, and what they quote."""
HEADERS = 62
PLENTY = 1 << 40
IPV4_MACS = {frames.IPV4_CARE_OF: "02:00:00:00:04:05", frames.NAT: "02:00:00:00:04:06"}
FEW = StrangerLimits(1.0, 2.0, 1.0, 2.0)

quick = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Judged:
    """Runs frames and has the oracle judge what becomes of them; ICMPv6 errors are not limited."""

    def __init__(self, bed: Testbed, site: oracle.Site, path_mtus: Map) -> None:
        self.site = site
        self._bed = bed
        self._path_mtus = path_mtus
        self._counters = bed.counters.read()

    def __call__(self, sent: bytes) -> Reason:
        """The reason, which was right."""
        result = program_test_run(self._bed.program, sent, interface=self._bed.index["core"])
        before, self._counters = self._counters, self._bed.counters.read()
        counted = [reason for reason in Reason if self._counters[reason] != before[reason]]
        assert len(counted) == 1, f"{counted}: {sent.hex()}"
        assert self._counters[counted[0]] == before[counted[0]] + 1
        oracle.check(self.site, sent, VERDICTS[result.verdict], counted[0], result.frame)
        if counted[0] in (Reason.PASS_TUNNEL_ERROR_RELAYED, Reason.DROP_TUNNEL_ERROR):
            for address in list(self._path_mtus.keys()):
                self._path_mtus.delete(address)
        return counted[0]


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def site_of(bed: Testbed, *, everything: bool) -> oracle.Site:
    bindings = {
        home.packed: oracle.Bound(home.packed, care_of.packed, agent.packed, mac(next_hop))
        for home, care_of, agent, next_hop in (
            (bed.home, bed.care_of, bed.home_agent, bed.care_of_mac),
            (bed.other_home, bed.other_care_of, bed.other_home_agent, bed.other_care_of_mac),
        )
    }
    if everything:
        ends = oracle.Ipv4End(frames.IPV4_CARE_OF.packed, frames.IPV4_HOME_AGENT.packed)
        behind_nat = oracle.Ipv4End(frames.NAT.packed, frames.IPV4_HOME_AGENT.packed, frames.NAT_PORT)
        bindings[frames.IPV4_HOME.packed] = oracle.Bound(
            frames.IPV4_HOME.packed, ends, bed.home_agent.packed, mac(IPV4_MACS[frames.IPV4_CARE_OF])
        )
        bindings[frames.NAT_HOME.packed] = oracle.Bound(
            frames.NAT_HOME.packed, behind_nat, bed.home_agent.packed, mac(IPV4_MACS[frames.NAT])
        )
    return oracle.Site(
        home_agents=frozenset((bed.home_agent.packed, bed.other_home_agent.packed)),
        bindings=bindings,
        interface=mac(bed.core_mac),
        neighbours={bed.correspondent.packed: mac(bed.correspondent_mac) + mac(bed.correspondent_side_mac)},
        networks={NETWORK: bed.home.packed} if everything else None,
        ipv4_addresses=frozenset((frames.IPV4_HOME_AGENT.packed,)) if everything else frozenset(),
        limited=everything,
    )


def add_ipv4(bed: Testbed) -> None:
    run(f"ip addr add {frames.IPV4_HOME_AGENT}/24 dev core")
    Path("/proc/sys/net/ipv4/conf/all/forwarding").write_text("1")
    for address, link_address in IPV4_MACS.items():
        run(f"ip neigh add {address} dev core lladdr {link_address} nud permanent")
    end = IPv4CareOfAddress(frames.IPV4_CARE_OF, frames.IPV4_HOME_AGENT)
    bed.bindings.install(frames.IPV4_HOME, end, bed.home_agent)
    end = IPv4CareOfAddress(frames.NAT, frames.IPV4_HOME_AGENT, frames.NAT_PORT)
    bed.bindings.install(frames.NAT_HOME, end, bed.home_agent)


@pytest.fixture(scope="module", params=["plain", "everything"])
def judged(request: pytest.FixtureRequest) -> Iterator[Judged]:
    """A data path without what some home agents do not need, and one with all of it."""
    everything = request.param == "everything"
    with loaded_testbed(
        mobile_networks=everything,
        stranger_limits=FEW if everything else None,
        ipv4_addresses=[frames.IPV4_HOME_AGENT] if everything else [],
    ) as bed:
        if everything:
            add_ipv4(bed)
            with closing(MobileNetworkMap.open(bed.pin_path)) as networks:
                networks.reconcile({bed.home: ([NETWORK], bed.bindings.slot(bed.home))})
        directory = pin_directory(bed.pin_path)
        with Map.open(directory / "path_mtus") as path_mtus, Map.open(directory / "error_budget") as budget:
            a_day_from_now = time.monotonic_ns() + 86_400_000_000_000
            share = a_day_from_now.to_bytes(8, "little") + PLENTY.to_bytes(8, "little")
            budget.update(bytes(4), share * possible_processors())
            yield Judged(bed, site_of(bed, everything=everything), path_mtus)


@pytest.fixture(params=frames.CORPUS)
def sample(request: pytest.FixtureRequest) -> frames.Sample:
    return frames.CORPUS[request.param]


def test_what_the_corpus_says_becomes_of_a_frame(judged, sample):
    reason = judged(sample.frame)

    if judged.site.networks is None:
        assert reason is sample.reason
    elif sample.with_everything is not None:
        assert reason is sample.with_everything


def test_the_corpus_goes_every_way():
    samples = frames.CORPUS.values()
    covered = {reason for sample in samples for reason in (sample.reason, sample.with_everything) if reason is not None}
    elsewhere = {
        reason for reason in Reason if any(word in reason.name for word in ELSEWHERE) or reason in NOT_FROM_THE_CORE
    }
    assert covered.isdisjoint(elsewhere)
    assert set(Reason) == covered | elsewhere


ELSEWHERE = ("HOME_LINK", "ADVERTISEMENT", "AT_HOME", "ROUTING_HEADER", "RATE_LIMITED", "IKE_COOKIE", "VLAN")
"""Of the home link's program, hosts on home links, frames with tags, and limits, which have tests of their own."""
NOT_FROM_THE_CORE = {
    # Of routes and next hops: test_program_encapsulation.py, test_program_decapsulation.py.
    Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR,
    Reason.PASS_ENCAPSULATED_SLOW_PATH,
    Reason.PASS_DECAPSULATED_NO_NEIGHBOUR,
    Reason.DROP_NO_ROUTE,
    Reason.DROP_FORWARDING_DISABLED,
    Reason.DROP_LINK_MTU_TOO_SMALL,
    Reason.DROP_NO_ROOM,
    Reason.PASS_ENCAPSULATED_TO_FRAGMENT,
}


def test_every_truncation(judged, sample):
    whole = sample.frame
    for size in [*range(14, min(len(whole), PLACES)), *range(PLACES, len(whole), 61)]:
        reason = judged(whole[:size])
        if whole[12:14] == b"\x86\xdd" and not whole[0] & 1:
            assert reason is Reason.PASS_MALFORMED


def test_every_shorter_packet(judged, sample):
    """Whole as far as the IPv6 header can tell: it is what is inside that is cut short."""
    whole = sample.frame
    for size in [*range(54, min(len(whole), PLACES)), *range(PLACES, len(whole), 61)]:
        judged(whole[:18] + (size - 54).to_bytes(2, "big") + whole[20:size])


def test_every_byte_changed(judged, sample):
    for changed in oracle.mutations(sample.frame, PLACES):
        judged(changed)


def test_every_byte_of_the_header_has_every_value(judged):
    whole = frames.CORPUS["home-address-and-esp"].frame
    for at in range(HEADERS):
        for value in range(256):
            judged(whole[:at] + bytes([value]) + whole[at + 1 :])


SAMPLES = st.sampled_from([sample.frame for sample in frames.CORPUS.values()])


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


def to_agent(payload: bytes, next_header: int, source: bytes = frames.CARE_OF.packed, hop_limit: int = 64) -> bytes:
    header = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([next_header, hop_limit])
    link = mac(frames.CORE_MAC) + mac(frames.NODE_MAC) + b"\x86\xdd"
    return link + header + source + frames.HOME_AGENT.packed + payload


@given(next_header=st.integers(0, 255), payload=st.binary(max_size=200), hop_limit=st.integers(0, 255))
@quick
def test_anything_to_the_home_agent(judged, next_header, payload, hop_limit):
    judged(to_agent(payload, next_header, hop_limit=hop_limit))


@given(options=st.binary(min_size=6, max_size=62), protocol=st.sampled_from([17, 44, 50, 51, 58, 135]), data=st.data())
@quick
def test_any_destination_options(judged, options, protocol, data):
    options += bytes(-(len(options) + 2) % 8)
    length = data.draw(st.one_of(st.just((len(options) + 2) // 8 - 1), st.integers(0, 255)))

    judged(to_agent(bytes([protocol, length]) + options + bytes(16), 60))


KINDS = st.sampled_from([0, 1, 5, 0x1E, 0xC9])
ADDRESSES = st.one_of(
    st.sampled_from([frames.HOME, frames.OTHER_HOME, frames.UNBOUND_HOME, frames.CARE_OF, frames.HOME_AGENT]).map(
        lambda address: address.packed
    ),
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


@given(chain=HEADER_CHAIN, upper=st.sampled_from([17, 50, 58, 135, 59]), offset=st.integers(0, 16), data=st.data())
@quick
def test_extension_headers_in_any_order(judged, chain, upper, offset, data):
    whole = frames.CORPUS[{17: "ike", 135: "mobility-header"}.get(upper, "esp")].frame[54:]
    payload, following = whole, upper
    for kind in reversed(chain):
        rest = offset.to_bytes(2, "big") + bytes(4) if kind == 44 else b"\1\4" + bytes(4)
        payload, following = bytes([following, 0]) + rest + payload, kind
    cut = data.draw(st.one_of(st.just(len(payload)), st.integers(0, len(payload))))

    judged(to_agent(payload[:cut], following))


@given(inner=ADDRESSES, outer=ADDRESSES, destination=ADDRESSES)
@quick
def test_no_stranger_gets_out_of_a_tunnel(judged, inner, outer, destination):
    header = b"\x60\0\0\0\0\x10\x11\x40" + inner + destination

    judged(to_agent(header + bytes(16), 41, outer))
