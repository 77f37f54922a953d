"""Where what all processors count is too much for one value of a map, each stripe has its own."""

from __future__ import annotations

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from datapath import layout
from datapath.bindings import Usage
from datapath.bpf_syscall import Map
from datapath.layout import pin_directory, usage_stripes
from datapath.reasons import Reason
from tests.datapath.conftest import loaded_testbed

pytestmark = pytest.mark.namespaces


def test_packets_are_counted_in_values_of_their_own(monkeypatch):
    monkeypatch.setattr(layout, "LARGEST_VALUE", 0)
    with loaded_testbed() as bed:
        with Map.open(pin_directory(bed.pin_path) / "usage") as usage:
            assert usage.info.max_entries == usage_stripes()
        bed.reset_bindings()
        inner = IPv6(src=str(bed.correspondent), dst=str(bed.home)) / UDP() / Raw(bytes(20))
        frame = bytes(Ether(src=bed.correspondent_mac, dst=bed.correspondent_side_mac) / inner)
        assert [bed.run(frame).reason for _ in range(3)] == [Reason.FORWARD_ENCAPSULATED] * 3
        assert bed.bindings.usage(bed.home) == Usage(3, 3 * len(inner), 0, 0)
        assert bed.bindings.usage(bed.other_home) == Usage()
