"""The file of mobile nodes: thousands of tables, read quickly, each identity and home address once."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

import msgspec

from control.config import mobile_networks
from control.config.load import SectionReader
from control.config.node_entries import NodeEntry
from control.config.problems import ConfigurationError, Problem
from control.config.schema import Configuration
from control.config.static_associations import TABLE, StaticAssociationReader, take_tables
from control.config.toml_source import TomlSource, read_text
from control.config.values import Identity, SharedKey, decoder, parse_identity
from control.eap.account import EapAccount
from control.eap.packet import EapType
from control.ipsec.static import StaticPair

# `tomllib` takes 75 us for a node; lines of this simplest form are read several times as fast.
_CONTROL = r"\x00-\x08\x0a-\x1f\x7f"
_COMMENT = rf"(?:#[^{_CONTROL}]*)?"
_SIMPLE_LINE = re.compile(rf'([A-Za-z0-9_-]+)[ \t]*=[ \t]*"([^"\\{_CONTROL}]*)"[ \t]*{_COMMENT}')
_SIMPLE_LIST_LINE = re.compile(
    rf'([A-Za-z0-9_-]+)[ \t]*=[ \t]*\[((?:[ \t]*"[^"\\{_CONTROL}]*"[ \t]*(?:,|(?=\])))*)[ \t]*\][ \t]*{_COMMENT}'
)
_QUOTED = re.compile(r'"([^"]*)"')
_TABLE_LINE = re.compile(rf"\[\[node\]\][ \t]*{_COMMENT}")
_COMMENT_LINE = re.compile(rf"#[^{_CONTROL}]*")
_SECRET_KEYS = ("shared_key", "password")
_EAP_METHODS = {
    "eap-md5": EapType.MD5_CHALLENGE,
    "eap-mschapv2": EapType.MSCHAPV2,
    "eap-tls": EapType.TLS,
}
# More mistakes than this in one file have one cause; the rest would bury it.
_PROBLEMS_SHOWN = 20


SimpleTable: TypeAlias = dict[str, str | list[str]]


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A mobile node that this home agent is authorised to serve.

    Attributes:
        identity: its IKE identity.
        home_address: the home address it was subscribed with, None if it gets one from a pool.
        authentication: how it and the home agent prove who they are.
        shared_key: the key for that, or for a home agent that comes to a node with EAP; None without one.
        eap: its account, None unless it uses EAP.
        static: its security associations if their keys were written by hand.
        mobile_networks: prefixes of the network behind it, none unless it is a mobile router.
    """

    identity: Identity
    home_address: IPv6Address | None
    authentication: Literal["certificate", "shared-key", "eap-md5", "eap-mschapv2", "eap-tls", "manual"]
    shared_key: SharedKey | None
    eap: EapAccount | None = None
    static: tuple[StaticPair, ...] = ()
    mobile_networks: tuple[IPv6Network, ...] = ()

    @property
    def has_secret(self) -> bool:
        """Whether its entry is not for everybody's eyes."""
        has_password = self.eap is not None and self.eap.password != ""
        return self.shared_key is not None or has_password or bool(self.static)


def load_nodes(configuration: Configuration) -> list[Node]:
    """Reads the nodes that a configuration names; none if it names no file.

    Raises:
        ConfigurationError: with the first mistakes found.
    """
    file = configuration.nodes.file
    if file is None:
        return []
    text = read_text(file)
    tables = simple_tables(text)
    nodes = _read_quickly(tables, file) if tables is not None else None
    if nodes is None:
        nodes = _read_carefully(TomlSource(file, text))
    duplicates = _duplicates(nodes)
    if duplicates:
        source = TomlSource(file, text)
        _refuse([_duplicate_problem(source, *duplicate) for duplicate in duplicates[:_PROBLEMS_SHOWN]])
    mistakes = list(mobile_networks.prefix_mistakes(configuration, [node.mobile_networks for node in nodes]))
    if mistakes:
        source = TomlSource(file, text)
        _refuse([mobile_networks.problem(source, mistake) for mistake in mistakes])
    _require_certificate(configuration, nodes)
    _require_home(configuration, nodes)
    return nodes


def simple_tables(text: str) -> list[SimpleTable] | None:
    """The ``[[node]]`` tables of a file of the simplest form: comments, table lines, ``key = "text"`` lines, and lists
    of texts on one line.

    Returns:
        What ``tomllib`` would return for it; None if any line is of another form, valid or not.
    """
    tables: list[SimpleTable] = []
    table: SimpleTable | None = None
    for line in text.replace("\r\n", "\n").split("\n"):
        stripped = line.strip(" \t")
        if not stripped:
            continue
        if (match := _SIMPLE_LINE.fullmatch(stripped)) and table is not None:
            key = match[1]
            if key in table:
                return None
            table[key] = match[2]
        elif (match := _SIMPLE_LIST_LINE.fullmatch(stripped)) and table is not None:
            key = match[1]
            if key in table:
                return None
            table[key] = _QUOTED.findall(match[2])
        elif _TABLE_LINE.fullmatch(stripped):
            table = {}
            tables.append(table)
        elif not _COMMENT_LINE.fullmatch(stripped):
            return None
    return tables


