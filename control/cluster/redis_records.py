"""How nodes, bindings and leases are written in Redis: one line of text each, readable with redis-cli.

What is read back may come from anyone who can write to the server, so it is checked field by field.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from math import isfinite

from control.cluster.store import BindingRecord, LeaseRecord, NodeRecord
from control.wire import address_text

_NO_ADDRESS = "-"


class BadRecord(ValueError):
    """A record is not what this version writes."""


def node_from_text(identity: str, owner: str, text: str) -> NodeRecord:
    """A node as the scripts write it.

    Raises:
        BadRecord: see there.
    """
    fence, last_seen, home_address, care_of = _fields(text, 4)
    try:
        address = None if care_of == _NO_ADDRESS else IPv6Address(care_of)
        return NodeRecord(identity, IPv6Address(home_address), address, owner, int(fence), _time(last_seen))
    except ValueError as error:
        raise BadRecord(str(error)) from error


def traffic_from_text(text: str) -> float:
    """When a node had traffic last, as it stands beside the nodes (seconds since the epoch).

    Raises:
        BadRecord: it is no time.
    """
    try:
        return _time(text)
    except ValueError as error:
        raise BadRecord(str(error)) from error


def binding_to_text(binding: BindingRecord) -> str:
    """A binding but for its home address and home agent, which are where it is kept.

    Mobile networks follow the K bit, separated by commas.
    """
    care_of, home_agent = address_text(binding.care_of_address), address_text(binding.home_agent_address)
    flags = ",".join((str(int(binding.key_management)), *map(str, binding.mobile_networks)))
    return (
        f"{care_of} {home_agent} {binding.lifetime_expires_at!r} {binding.sequence_number} {flags} {binding.identity}"
    )


def binding_from_text(home_address: str, home_agent: str, text: str) -> BindingRecord:
    """The reverse of :func:`binding_to_text`.

    Raises:
        BadRecord: see there.
    """
    care_of, address, expires_at, sequence, flags, identity = _fields(text, 6)
    key_management, *networks = flags.split(",")
    try:
        sequence_number = int(sequence)
        if not 0 <= sequence_number <= 0xFFFF or key_management not in ("0", "1"):
            raise BadRecord("a number is out of range")
        return BindingRecord(
            IPv6Address(home_address),
            IPv6Address(care_of),
            home_agent,
            IPv6Address(address),
            identity,
            _time(expires_at),
            sequence_number,
            key_management == "1",
            tuple(map(IPv6Network, networks)),
        )
    except ValueError as error:
        raise BadRecord(str(error)) from error


def lease_from_text(home_agent: str, text: str) -> LeaseRecord:
    """A lease as the scripts write it.

    Raises:
        BadRecord: see there.
    """
    token, expires_at, capacity, address = _fields(text, 4)
    try:
        return LeaseRecord(home_agent, IPv6Address(address), int(token), _time(expires_at), int(capacity))
    except ValueError as error:
        raise BadRecord(str(error)) from error


def _time(text: str) -> float:
    at = float(text)
    if not isfinite(at):
        raise BadRecord("not a time")
    return at


def _fields(text: str, number: int) -> list[str]:
    fields = text.split(" ", number - 1)
    if len(fields) != number:
        raise BadRecord(f"{len(fields)} fields instead of {number}")
    return fields
