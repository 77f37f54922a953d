"""Reading the configuration file: every mistake is found in one pass and named by file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from ipaddress import IPv6Network
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from control.config.problems import ConfigurationError, Problem
from control.config.schema import SECTIONS, Configuration
from control.config.section import Settings
from control.config.toml_source import TomlSource
from control.config.values import Identity, as_toml, decoder, wanted

_S = TypeVar("_S", bound=Settings)

# sun_path of a Unix socket address has 108 octets, the last of them a zero.
_SOCKET_PATH_OCTETS = 107


@cache
def _types(section: type[Settings]) -> dict[str, Any]:
    return get_type_hints(section, include_extras=True)


@cache
def fields(section: type[Settings]) -> dict[str, msgspec.inspect.Field]:
    """The keys of a section by name."""
    kind = msgspec.inspect.type_info(section)
    assert isinstance(kind, msgspec.inspect.StructType)
    return {field.name: field for field in kind.fields}


def example(field: msgspec.inspect.Field) -> str:
    """The example a key's documentation gives, as TOML."""
    assert isinstance(field.type, msgspec.inspect.Metadata)
    return as_toml((field.type.extra_json_schema or {})["examples"][0])


_SECRETS = {"cluster": ("store",)}  # a URL with a password, perhaps


def load_configuration(path: Path) -> Configuration:
    """Reads and checks a configuration file, without looking at the files it names.

    Raises:
        ConfigurationError: with every mistake found.
    """
    path = path.absolute()
    source = TomlSource.read(path)
    reader = SectionReader(source, path.parent)
    sections: dict[str, Any] = {}
    for name, value in source.document.items():
        if name not in SECTIONS:
            reader.problems.append(_unknown_section(source, name, value))
    for name, kind in SECTIONS.items():
        table = source.document.get(name, {})
        if name not in source.document and any(field.required for field in fields(kind).values()):
            reader.complain(None, name, "this section is missing", f"Add [{name}] with {_required(kind)}.")
        elif not isinstance(table, dict):
            reader.complain(source.line(name), name, "a value stands here instead of a section", f"Write [{name}].")
        else:
            sections[name] = reader.read(kind, table, (name,), name, _SECRETS.get(name, ()))
    _refuse_any(reader.problems)
    configuration = _with_defaults(Configuration(path=path, **sections))
    _refuse_any(_contradictions(configuration, source))
    return configuration


def _refuse_any(problems: list[Problem]) -> None:
    if problems:
        raise ConfigurationError(sorted(problems, key=lambda problem: problem.line or 0))


class SectionReader:
    """Turns tables into structs key by key, collecting what is wrong."""

    def __init__(self, source: TomlSource, folder: Path) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._decode = decoder(folder)

    def complain(self, line: int | None, key: str, wrong: str, remedy: str) -> None:
        """Notes a mistake."""
        self.problems.append(Problem(self._source.file, line, key, wrong, remedy))

    def read(
        self,
        kind: type[_S],
        table: Mapping[str, Any],
        path: tuple[str | int, ...],
        name: str,
        secrets: Iterable[str] = (),
    ) -> _S | None:
        """Reads one table.

        Args:
            kind: the struct it becomes.
            table: its keys and values.
            path: where it stands in the document.
            name: what its keys are prefixed with in messages.
            secrets: keys whose values no message may repeat.

        Returns:
            The struct, None if anything was wrong with it.
        """
        known = fields(kind)
        before = len(self.problems)
        values: dict[str, Any] = {}
        for key, value in table.items():
            line = self._source.line(*path, key)
            if key not in known:
                self.complain(line, f"{name}.{key}", *_unknown_key(key, kind))
                continue
            if value == "" and isinstance(_plain(known[key].type), msgspec.inspect.UnionType):
                values[key] = None
                continue
            try:
                values[key] = msgspec.convert(value, _types(kind)[key], dec_hook=self._decode)
            except (msgspec.ValidationError, ValueError) as error:
                shown = "this value" if key in secrets else as_toml(value)
                wrong = f"{shown} is not {wanted(known[key].type)}{_reason(error)}"
                self.complain(line, f"{name}.{key}", wrong, f"Write for example {key} = {example(known[key])}.")
        for key, field in known.items():
            if field.required and key not in table:
                remedy = f"Add {key}: {wanted(field.type)}, for example {key} = {example(field)}."
                self.complain(self._source.line(*path), f"{name}.{key}", "this key is missing", remedy)
        return kind(**values) if len(self.problems) == before else None


