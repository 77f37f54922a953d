"""Programs that the tests in the machine load, compiled before it starts: there, each would take a minute.

That machine has as many processors as this one, and the headers, so what is compiled here serves there. Were it
otherwise, the machine would compile by itself, and one of the tests has it do so in any case.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from datapath import bpffs, generations
from datapath.compiler import CompiledText
from datapath.layout import HASH_KEY, HOME_LINK_PROGRAM_NAME, PROGRAM_NAME
from datapath.pinned_maps import create_maps
from datapath.specialisation import Specialisation
from datapath.stranger_limits import StrangerLimits

AGENT = IPv6Address("2001:db8:a1::1")
SMALL, LABORATORY = 64, 4096
_IPV4 = {"home_agent_ipv4_addresses": (IPv4Address("192.0.2.1"),)}
FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "IPv4 and mobile networks": {**_IPV4, "mobile_networks": True},
    "stranger limits": {"stranger_limits": StrangerLimits()},
    "home links": {"home_links": True},
    "VLANs": {"vlans": True, "home_links": True, "mobile_networks": True},
    "everything": {
        **_IPV4,
        "mobile_networks": True,
        "stranger_limits": StrangerLimits(),
        "home_links": True,
        "vlans": True,
    },
}
_LOADED: list[tuple[int, dict[str, Any], str]] = [
    *((SMALL, features, PROGRAM_NAME) for features in FEATURES.values()),
    (SMALL, _IPV4, PROGRAM_NAME),
    (SMALL, {}, HOME_LINK_PROGRAM_NAME),
    (LABORATORY, FEATURES["stranger limits"], PROGRAM_NAME),
    (LABORATORY, FEATURES["stranger limits"], HOME_LINK_PROGRAM_NAME),
]


def compile_ahead() -> None:
    """Compiles them all into the cache of programs, with maps that are gone afterwards."""
    for max_bindings, features, name in _LOADED:
        directory = Path(f"/sys/fs/bpf/homeagent-ahead-{os.getpid()}-{max_bindings}")
        bpffs.ensure_directory(directory)
        try:
            create_maps(directory, max_bindings)
            specialisation = Specialisation(directory, max_bindings, bytes(HASH_KEY.size), [AGENT], **features)
            with CompiledText(specialisation, name).loaded(name):
                pass
        finally:
            generations.discard(directory)
