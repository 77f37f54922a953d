"""Which mobile network prefixes (RFC 3963) a configuration cannot have: taken twice, or in the way of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv6Network
from typing import NamedTuple

from control.config.problems import Problem
from control.config.schema import Configuration
from control.config.toml_source import TomlSource
from control.mobility.addresses import is_unicast_routable

KEY = "mobile_network_prefixes"


class Mistake(NamedTuple):
    """What is wrong with the prefixes of one node.

    Attributes:
        node: number of the node in its file, from 0.
        other: number of the node in whose way it is, None for no other node.
        wrong: what is wrong; with another node, its line follows.
        remedy: what would be right.
    """

    node: int
    other: int | None
    wrong: str
    remedy: str


def prefix_mistakes(configuration: Configuration, prefixes: Sequence[Iterable[IPv6Network]]) -> Iterator[Mistake]:
    """The mistakes in the prefixes of all nodes, which are in the order of their file."""
    owned = sorted((network, index) for index, networks in enumerate(prefixes) for network in networks)
    if owned and not configuration.mobility.mobile_routers:
        remedy = f"Write mobile_routers = true in [mobility] of {configuration.path}, or remove {KEY}."
        yield Mistake(owned[0][1], None, "mobile routers are not served here", remedy)
    for network, index in owned:
        yield from _misplaced(configuration, network, index)
    covering: tuple[IPv6Network, int] | None = None
    for network, index in owned:
        if covering is None or not network.subnet_of(covering[0]):
            covering = (network, index)
        elif covering[1] == index:
            yield Mistake(index, None, f"{network} is part of {covering[0]}, or the same", "Write only the larger one.")
        else:
            wrong = f"{network} overlaps {covering[0]} of the node in line"
            yield Mistake(index, covering[1], wrong, "Give each node prefixes of its own.")


def _misplaced(configuration: Configuration, network: IPv6Network, index: int) -> Iterator[Mistake]:
    home_agent = configuration.home_agent
    if not network.prefixlen or not is_unicast_routable(network.network_address):
        yield Mistake(index, None, f"{network} is not routed between networks", "Write a prefix of unicast addresses.")
        return
    for home_prefix in home_agent.home_prefixes:
        if network.overlaps(home_prefix):
            wrong = f"{network} overlaps the home prefix {home_prefix}"
            yield Mistake(index, None, wrong, "Write a prefix beside the home prefixes.")
    if home_agent.address in network:
        wrong = f"{network} covers the home agent's own address, {home_agent.address}"
        yield Mistake(index, None, wrong, "Write a prefix that no home agent is in.")


def problem(source: TomlSource, mistake: Mistake) -> Problem:
    """A mistake with its place in the nodes' file."""
    wrong = mistake.wrong if mistake.other is None else f"{mistake.wrong} {source.line('node', mistake.other)}"
    return Problem(source.file, source.line("node", mistake.node, KEY), f"node.{KEY}", wrong, mistake.remedy)