def _plain(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def _reason(error: Exception) -> str:
    """Why a value was refused, where a reader of control.config.values said more than that it is of the wrong kind."""
    cause = error.__cause__ if isinstance(error, msgspec.ValidationError) else error
    return f" ({cause})" if isinstance(cause, ValueError) and str(cause) else ""


def _required(kind: type[Settings]) -> str:
    return ", ".join(name for name, field in fields(kind).items() if field.required)


def _unknown_key(key: str, kind: type[Settings]) -> tuple[str, str]:
    wrong = "there is no such key"
    near = difflib.get_close_matches(key, fields(kind), n=1)
    if near:
        return wrong, f"Did you mean {near[0]}?"
    homes = [name for name, section in SECTIONS.items() if key in fields(section)]
    if homes:
        return wrong, f"It belongs in [{homes[0]}]."
    return wrong, f"Remove it; the keys here are {', '.join(fields(kind))}."


def _unknown_section(source: TomlSource, name: str, value: object) -> Problem:
    line = source.line(name)
    homes = [section for section, kind in SECTIONS.items() if name in fields(kind)]
    if not isinstance(value, (dict, list)) and homes:
        return Problem(source.file, line, name, "this key stands outside of a section", f"Move it into [{homes[0]}].")
    near = difflib.get_close_matches(name, SECTIONS, n=1)
    remedy = f"Did you mean [{near[0]}]?" if near else f"Remove it; the sections are {', '.join(SECTIONS)}."
    return Problem(source.file, line, name, "there is no such section", remedy)


def _with_defaults(configuration: Configuration) -> Configuration:
    """Fills in the one default that depends on another key."""
    home_agent = configuration.home_agent
    if home_agent.identity:
        return configuration
    home_agent = msgspec.structs.replace(home_agent, identity=Identity(home_agent.address))
    return msgspec.structs.replace(configuration, home_agent=home_agent)


def _contradictions(configuration: Configuration, source: TomlSource) -> list[Problem]:
    """Values that are right by themselves and wrong together."""
    found: list[Problem] = []

    def complain(section: str, key: str, wrong: str, remedy: str) -> None:
        found.append(Problem(source.file, source.line(section, key), f"{section}.{key}", wrong, remedy))

    ike, bootstrap, cluster = configuration.ike, configuration.bootstrap, configuration.cluster
    if ike.certificate and not ike.private_key:
        complain("ike", "certificate", "a certificate without its private key", "Add private_key to [ike].")
    if ike.private_key and not ike.certificate:
        complain("ike", "private_key", "a private key without its certificate", "Add certificate to [ike].")
    if ike.crl_policy == "hard" and not ike.crls:
        complain("ike", "crl_policy", '"hard" without revocation lists', "Name them by crls, or choose another policy.")
    if ike.redirect_to == configuration.home_agent.address:
        complain("ike", "redirect_to", "this home agent itself", "Name another one, or leave it out.")
    if bootstrap.backoff_initial_s > bootstrap.backoff_max_s:
        wrong = f"{bootstrap.backoff_initial_s} s is longer than backoff_max_s, {bootstrap.backoff_max_s} s"
        complain("bootstrap", "backoff_initial_s", wrong, "Make it shorter, or backoff_max_s longer.")
    if cluster.heartbeat_s > cluster.lease_s / 2:
        wrong = f"{cluster.heartbeat_s} s is more than half of lease_s, {cluster.lease_s} s"
        complain("cluster", "heartbeat_s", wrong, f"Write at most {cluster.lease_s / 2:g}, or make lease_s longer.")
    for first, second in combinations(configuration.home_agent.home_prefixes, 2):
        if first.overlaps(second):
            complain("home_agent", "home_prefixes", f"{first} and {second} overlap", "Remove one of them.")
    found += _pool_problems(configuration, source)
    interfaces = configuration.datapath.interfaces
    if len(set(interfaces)) < len(interfaces):
        complain("datapath", "interfaces", "an interface is named twice", "Name each once.")
    for name in configuration.datapath.home_links:
        if name not in interfaces and not configuration.datapath.vlans:
            complain("datapath", "home_links", f"{name} is not among the interfaces", "Add it to interfaces.")
    if len(str(configuration.control.socket).encode()) > _SOCKET_PATH_OCTETS:
        wrong = f"longer than {_SOCKET_PATH_OCTETS} octets, the most a Unix socket's path can have"
        complain("control", "socket", wrong, "Choose a shorter path, under /run for example.")
    return found


def _pool_problems(configuration: Configuration, source: TomlSource) -> list[Problem]:
    """Pools outside of the home prefixes, and more than one in the same."""
    found: list[Problem] = []
    seen: dict[IPv6Network, IPv6Network] = {}
    prefixes = configuration.home_agent.home_prefixes
    for pool in configuration.mobility.home_address_pools:
        home = next((prefix for prefix in prefixes if pool.subnet_of(prefix)), None)
        if home is None:
            wrong, remedy = f"{pool} is in none of the home prefixes", "Write a home prefix or a part of one."
        elif home in seen:
            wrong, remedy = f"{seen[home]} and {pool} are both of {home}", "Write one pool for each home prefix."
        else:
            seen[home] = pool
            continue
        line = source.line("mobility", "home_address_pools")
        found.append(Problem(source.file, line, "mobility.home_address_pools", wrong, remedy))
    return found
