"""IPv4 care-of addresses as the maps hold them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.mobility.addresses import is_unicast_routable
from datapath.care_of_addresses import IPv4CareOfAddress, unpack_care_of_address

ports = st.none() | st.integers(1, 65535)


@given(node=st.ip_addresses(v=4), agent=st.ip_addresses(v=4), port=ports)
def test_come_back_as_they_went_and_are_no_address_of_a_node(node, agent, port):
    address = IPv4CareOfAddress(node, agent, port)

    assert unpack_care_of_address(address.packed) == address
    assert not is_unicast_routable(IPv6Address(address.packed))


@given(st.ip_addresses(v=6).filter(is_unicast_routable))
def test_no_ipv6_address_of_a_node_is_taken_for_one(address):
    assert unpack_care_of_address(address.packed) == address


def test_bytes():
    address = IPv4CareOfAddress(IPv4Address("192.0.2.7"), IPv4Address("198.51.100.1"), 4191)

    assert address.packed.hex() == "0000c6336401105f0000ffffc0000207"
    assert IPv6Address("2001:db8::ffff:c000:207") == unpack_care_of_address(
        IPv6Address("2001:db8::ffff:c000:207").packed
    )


@pytest.mark.parametrize(("port", "text"), [(None, "192.0.2.7"), (4191, "192.0.2.7 udp 4191")])
def test_text(port, text):
    assert str(IPv4CareOfAddress(IPv4Address("192.0.2.7"), IPv4Address("198.51.100.1"), port)) == text


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_cannot_be(port):
    with pytest.raises(ValueError, match="between 1 and 65535"):
        IPv4CareOfAddress(IPv4Address("192.0.2.7"), IPv4Address("198.51.100.1"), port)
