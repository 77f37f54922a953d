"""Wireshark's opinion of our messages: dissected as meant, nothing malformed and no complaint."""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from scapy.layers.inet6 import IPv6
from scapy.utils import wrpcap

from control.mobility.extension_headers import build_from_mobile_node, build_ipv6, build_to_mobile_node
from control.mobility.header import build_mobility_message
from control.mobility.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingUpdate,
    HomeAgentSwitch,
    MobilityMessage,
)
from control.mobility.options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    DnsUpdate,
    MobileNetworkPrefix,
    MobileNodeIdentifier,
)

# Wireshark (4.0 to date) looks for the options of a Home Agent Switch six octets too early, in the last home agent
# address. These addresses end in what it takes for six octets of padding (01 04 00 00 00 00).
HOME_AGENT = IPv6Address("2001:db8:a1::104:0:0")
OTHER_HOME_AGENT = IPv6Address("2001:db8:a2::104:0:0")
HOME_ADDRESS = IPv6Address("2001:db8:100::7")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::7")


def from_node(message: MobilityMessage) -> bytes:
    header = build_mobility_message(message, HOME_ADDRESS, HOME_AGENT)
    return build_from_mobile_node(CARE_OF_ADDRESS, HOME_AGENT, HOME_ADDRESS, 135, header)


def to_node(message: MobilityMessage) -> bytes:
    header = build_mobility_message(message, HOME_AGENT, HOME_ADDRESS)
    return build_to_mobile_node(HOME_AGENT, CARE_OF_ADDRESS, HOME_ADDRESS, 135, header)


def direct(message: MobilityMessage) -> bytes:
    return build_ipv6(HOME_AGENT, CARE_OF_ADDRESS, 135, build_mobility_message(message, HOME_AGENT, CARE_OF_ADDRESS))


UPDATE_OPTIONS = (
    AlternateCareOfAddress(CARE_OF_ADDRESS),
    MobileNodeIdentifier.from_network_access_identifier("mn7@example.org"),
    DnsUpdate("mn7.example.org"),
)
NETWORKS = (
    AlternateCareOfAddress(CARE_OF_ADDRESS),
    MobileNetworkPrefix(56, IPv6Address("2001:db8:700::")),
    MobileNetworkPrefix(64, IPv6Address("2001:db8:701::")),
)
PACKETS = [
    from_node(BindingUpdate(4711, 900, True, True, True, True, options=UPDATE_OPTIONS)),
    to_node(BindingAcknowledgement(0, 4711, 450, True, options=(BindingRefreshAdvice(300),))),
    to_node(BindingAcknowledgement(135, 4712)),
    to_node(HomeAgentSwitch((HOME_AGENT,), bootstrap=True)),
    to_node(HomeAgentSwitch((HOME_AGENT, OTHER_HOME_AGENT), options=(BindingRefreshAdvice(30),))),
    direct(BindingError(1, HOME_ADDRESS)),
    direct(BindingError(2, IPv6Address(0))),
    from_node(BindingUpdate(4713, 900, True, True, mobile_router=True, options=NETWORKS)),
    to_node(BindingAcknowledgement(0, 4713, 450, mobile_router=True)),
    to_node(BindingAcknowledgement(142, 4714)),
]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed (Debian package tshark)")
    path = tmp_path_factory.mktemp("dissection") / "mobility.pcap"
    wrpcap(str(path), [IPv6(packet) for packet in PACKETS])
    return path


def tshark(capture: Path, *arguments: str) -> list[list[str]]:
    command = ["tshark", "-n", "-r", str(capture), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [line.split("\t") for line in finished.stdout.splitlines()]


def fields(capture: Path, *names: str) -> list[list[str]]:
    arguments = [part for name in names for part in ("-e", name)]
    return tshark(capture, "-T", "fields", *arguments)


def test_nothing_is_malformed_and_no_expert_complains(capture: Path) -> None:
    assert tshark(capture, "-Y", "_ws.malformed || _ws.expert") == []


def test_types_and_lengths(capture: Path) -> None:
    rows = fields(capture, "mip6.mhtype", "mip6.hlen")
    types = [row[0] for row in rows]
    assert types == ["5", "6", "6", "12", "12", "7", "7", "5", "6", "6"]
    assert [row[1] for row in rows] == [str(packet_header_length(packet)) for packet in PACKETS]


def packet_header_length(packet: bytes) -> int:
    start = 40 if packet[6] == 135 else 64
    return packet[start + 1]


def test_the_binding_update(capture: Path) -> None:
    row = fields(
        capture,
        "mip6.bu.seqnr",
        "mip6.bu.a_flag",
        "mip6.bu.h_flag",
        "mip6.bu.l_flag",
        "mip6.bu.k_flag",
        "mip6.bu.lifetime",
        "mip6.acoa.acoa",
        "mip6.mnid.identifier",
        "mip6.dnsu.flag.r",
        "mip6.dnsu.mn_id",
    )[0]
    assert row[0] == "4711"
    assert row[1:5] == ["1"] * 4
    assert row[5] == "900"
    assert row[6:9] == [str(CARE_OF_ADDRESS), "mn7@example.org", "0"]
    # Wireshark leaves out the last two octets of the name.
    assert bytes.fromhex(row[9]) == b"mn7.example.o"


def test_the_acknowledgements(capture: Path) -> None:
    rows = fields(capture, "mip6.ba.status", "mip6.ba.k_flag", "mip6.ba.seqnr", "mip6.ba.lifetime", "mip6.bra.interval")
    assert rows[1] == ["0", "1", "4711", "450", "300"]
    assert rows[2][:4] == ["135", "0", "4712", "0"]


def test_the_home_agent_switch(capture: Path) -> None:
    rows = fields(capture, "mip6.has.num_addrs", "mip6.has.reserved", "mip6.has.address", "mip6.bra.interval")
    assert rows[3] == ["1", "0x80", str(HOME_AGENT), ""]
    assert rows[4] == ["2", "0x00", f"{HOME_AGENT},{OTHER_HOME_AGENT}", "30"]


def test_the_binding_errors(capture: Path) -> None:
    rows = fields(capture, "mip6.be.status", "mip6.be.haddr")
    assert rows[5:7] == [["1", str(HOME_ADDRESS)], ["2", "::"]]


def test_the_mobile_router(capture: Path) -> None:
    rows = fields(
        capture,
        "mip6.nemo.bu.r_flag",
        "mip6.nemo.ba.r_flag",
        "mip6.ba.status",
        "mip6.nemo.mnp.pfl",
        "mip6.nemo.mnp.mnp",
    )
    assert [row[0] for row in rows if row[0]] == ["0", "1"]
    assert [row[1] for row in rows if row[1]] == ["0", "0", "1", "0"]
    assert rows[7] == ["1", "", "", "56,64", "2001:db8:700::,2001:db8:701::"]
    assert rows[9][2] == "142"
