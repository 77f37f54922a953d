"""A node moves: from one packet to the next its traffic follows, and no packet sees half of a binding."""

from __future__ import annotations

import threading
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from datapath.reasons import Reason

pytestmark = pytest.mark.namespaces


def to_home(testbed) -> bytes:
    inner = IPv6(src=str(testbed.correspondent), dst=str(testbed.home)) / UDP(sport=1, dport=2) / Raw(b"data")
    return bytes(Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac) / inner)


def from_home(testbed, care_of: IPv6Address) -> bytes:
    inner = IPv6(src=str(testbed.home), dst=str(testbed.correspondent)) / UDP(sport=1, dport=2) / Raw(b"data")
    outer = IPv6(src=str(care_of), dst=str(testbed.home_agent), nh=41)
    return bytes(Ether(src=testbed.care_of_mac, dst=testbed.core_mac) / outer / inner)


def outer_addresses(frame: bytes) -> tuple[IPv6Address, IPv6Address]:
    return IPv6Address(frame[22:38]), IPv6Address(frame[38:54])


def test_traffic_follows_at_once_both_ways(testbed):
    testbed.run(to_home(testbed))
    testbed.run(from_home(testbed, testbed.care_of), "core")

    testbed.bindings.install(testbed.home, testbed.other_care_of, testbed.home_agent)

    outcome = testbed.run(to_home(testbed))
    assert outer_addresses(outcome.frame) == (testbed.home_agent, testbed.other_care_of)
    assert outcome.frame[:6] == bytes.fromhex(testbed.other_care_of_mac.replace(":", ""))
    assert testbed.run(from_home(testbed, testbed.other_care_of), "core").reason is Reason.FORWARD_DECAPSULATED
    left_behind = testbed.run(from_home(testbed, testbed.care_of), "core")
    assert left_behind.reason is Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS
    usage = testbed.bindings.usage(testbed.home)
    assert (usage.encapsulated_packets, usage.decapsulated_packets) == (2, 2), "it is counted on"


def test_no_packet_meets_half_a_binding(testbed):
    whole = {
        (testbed.home_agent, testbed.care_of),
        (testbed.other_home_agent, testbed.other_care_of),
    }
    done = threading.Event()

    def move_about() -> None:
        while not done.is_set():
            for home_agent, care_of in whole:
                testbed.bindings.install(testbed.home, care_of, home_agent)

    mover = threading.Thread(target=move_about)
    mover.start()
    try:
        frame, seen = to_home(testbed), set()
        for count in range(20_000):
            outcome = testbed.run(frame)
            assert outcome.reason is Reason.FORWARD_ENCAPSULATED
            seen.add(outer_addresses(outcome.frame))
            if seen == whole and count >= 3_000:
                break
    finally:
        done.set()
        mover.join()
    assert seen == whole
