"""Configuration files, for tests that add to them what they are about."""

from __future__ import annotations

SMALLEST = """\
[home_agent]
name = "ha1"
address = "2001:db8:a1::1"
home_prefixes = ["2001:db8:100::/64"]

[datapath]
interfaces = ["core0"]
"""

WITH_NODES = f"""\
{SMALLEST}
[nodes]
file = "nodes.toml"
"""
