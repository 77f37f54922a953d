"""The same packets from scapy, byte for byte: padding, alignment and checksums included."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from scapy.layers import inet6
from scapy.packet import Packet, Raw

from control.mobility.extension_headers import (
    build_from_mobile_node,
    build_ipv6,
    build_to_mobile_node,
    encapsulate,
    parse_ipv6,
)
from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeAgentSwitch,
    HomeTest,
    HomeTestInit,
    MobilityMessage,
    UnknownMobilityMessage,
)
from control.mobility.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
    NonceIndices,
    UnknownMobilityOption,
)

HOME_AGENT = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::7")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::7")
COOKIE = bytes(range(8))
TOKEN = bytes(range(8, 16))

ALTERNATE = inet6.MIP6OptAltCoA(acoa=str(CARE_OF_ADDRESS))
ADVICE = inet6.MIP6OptBRAdvice(rinter=450)
NONCES = inet6.MIP6OptNonceIndices(olen=4, hni=3, coni=4)
AUTHORIZATION = inet6.MIP6OptBindingAuthData(olen=12, authenticator=0x0102030405060708090A0B0C)
NETWORK = inet6.MIP6OptMobNetPrefix(plen=56, prefix="2001:db8:700::")
IDENTIFIER = inet6.MIP6OptMNID(id="mn7@example.org")

OPTIONS = {
    "alternate": ((AlternateCareOfAddress(CARE_OF_ADDRESS),), [ALTERNATE]),
    "advice": ((BindingRefreshAdvice(450),), [ADVICE]),
    "identifier": ((MobileNodeIdentifier(1, b"mn7@example.org"),), [IDENTIFIER]),
    "nonces-and-authenticator": (
        (NonceIndices(3, 4), BindingAuthorizationData(bytes(range(1, 13)))),
        [NONCES, AUTHORIZATION],
    ),
    "network": ((MobileNetworkPrefix(56, IPv6Address("2001:db8:700::")),), [NETWORK]),
    "identifier-then-network-then-alternate": (
        (
            MobileNodeIdentifier(1, b"mn7@example.org"),
            MobileNetworkPrefix(56, IPv6Address("2001:db8:700::")),
            AlternateCareOfAddress(CARE_OF_ADDRESS),
        ),
        [IDENTIFIER, NETWORK, ALTERNATE],
    ),
    "identifier-then-alternate": (
        (MobileNodeIdentifier(1, b"mn7@example.org"), AlternateCareOfAddress(CARE_OF_ADDRESS)),
        [IDENTIFIER, ALTERNATE],
    ),
    "unknown-then-advice-then-alternate": (
        (UnknownMobilityOption(200, b"abc"), BindingRefreshAdvice(450), AlternateCareOfAddress(CARE_OF_ADDRESS)),
        [inet6.MIP6OptUnknown(otype=200, odata=b"abc"), ADVICE, ALTERNATE],
    ),
}

CASES: list[tuple[str, MobilityMessage, Packet]] = [
    ("refresh-request", BindingRefreshRequest(), inet6.MIP6MH_BRR()),
    ("home-test-init", HomeTestInit(COOKIE), inet6.MIP6MH_HoTI(cookie=COOKIE)),
    ("care-of-test-init", CareOfTestInit(COOKIE), inet6.MIP6MH_CoTI(cookie=COOKIE, mhtype=2)),
    ("home-test", HomeTest(5, COOKIE, TOKEN), inet6.MIP6MH_HoT(index=5, cookie=COOKIE, token=TOKEN)),
    ("care-of-test", CareOfTest(5, COOKIE, TOKEN), inet6.MIP6MH_CoT(index=5, cookie=COOKIE, token=TOKEN, mhtype=4)),
    ("error", BindingError(1, HOME_ADDRESS), inet6.MIP6MH_BE(status=1, ha=str(HOME_ADDRESS))),
    ("error-without-home-address", BindingError(2, IPv6Address(0)), inet6.MIP6MH_BE(status=2)),
    (
        "switch",
        HomeAgentSwitch((HOME_AGENT, CARE_OF_ADDRESS), bootstrap=True),
        inet6.MIP6MH_Generic(mhtype=12, msg=b"\x02\x80" + HOME_AGENT.packed + CARE_OF_ADDRESS.packed),
    ),
    ("unknown", UnknownMobilityMessage(99, b"0123456789"), inet6.MIP6MH_Generic(mhtype=99, msg=b"0123456789")),
]
for flags in ("", "A", "AH", "AHL", "AHK", "AHKL", "AHR", "AHKR"):
    update = BindingUpdate(0xBEEF, 900, "A" in flags, "H" in flags, "L" in flags, "K" in flags, "R" in flags)
    CASES.append((f"update-{flags or 'none'}", update, inet6.MIP6MH_BU(seq=0xBEEF, flags=flags, mhtime=900)))
for status, flags in ((0, ""), (0, "K"), (135, ""), (0, "R"), (0, "KR"), (142, "")):
    acknowledgement = BindingAcknowledgement(status, 0xBEEF, 450, "K" in flags, "R" in flags)
    oracle = inet6.MIP6MH_BA(status=status, seq=0xBEEF, mhtime=450, flags=flags)
    CASES.append((f"acknowledgement-{status}{flags}", acknowledgement, oracle))
for name, (ours, theirs) in OPTIONS.items():
    CASES += [
        (
            f"update-{name}",
            BindingUpdate(1, 15, True, True, options=ours),
            inet6.MIP6MH_BU(seq=1, flags="AH", mhtime=15, options=theirs),
        ),
        (
            f"acknowledgement-{name}",
            BindingAcknowledgement(1, 1, 15, options=ours),
            inet6.MIP6MH_BA(status=1, seq=1, mhtime=15, flags="", options=theirs),
        ),
        (f"refresh-request-{name}", BindingRefreshRequest(ours), inet6.MIP6MH_BRR(options=theirs)),
        (f"home-test-init-{name}", HomeTestInit(COOKIE, ours), inet6.MIP6MH_HoTI(cookie=COOKIE, options=theirs)),
    ]
BY_NAME = [pytest.param(message, oracle, id=name) for name, message, oracle in CASES]


def fresh(oracle: Packet) -> Packet:
    """A copy: scapy writes into a packet that is put under another."""
    return oracle.copy()


@pytest.mark.parametrize(("message", "oracle"), BY_NAME)
def test_mobility_header(message: MobilityMessage, oracle: Packet) -> None:
    packet = inet6.IPv6(src=str(HOME_ADDRESS), dst=str(HOME_AGENT)) / fresh(oracle)
    expected = bytes(packet)[40:]
    assert build_mobility_message(message, HOME_ADDRESS, HOME_AGENT) == expected
    assert parse_mobility_message(expected, HOME_ADDRESS, HOME_AGENT) == message


@pytest.mark.parametrize(("message", "oracle"), BY_NAME)
def test_from_a_mobile_node_with_a_home_address_option(message: MobilityMessage, oracle: Packet) -> None:
    header = build_mobility_message(message, HOME_ADDRESS, HOME_AGENT)
    packet = build_from_mobile_node(CARE_OF_ADDRESS, HOME_AGENT, HOME_ADDRESS, 135, header)
    assert packet == bytes(
        inet6.IPv6(src=str(CARE_OF_ADDRESS), dst=str(HOME_AGENT), hlim=64)
        / inet6.IPv6ExtHdrDestOpt(options=[inet6.HAO(hoa=str(HOME_ADDRESS))])
        / fresh(oracle)
    )


@pytest.mark.parametrize(("message", "oracle"), BY_NAME)
def test_to_a_mobile_node_with_a_type_2_routing_header(message: MobilityMessage, oracle: Packet) -> None:
    header = build_mobility_message(message, HOME_AGENT, HOME_ADDRESS)
    packet = build_to_mobile_node(HOME_AGENT, CARE_OF_ADDRESS, HOME_ADDRESS, 135, header)
    assert packet == bytes(
        inet6.IPv6(src=str(HOME_AGENT), dst=str(CARE_OF_ADDRESS), hlim=64)
        / inet6.IPv6ExtHdrRouting(type=2, segleft=1, addresses=[str(HOME_ADDRESS)])
        / fresh(oracle)
    )


def test_a_packet_in_a_packet() -> None:
    inner = inet6.IPv6(src=str(HOME_ADDRESS), dst="2001:db8:9::9", tc=0xB9, fl=0x12345, hlim=3) / inet6.UDP() / b"data"
    assert encapsulate(CARE_OF_ADDRESS, HOME_AGENT, bytes(inner)) == bytes(
        inet6.IPv6(src=str(CARE_OF_ADDRESS), dst=str(HOME_AGENT), hlim=64, tc=0xB9) / inner
    )


def test_a_plain_header() -> None:
    ours = build_ipv6(HOME_AGENT, HOME_ADDRESS, 59, b"xyz", hop_limit=9, traffic_class=0xFE, flow_label=0xFEDCB)
    theirs = inet6.IPv6(src=str(HOME_AGENT), dst=str(HOME_ADDRESS), nh=59, hlim=9, tc=0xFE, fl=0xFEDCB) / Raw(b"xyz")
    assert ours == bytes(theirs)


def test_a_chain_of_extension_headers() -> None:
    packet = (
        inet6.IPv6(src=str(CARE_OF_ADDRESS), dst=str(HOME_AGENT), tc=1, fl=2, hlim=3)
        / inet6.IPv6ExtHdrHopByHop(options=[inet6.PadN(optdata=b"\0\0")])
        / inet6.IPv6ExtHdrRouting(type=2, segleft=1, addresses=["2001:db8:100::8"])
        / inet6.IPv6ExtHdrDestOpt(options=[inet6.Pad1(), inet6.HAO(hoa=str(HOME_ADDRESS))])
        / inet6.IPv6ExtHdrFragment(offset=0, m=0)
        / inet6.UDP(sport=1, dport=2)
        / b"data"
    )
    parsed = parse_ipv6(bytes(packet) + b"padding of the link")
    assert (parsed.source, parsed.destination) == (CARE_OF_ADDRESS, HOME_AGENT)
    assert (parsed.home_address_option, parsed.routing_header_2) == (HOME_ADDRESS, IPv6Address("2001:db8:100::8"))
    assert (parsed.logical_source, parsed.logical_destination) == (HOME_ADDRESS, IPv6Address("2001:db8:100::8"))
    assert (parsed.traffic_class, parsed.flow_label, parsed.hop_limit) == (1, 2, 3)
    assert parsed.next_header == 17
    assert parsed.payload == bytes(packet)[-12:]