def _read_quickly(tables: list[SimpleTable], file: Path) -> list[Node] | None:
    """The nodes of simple tables, None if anything about them has to be explained."""
    decode = decoder(file.parent)
    try:
        entries = msgspec.convert(tables, list[NodeEntry], dec_hook=decode)
        return [_to_node(entry) for entry in entries] if not any(map(_is_manual, entries)) else None
    except (msgspec.ValidationError, ValueError):
        return None


def _read_carefully(source: TomlSource) -> list[Node]:
    """The nodes of any TOML document, with every mistake explained."""
    reader = SectionReader(source, source.file.parent)
    for name in source.document:
        if name != "node":
            reader.complain(
                source.line(name), name, "there is no such key or table", "Write one [[node]] for each node."
            )
    tables = source.document.get("node", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        reader.complain(source.line("node"), "node", "not a list of tables", "Write [[node]] with two brackets each.")
        tables = []
    associations = StaticAssociationReader(reader, source)
    nodes: list[Node] = []
    for index, table in enumerate(tables):
        place = ("node", index)
        table, static_tables = take_tables(table)
        entry = reader.read(NodeEntry, table, place, "node", _SECRET_KEYS)
        pairs = associations.read(static_tables, place, "node")
        if entry is None:
            continue
        if entry.authentication == "manual":
            associations.require_mobility(pairs, place, "node")
            if entry.home_address is None:
                wrong = "keys written by hand are for one home address, and there is none"
                reader.complain(source.line(*place), "node.home_address", wrong, "Add the node's home address.")
        elif static_tables:
            remedy = 'Write authentication = "manual", or remove them.'
            wrong = "security associations written by hand for a node that uses IKE"
            reader.complain(source.line(*place, TABLE), f"node.{TABLE}", wrong, remedy)
        try:
            nodes.append(_to_node(entry, pairs))
        except NodeMistake as mistake:
            line = source.line("node", index, mistake.key)
            reader.complain(line, f"node.{mistake.key}", mistake.wrong, mistake.remedy)
    if reader.problems:
        _refuse(reader.problems)
    return nodes


def _is_manual(entry: NodeEntry) -> bool:
    return entry.authentication == "manual"


class NodeMistake(ValueError):
    """Values of one node that contradict each other or a key that cannot be had."""

    def __init__(self, key: str, wrong: str, remedy: str) -> None:
        self.key = key
        self.wrong = wrong
        self.remedy = remedy
        super().__init__(f"{key}: {wrong}")


def _to_node(entry: NodeEntry, static: tuple[StaticPair, ...] = ()) -> Node:
    return Node(
        identity=entry.identity,
        home_address=entry.home_address,
        authentication=entry.authentication,
        shared_key=_shared_key(entry),
        eap=_eap_account(entry),
        static=static,
        mobile_networks=entry.mobile_network_prefixes,
    )


def _given(entry: NodeEntry, *keys: str) -> list[str]:
    return [key for key in keys if getattr(entry, key) is not None]


def _shared_key(entry: NodeEntry) -> SharedKey | None:
    given = _given(entry, "shared_key", "shared_key_file")
    if given and entry.authentication in ("certificate", "manual"):
        remedy = f'Write authentication = "shared-key", or remove {given[0]}.'
        raise NodeMistake(given[0], f"a shared key for a node that authenticates {_how(entry)}", remedy)
    if entry.authentication != "shared-key" and not given:
        return None
    if len(given) != 1:
        wrong = "two shared keys for one node" if given else "a node without its shared key"
        raise NodeMistake("authentication", wrong, "Give either shared_key or shared_key_file.")
    if entry.shared_key_file is not None:
        return _secret(_file_text("shared_key_file", entry.shared_key_file), "shared_key_file")
    return _secret(entry.shared_key or "", "shared_key")


def _eap_account(entry: NodeEntry) -> EapAccount | None:
    method = _EAP_METHODS.get(entry.authentication)
    given = _given(entry, "password", "password_file")
    if method is None or method is EapType.TLS:
        surplus = given if method is not None else [*given, *_given(entry, "eap_identity")]
        if surplus:
            remedy = f'Write authentication = "eap-mschapv2", or remove {surplus[0]}.'
            raise NodeMistake(surplus[0], f"not for a node that authenticates {_how(entry)}", remedy)
        return EapAccount(method, _certified_name(entry)) if method is not None else None
    if len(given) != 1:
        wrong = "two passwords for one node" if given else "a node without its password"
        raise NodeMistake("authentication", wrong, "Give either password or password_file.")
    password = entry.password or ""
    if entry.password_file is not None:
        password = _file_text("password_file", entry.password_file)
    if not password:
        raise NodeMistake(given[0], "an empty password", "Write a long one: openssl rand -base64 24.")
    return EapAccount(method, entry.eap_identity or str(entry.identity), password)


def _certified_name(entry: NodeEntry) -> str:
    """Whom the certificate of a node with EAP-TLS has to name."""
    name = entry.eap_identity or str(entry.identity)
    try:
        return parse_identity(name)
    except ValueError:
        wrong = f'"{name}" is nothing a certificate could name'
        raise NodeMistake("eap_identity", wrong, "Write a name like mn1@example.org or a domain name.") from None


def _how(entry: NodeEntry) -> str:
    how = {"certificate": "by certificate", "shared-key": "by shared key", "manual": "without IKE"}
    return how.get(entry.authentication, f"by {entry.authentication}")


def _file_text(key: str, file: Path) -> str:
    """What a file holds that has a secret; a line feed at the end does not count."""
    try:
        return read_text(file).removesuffix("\n")
    except ConfigurationError as error:
        problem = error.problems[0]
        raise NodeMistake(key, f"{problem.file}: {problem.wrong}", problem.remedy) from None


def _secret(text: str, key: str) -> SharedKey:
    """The octets of a shared key: text, or 0x and hexadecimal digits."""
    try:
        secret = bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()
    except ValueError:
        raise NodeMistake(key, "0x is not followed by pairs of hexadecimal digits", "Correct the digits.") from None
    if not secret:
        raise NodeMistake(key, "an empty shared key", "Write a random one: openssl rand -hex 32, with 0x before it.")
    return SharedKey(secret)


def _duplicates(nodes: list[Node]) -> list[tuple[int, int, str, str]]:
    """Pairs of nodes with the same identity or home address: (index, index of the earlier one, key, value)."""
    found = []
    identities: dict[Identity, int] = {}
    addresses: dict[IPv6Address, int] = {}
    for index, node in enumerate(nodes):
        if (first := identities.setdefault(node.identity, index)) != index:
            found.append((index, first, "identity", str(node.identity)))
        if node.home_address is None:
            continue
        if (first := addresses.setdefault(node.home_address, index)) != index:
            found.append((index, first, "home_address", str(node.home_address)))
    return found


def _duplicate_problem(source: TomlSource, index: int, first: int, key: str, value: str) -> Problem:
    wrong = f"{value} is already that of the node in line {source.line('node', first)}"
    return Problem(source.file, source.line("node", index, key), f"node.{key}", wrong, "Remove one of the two nodes.")


def _require_certificate(configuration: Configuration, nodes: list[Node]) -> None:
    ike = configuration.ike
    if ike.certificate is not None and ike.trust_anchors:
        return
    # A password is asked for under our certificate, while the node shows none.
    needing = ("certificate", "eap-tls") if ike.certificate is not None else ("certificate", *_EAP_METHODS)
    node = next((node for node in nodes if node.authentication in needing), None)
    if node is not None:
        missing = "certificate and private_key" if ike.certificate is None else "trust_anchors"
        wrong = f"{node.identity} authenticates by {node.authentication}, but [ike] has no {missing}"
        remedy = f'Add {missing} to [ike] in {configuration.path}, or give the node authentication = "shared-key".'
        raise ConfigurationError([Problem(configuration.path, None, "ike", wrong, remedy)])


def _require_home(configuration: Configuration, nodes: list[Node]) -> None:
    """Refuse manual nodes of another home prefix: their associations hold for one home address."""
    prefixes = configuration.home_agent.home_prefixes
    for node in nodes:
        if node.static and not any(node.home_address in prefix for prefix in prefixes if node.home_address):
            wrong = (
                f"{node.identity} has keys written by hand for {node.home_address}, which is in none of home_prefixes"
            )
            remedy = f"Add its prefix to home_prefixes in {configuration.path}, or remove the node."
            file = configuration.nodes.file or configuration.path
            raise ConfigurationError([Problem(file, None, "node.home_address", wrong, remedy)])


def _refuse(problems: list[Problem]) -> NoReturn:
    left = len(problems) - _PROBLEMS_SHOWN
    shown = problems[:_PROBLEMS_SHOWN]
    if left > 0:
        shown.append(Problem(problems[0].file, None, "", f"{left} more mistakes like these", "Correct the first ones."))
    raise ConfigurationError(shown)
