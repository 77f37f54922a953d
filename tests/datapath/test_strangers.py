"""Limits of what strangers may send: who passes, who is asked for a cookie, who is dropped, what the answers are."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from scapy.contrib.ikev2 import IKEv2, IKEv2_Notify
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    HAO,
    MIP6MH_BU,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from datapath.bpf_syscall import Map, program_test_run
from datapath.layout import pin_directory
from datapath.reasons import Reason
from datapath.show import show
from datapath.stranger_limits import StrangerLimits, cookie_key
from tests.datapath.conftest import Outcome, Testbed, loaded_testbed

pytestmark = pytest.mark.namespaces

BURST = 3
SLOW = BURST / 3600
"""A rate that gives a token in twenty minutes, none during a test."""
FAST = 100_000.0
_sites = itertools.count(1)


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """Few requests of one network, any number of all."""
    limits = StrangerLimits(SLOW, FAST, SLOW, FAST, burst_s=3600)
    with loaded_testbed(stranger_limits=limits) as bed:
        yield bed


@pytest.fixture
def crowded() -> Iterator[Testbed]:
    """Few requests of networks that nothing was heard of lately."""
    limits = StrangerLimits(FAST, SLOW, FAST, SLOW, burst_s=3600)
    with loaded_testbed(stranger_limits=limits) as bed:
        yield bed


def site() -> int:
    """First address of a /48 of its own."""
    return int(IPv6Address("2001:db8::")) + (0x8000 + next(_sites) << 80)


def somewhere() -> IPv6Address:
    return IPv6Address(site() + 1)


def ike(spi: bytes = b"initiate", cookie: bytes | None = None, **fields: object) -> bytes:
    """An IKE_SA_INIT request as far as the program looks at it, and the rest of its usual length."""
    notify = b"" if cookie is None else b"\x21\0" + (8 + len(cookie)).to_bytes(2, "big") + b"\0\0\x40\x06" + cookie
    header = {"init_SPI": spi, "next_payload": 33 if cookie is None else 41, "exch_type": 34, "flags": 8} | fields
    return bytes(IKEv2(**header, length=28 + len(notify) + 200)) + notify + bytes(200)


def request(
    bed: Testbed,
    source: IPv6Address,
    message: bytes | None = None,
    *before: Packet,
    port: int = 500,
    from_port: int = 500,
) -> bytes:
    message = (b"" if port == 500 else bytes(4)) + (ike() if message is None else message)
    packet: Packet = IPv6(src=str(source), dst=str(bed.home_agent), hlim=60)
    for header in before:
        packet /= header
    return bytes(
        Ether(src=bed.care_of_mac, dst=bed.core_mac) / packet / UDP(sport=from_port, dport=port) / Raw(message)
    )


def send(bed: Testbed, frame: bytes) -> Outcome:
    """What becomes of a frame; what is passed or dropped is as it was."""
    outcome = bed.run(frame, "core")
    if outcome.verdict in ("pass", "drop"):
        assert outcome.frame == frame
    return outcome


def use_up(bed: Testbed, source: IPv6Address, number: int = BURST) -> None:
    for _ in range(number):
        assert send(bed, request(bed, source)).reason is Reason.PASS_HOME_AGENT


def cookie_of(outcome: Outcome) -> bytes:
    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_IKE_COOKIE)
    return outcome.frame[-16:]


@pytest.mark.parametrize("port", [500, 4500])
def test_above_the_limit_of_its_network_a_request_is_answered_with_a_cookie(bed, port):
    source = somewhere()
    use_up(bed, source)

    outcome = send(bed, request(bed, source, port=port, from_port=31000) + b"pad")

    message = IKEv2(init_SPI=b"initiate", next_payload=41, exch_type=34, flags=0x20) / IKEv2_Notify(
        type=16390, notify=cookie_of(outcome)
    )
    expected = (
        Ether(src=bed.core_mac, dst=bed.care_of_mac)
        / IPv6(src=str(bed.home_agent), dst=str(source), hlim=64)
        / UDP(sport=port, dport=31000)
        / Raw((b"" if port == 500 else bytes(4)) + bytes(message))
    )
    assert outcome.frame == bytes(expected)
    assert len(outcome.frame) < len(request(bed, source))


def test_wireshark_reads_the_answer_as_a_cookie(bed, tmp_path: Path):
    source = somewhere()
    use_up(bed, source)
    answers = [send(bed, request(bed, source, port=port)).frame for port in (500, 4500)]
    capture = tmp_path / "answers.pcap"
    wrpcap(str(capture), [Ether(answer) for answer in answers])

    tshark = shutil.which("tshark")
    assert tshark, "tshark is not installed: make setup installs it"
    fields = ("isakmp.notify.msgtype", "isakmp.flag_r", "udp.checksum.status", "_ws.malformed")
    command = [tshark, "-r", str(capture), "-o", "udp.check_checksum:TRUE", "-T", "fields"]
    done = subprocess.run([*command, *(f"-e{field}" for field in fields)], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["16390\t1\t1\t", "16390\t1\t1\t"]


def test_who_returns_the_cookie_passes(bed):
    source = somewhere()
    use_up(bed, source)
    cookie = cookie_of(send(bed, request(bed, source)))

    outcome = send(bed, request(bed, source, ike(cookie=cookie)))

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_HOME_AGENT)


def siphash(key: tuple[int, int], data: bytes) -> int:
    """SipHash-2-4 (Aumasson and Bernstein, 2012) of whole words."""
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)] + [len(data) % 256 << 56]
    v0, v1, v2, v3 = (
        key[number % 2] ^ constant
        for number, constant in enumerate(
            (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
        )
    )

    def rotate(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & (1 << 64) - 1

    def turn(times: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(times):
            v0, v2 = (v0 + v1) % (1 << 64), (v2 + v3) % (1 << 64)
            v1, v3 = rotate(v1, 13) ^ v0, rotate(v3, 16) ^ v2
            v0 = rotate(v0, 32)
            v2, v0 = (v2 + v1) % (1 << 64), (v0 + v3) % (1 << 64)
            v1, v3 = rotate(v1, 17) ^ v2, rotate(v3, 21) ^ v0
            v2 = rotate(v2, 32)

    for word in words:
        v3 ^= word
        turn(2)
        v0 ^= word
    v2 ^= 0xFF
    turn(4)
    return v0 ^ v1 ^ v2 ^ v3


@pytest.mark.parametrize(("age", "reason"), [(0, Reason.PASS_HOME_AGENT), (2, Reason.REPLY_IKE_COOKIE)])
def test_a_cookie_is_good_for_a_minute(bed, age, reason):
    """One that is two epochs old was good in its time, as its code says."""
    source = somewhere()
    use_up(bed, source)
    cookie = cookie_of(send(bed, request(bed, source)))
    with Map.open(pin_directory(bed.pin_path) / "hash_key") as secret:
        key = cookie_key(secret.lookup(bytes(4)))
    who = source.packed + b"initiate" + (500).to_bytes(2, "big") * 2 + bytes(4)

    def made_in(epoch: int) -> bytes:
        number = epoch.to_bytes(8, "little")
        return number + siphash(key, who + number).to_bytes(8, "little")

    epoch = int.from_bytes(cookie[:8], "little")
    assert made_in(epoch) == cookie

    assert send(bed, request(bed, source, ike(cookie=made_in(epoch - age)))).reason is reason


@pytest.mark.parametrize("wrong", ["code", "epoch", "address", "spi", "port", "length"])
def test_a_cookie_is_good_for_nobody_else(bed, wrong):
    source = somewhere()
    use_up(bed, source)
    cookie = cookie_of(send(bed, request(bed, source)))
    message, port = ike(cookie=cookie), 500
    if wrong == "code":
        message = ike(cookie=cookie[:-1] + bytes([cookie[-1] ^ 1]))
    elif wrong == "epoch":
        message = ike(cookie=bytes([cookie[0] ^ 1]) + cookie[1:])
    elif wrong == "address":
        source += 1
    elif wrong == "spi":
        message = ike(b"Initiate", cookie)
    elif wrong == "port":
        port = 501
    else:
        message = ike(cookie=cookie + b"\0")

    assert send(bed, request(bed, source, message, from_port=port)).reason is Reason.REPLY_IKE_COOKIE


def test_who_has_returned_a_cookie_may_come_again_with_one_of_the_daemon(bed):
    source = somewhere()
    use_up(bed, source)
    cookie = cookie_of(send(bed, request(bed, source)))
    assert send(bed, request(bed, source, ike(cookie=bytes(24)))).reason is Reason.REPLY_IKE_COOKIE
    send(bed, request(bed, source, ike(cookie=cookie)))

    assert send(bed, request(bed, source, ike(cookie=bytes(24)))).reason is Reason.PASS_HOME_AGENT
    assert send(bed, request(bed, source, ike(b"somebody"))).reason is Reason.REPLY_IKE_COOKIE


def test_those_who_return_cookies_have_a_limit_of_their_own(bed):
    source = somewhere()
    use_up(bed, source)
    message = ike(cookie=cookie_of(send(bed, request(bed, source))))

    reasons = [send(bed, request(bed, source, message)).reason for _ in range(BURST + 2)]

    assert reasons == [Reason.PASS_HOME_AGENT] * BURST + [Reason.DROP_IKE_RATE_LIMITED] * 2


def test_a_site_of_many_networks_has_twice_the_limit_of_one(bed):
    first = site()
    reasons = [send(bed, request(bed, IPv6Address(first + (number << 64) + 1))).reason for number in range(8)]

    assert reasons == [Reason.PASS_HOME_AGENT] * 2 * BURST + [Reason.REPLY_IKE_COOKIE] * 2
    use_up(bed, somewhere())


def test_new_networks_share_a_limit_that_known_ones_do_not_feel(crowded):
    known = [somewhere() for _ in range(BURST)]
    for source in known:
        use_up(crowded, source, 1)
    stranger = somewhere()

    outcome = send(crowded, request(crowded, stranger))

    cookie = cookie_of(outcome)
    assert send(crowded, request(crowded, stranger, ike(cookie=cookie))).reason is Reason.PASS_HOME_AGENT
    for source in known:
        use_up(crowded, source, 10)


def test_a_flood_from_everywhere_neither_passes_nor_keeps_honest_nodes_out(crowded):
    known = somewhere()
    use_up(crowded, known, BURST)
    frame = bytearray(request(crowded, known))
    dice = random.Random(1)
    verdicts = set()
    for _ in range(70_000):  # more than there are places
        frame[22:38] = b"\x20\x02" + dice.randbytes(14)
        verdicts.add(program_test_run(crowded.program, bytes(frame), interface=crowded.index["core"]).verdict)

    assert len(verdicts) <= 2  # the first ones pass
    assert send(crowded, bytes(frame)).reason is Reason.REPLY_IKE_COOKIE
    use_up(crowded, known, 1)
    newcomer = somewhere()
    message = ike(cookie=cookie_of(send(crowded, request(crowded, newcomer))))
    assert send(crowded, request(crowded, newcomer, message)).reason is Reason.PASS_HOME_AGENT


def test_thousands_of_nodes_of_one_network_may_return_at_once():
    with loaded_testbed(stranger_limits=StrangerLimits()) as bed:
        frame = bytearray(request(bed, somewhere()))
        for number in range(4000):
            frame[34:38] = number.to_bytes(4, "big")
            frame[62:70] = number.to_bytes(8, "big")
            program_test_run(bed.program, bytes(frame), interface=bed.index["core"])
        counters = show(bed.pin_path)["counters"]

        assert counters["pass-home-agent"] == 4000
        assert bed.report.verified_instructions < 500_000


@pytest.mark.parametrize(
    "message",
    [
        ike(resp_SPI=b"response"),
        ike(flags=0x20),
        ike(exch_type=35),
        ike()[:27],
        b"",
    ],
    ids=["has-a-responder", "is-a-response", "is-no-first-request", "cut-short", "empty"],
)
def test_what_is_no_first_request_has_no_limit(bed, message):
    source = somewhere()
    for _ in range(BURST + 2):
        assert send(bed, request(bed, source, message)).reason is Reason.PASS_HOME_AGENT


def test_esp_in_udp_has_no_limit(bed):
    source = somewhere()
    frame = bytearray(request(bed, source, port=4500))
    frame[62:66] = b"\0\0\1\0"
    for _ in range(BURST + 2):
        assert send(bed, bytes(frame)).reason is Reason.PASS_HOME_AGENT


HEADERS = {
    "hop-by-hop": [IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])],
    "destination-options": [IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(20))])],
    "routing": [IPv6ExtHdrRouting(segleft=0, addresses=["2001:db8::1"])],
    "atomic-fragment": [IPv6ExtHdrFragment(offset=0, m=0, id=1)],
    "first-fragment": [IPv6ExtHdrFragment(offset=0, m=1, id=1)],
    "many": [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(), IPv6ExtHdrDestOpt()],
}


@pytest.mark.parametrize("name", HEADERS)
def test_extension_headers_are_no_way_around(bed, name):
    source = somewhere()
    use_up(bed, source)

    before = send(bed, request(bed, source))
    outcome = send(bed, request(bed, source, None, *HEADERS[name]))
    after = send(bed, request(bed, source))

    cookie_of(outcome)
    assert outcome.frame in (before.frame, after.frame)  # a cookie changes twice a minute


def test_a_later_fragment_has_no_limit(bed):
    source = somewhere()
    use_up(bed, source)
    frame = request(bed, source, None, IPv6ExtHdrFragment(offset=100, m=0, nh=17))

    assert send(bed, frame).reason is Reason.PASS_FRAGMENT


def test_what_no_cookie_may_answer_is_dropped(bed):
    use_up(bed, IPv6Address("fe80::5"))
    assert send(bed, request(bed, IPv6Address("fe80::5"))).reason is Reason.DROP_IKE_RATE_LIMITED
    source = somewhere()
    use_up(bed, source)
    too_short = request(bed, source, ike()[:51])
    assert send(bed, too_short).reason is Reason.DROP_IKE_RATE_LIMITED


def mobility(bed: Testbed, source: IPv6Address, *, home_address: bool) -> bytes:
    packet: Packet = IPv6(src=str(source), dst=str(bed.home_agent), hlim=60)
    if home_address:
        packet /= IPv6ExtHdrDestOpt(options=[HAO(hoa=str(bed.home))])
    return bytes(Ether(src=bed.care_of_mac, dst=bed.core_mac) / packet / MIP6MH_BU(seq=1))


@pytest.mark.parametrize("home_address", [False, True])
def test_mobility_headers_in_the_clear_have_a_limit(bed, home_address):
    source = somewhere()
    passes = Reason.PASS_HOME_ADDRESS_SWAPPED if home_address else Reason.PASS_HOME_AGENT
    frame = mobility(bed, source, home_address=home_address)

    outcomes = [bed.run(frame, "core") for _ in range(BURST + 2)]

    assert [outcome.reason for outcome in outcomes] == [passes] * BURST + [Reason.DROP_MOBILITY_RATE_LIMITED] * 2
    other = mobility(bed, somewhere(), home_address=home_address)
    assert bed.run(other, "core").reason is passes


def test_mobility_headers_of_everybody_share_a_limit(crowded):
    reasons = [send(crowded, mobility(crowded, somewhere(), home_address=False)).reason for _ in range(BURST + 1)]

    assert reasons == [Reason.PASS_HOME_AGENT] * BURST + [Reason.DROP_MOBILITY_RATE_LIMITED]


def test_without_limits_nothing_is_held_up(testbed):
    source = somewhere()
    for _ in range(BURST + 2):
        assert send(testbed, request(testbed, source)).reason is Reason.PASS_HOME_AGENT
