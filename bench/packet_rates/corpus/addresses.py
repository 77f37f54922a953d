"""Who is who in the frames of the corpus."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

HOME_AGENT = IPv6Address("2001:db8:f::1")
OTHER_HOME_AGENT = IPv6Address("2001:db8:f::2")
CORRESPONDENT = IPv6Address("2001:db8:c::2")
HOME = IPv6Address("2001:db8:100::5")
CARE_OF = IPv6Address("2001:db8:f::5")
OTHER_HOME = IPv6Address("2001:db8:100::6")
OTHER_CARE_OF = IPv6Address("2001:db8:f::6")
UNBOUND_HOME = IPv6Address("2001:db8:100::99")
MOBILE_NETWORK_HOST = IPv6Address("2001:db8:700:12::7")
"""Of the network behind the mobile router with the home address HOME, where there are mobile networks."""
IPV4_HOME_AGENT = IPv4Address("192.0.2.1")
IPV4_HOME = IPv6Address("2001:db8:100::7")
IPV4_CARE_OF = IPv4Address("192.0.2.5")
"""Where there are tunnels over IPv4, the care-of address of IPV4_HOME."""
NAT_HOME = IPv6Address("2001:db8:100::8")
NAT = IPv4Address("192.0.2.6")
NAT_PORT = 20_000
"""The care-of address and port of NAT_HOME, whose tunnel is in UDP."""

VLAN_OF_HOSTS, VLAN_OF_NODES, UNKNOWN_VLAN = 10, 20, 77
VLAN_CORRESPONDENT = IPv6Address("2001:db8:aa::2")
VLAN_HOME = IPv6Address("2001:db8:100::9")
VLAN_CARE_OF = IPv6Address("2001:db8:bb::5")
"""Where there are VLANs: a host in one, and a binding whose care-of address is in the other."""

CORE_MAC = "02:00:00:00:00:04"
NODE_MAC = "02:00:00:00:0f:05"
