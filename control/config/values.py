"""The value types of the configuration that TOML does not have, and the sentences that say what a value has to be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import msgspec

from control.cluster.redis_address import RedisAddress
from control.ikev2.notation import parse_esp_proposal, parse_ike_proposal


class ListenAddress:
    """Where a server listens.

    A plain class: msgspec would read a struct or a dataclass from a table, and the file has one string.

    Attributes:
        host: a numeric address, IPv6 or IPv4.
        port: TCP port.
    """

    __slots__ = ("host", "port")

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListenAddress) and (self.host, self.port) == (other.host, other.port)

    def __hash__(self) -> int:
        return hash((self.host, self.port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"ListenAddress({str(self)!r})"


class SharedKey(bytes):
    """Secret octets that no log, table or traceback shows. Compare with ``hmac.compare_digest``."""

    def __repr__(self) -> str:
        return f"SharedKey(<{len(self)} octets>)"

    __str__ = __repr__


class Identity(str):
    """An IKE identity as text, in the one spelling it is compared in: an IPv6 address, RFC 822 name or FQDN."""

    __slots__ = ()


class IkeProposalText(str):
    """A proposal for IKE SAs in the words of control.ikev2.notation, checked."""

    __slots__ = ()


class EspProposalText(str):
    """A proposal for child SAs in the words of control.ikev2.notation, checked."""

    __slots__ = ()


_RESERVED_TOP_4_BITS = 0xF
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_RFC822 = re.compile(rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]{{1,64}}@(?:{_LABEL})(?:\.{_LABEL})*")
_LISTEN = re.compile(r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<ipv4>\d+\.\d+\.\d+\.\d+)):(?P<port>\d{1,5})")


def parse_identity(text: str) -> Identity:
    """Reads an identity.

    Raises:
        ValueError: it is neither an IPv6 address nor a name of one of the two kinds.
    """
    if ":" in text:
        return Identity(IPv6Address(text))
    if len(text) <= 255 and (_RFC822 if "@" in text else _DOMAIN).fullmatch(text):
        return Identity(text)
    raise ValueError


def parse_listen_address(text: str) -> ListenAddress:
    """Reads ``[ADDRESS]:PORT`` or ``A.B.C.D:PORT``.

    Raises:
        ValueError: another form, or a port out of range.
    """
    match = _LISTEN.fullmatch(text)
    if match is None:
        raise ValueError("not of the form [ADDRESS]:PORT")
    port = int(match["port"])
    if not 0 < port < 65536:
        raise ValueError("the port is not from 1 to 65535")
    return ListenAddress(str(IPv6Address(match["ipv6"])) if match["ipv6"] else match["ipv4"], port)


def parse_unicast(text: str) -> IPv6Address:
    """Reads an IPv6 address that a host can have and others can reach.

    Raises:
        ValueError: no address, or one that is not a routable unicast address.
    """
    address = IPv6Address(text)
    if address.is_multicast or address.is_unspecified or address.is_link_local or address.is_loopback:
        raise ValueError("multicast, unspecified, loopback and link-local addresses cannot be used here")
    return address


def parse_ipv4_unicast(text: str) -> IPv4Address:
    """Reads an IPv4 address that a host can have and others can reach.

    Raises:
        ValueError: no address, or one that is not a routable unicast address.
    """
    address = IPv4Address(text)
    never = address.is_multicast or address.is_unspecified or address.is_link_local or address.is_loopback
    if never or int(address) >> 28 == _RESERVED_TOP_4_BITS:
        raise ValueError("multicast, unspecified, loopback, link-local and reserved addresses cannot be used here")
    return address


class StoreLocation:
    """Where the state store is. Shown without the server's password.

    Attributes:
        place: an SQLite file or a Redis server.
    """

    def __init__(self, place: Path | RedisAddress) -> None:
        self.place = place

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreLocation) and self.place == other.place

    def __hash__(self) -> int:
        return hash(self.place)

    def __str__(self) -> str:
        return str(self.place)


def decoder(folder: Path) -> Callable[[type[Any], Any], Any]:
    """The hook by which msgspec reads the types of this module.

    Args:
        folder: what relative paths are relative to.
    """

    def decode(kind: type[Any], value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("not a string")
        if kind is IPv6Address:
            return parse_unicast(value)
        if kind is IPv4Address:
            return parse_ipv4_unicast(value)
        if kind is IPv6Network:
            return IPv6Network(value)
        if kind is Path:
            return _path(folder, value)
        if kind is StoreLocation:
            return StoreLocation(RedisAddress.parse(value) if "://" in value else _path(folder, value))
        if kind is ListenAddress:
            return parse_listen_address(value)
        if kind is Identity:
            return parse_identity(value)
        if kind is IkeProposalText:
            parse_ike_proposal(value)
            return IkeProposalText(value)
        if kind is EspProposalText:
            parse_esp_proposal(value)
            return EspProposalText(value)
        raise NotImplementedError(f"no reader for {kind}")

    return decode


def _path(folder: Path, value: str) -> Path:
    if not value or "\0" in value:
        raise ValueError("an empty path")
    return Path(os.path.normpath(folder / value))


_WANTED = {
    StoreLocation: "a path, or the URL of a Redis server such as redis://host:6379/0",
    IPv6Address: "an IPv6 unicast address",
    IPv4Address: "an IPv4 unicast address",
    IPv6Network: "an IPv6 prefix without host bits",
    Path: "a path",
    ListenAddress: "an address and a port",
    IkeProposalText: "algorithms of an IKE SA joined by hyphens",
    EspProposalText: "algorithms of a child SA joined by hyphens",
    Identity: "an IPv6 address, a name like mn1@example.org or a domain name",
}


def wanted(kind: msgspec.inspect.Type) -> str:
    """What a value of this type has to be, as the object of "has to be"."""
    if isinstance(kind, msgspec.inspect.Metadata):
        extra = kind.extra or {}
        return str(extra["wanted"]) if "wanted" in extra else wanted(kind.type)
    if isinstance(kind, msgspec.inspect.IntType):
        return "a whole number" + _range(kind.ge, kind.gt, kind.le)
    if isinstance(kind, msgspec.inspect.FloatType):
        return "a number" + _range(kind.ge, kind.gt, kind.le)
    if isinstance(kind, msgspec.inspect.BoolType):
        return "true or false"
    if isinstance(kind, msgspec.inspect.StrType):
        return "a string"
    if isinstance(kind, msgspec.inspect.LiteralType):
        return "one of " + _list([f'"{value}"' for value in kind.values])
    if isinstance(kind, msgspec.inspect.VarTupleType):
        count = " of one or more" if kind.min_length else ""
        return f"a list{count}, each {wanted(kind.item_type)}"
    if isinstance(kind, msgspec.inspect.UnionType):
        return wanted(next(part for part in kind.types if not isinstance(part, msgspec.inspect.NoneType)))
    if isinstance(kind, msgspec.inspect.CustomType):
        return _WANTED[kind.cls]
    raise NotImplementedError(f"no sentence for {kind}")


def _range(ge: float | None, gt: float | None, le: float | None) -> str:
    low = f" from {ge}" if ge is not None else f" above {gt}" if gt is not None else ""
    high = f" up to {le}" if le is not None else ""
    return low + (high.replace("up to", "to") if ge is not None else high)


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" or {items[-1]}"


def as_toml(value: object) -> str:
    """A value as it is written in TOML; a secret is never passed here."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {as_toml(item)}" for key, item in value.items()) + " }"
    return msgspec.json.encode(str(value)).decode()
