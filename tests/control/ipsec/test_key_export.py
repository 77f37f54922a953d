"""Key lines against tshark, which must decrypt with them and find every check value right."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.inet6 import IPv6, IPv6ExtHdrRouting
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from control.ipsec.algorithms import AES_128_CBC_SHA256, AES_256_GCM, CipherSuite
from control.ipsec.esp import EspOutbound
from control.ipsec.key_export import DECRYPTABLE, wireshark_esp_sa
from control.ipsec.security_association import SecurityAssociation

MakeAssociation = Callable[..., SecurityAssociation]

HOME_AGENT, CARE_OF_ADDRESS, HOME_ADDRESS = "2001:db8:a1::1", "2001:db8:c::17", "2001:db8:100::17"
BINDING_UPDATE = bytes.fromhex("3b0105000000" + "0001" + "c000" + "0010" + "00000000")


def packet_on_the_wire(association: SecurityAssociation, random_bytes: Callable[[int], bytes]) -> Packet:
    """As a home agent sends it: to the care-of address, with the home address in a routing header."""
    esp = EspOutbound(association, random_bytes).protect(BINDING_UPDATE, 135)
    return (
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IPv6(src=HOME_AGENT, dst=CARE_OF_ADDRESS)
        / IPv6ExtHdrRouting(type=2, addresses=[HOME_ADDRESS], segleft=1, nh=50)
        / Raw(esp)
    )


def dissect(capture: Path, lines: list[str]) -> list[str]:
    """Mobility Header type and verdict on the check value of each packet, as tshark sees them."""
    command = ["tshark", "-n", "-r", str(capture), "-o", "esp.enable_encryption_decode:TRUE"]
    command += ["-o", "esp.enable_authentication_check:TRUE"]
    for line in lines:
        command += ["-o", f"uat:esp_sa:{line}"]
    command += ["-T", "fields", "-e", "mip6.mhtype", "-e", "esp.icv_good"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_tshark_decrypts_and_verifies_every_suite(
    make_association: MakeAssociation, random_bytes: Callable[[int], bytes], suites: list[CipherSuite], tmp_path: Path
) -> None:
    known = [suite for suite in suites if suite.encryption in DECRYPTABLE]
    associations = [make_association(suite, spi=0xA0000000 + n) for n, suite in enumerate(known)]
    wrpcap(str(tmp_path / "esp.pcap"), [packet_on_the_wire(a, random_bytes) for a in associations])
    lines = [wireshark_esp_sa(association) for association in associations]
    assert dissect(tmp_path / "esp.pcap", lines) == ["5\t1"] * len(known)


def test_tshark_needs_the_right_key(
    make_association: MakeAssociation, random_bytes: Callable[[int], bytes], tmp_path: Path
) -> None:
    association = make_association(AES_256_GCM)
    other = make_association(AES_256_GCM, encryption_key=bytes(36))
    wrpcap(str(tmp_path / "esp.pcap"), [packet_on_the_wire(association, random_bytes)])
    assert dissect(tmp_path / "esp.pcap", [wireshark_esp_sa(other)]) != ["5\t1"]


@pytest.mark.parametrize("named", [False, True])
def test_a_line_names_addresses_only_if_told(make_association: MakeAssociation, named: bool) -> None:
    association = make_association(AES_128_CBC_SHA256, encryption_key=bytes(range(16)), integrity_key=bytes(32))
    addresses = (association.source, association.destination) if named else ()
    expected = '"2001:db8:a1::1","2001:db8:100::17"' if named else '"*","*"'
    assert wireshark_esp_sa(association, *addresses) == (
        f'"IPv6",{expected},"0x1234abcd","AES-CBC [RFC3602]","0x000102030405060708090a0b0c0d0e0f",'
        f'"HMAC-SHA-256-128 [RFC4868]","0x{"00" * 32}"'
    )
