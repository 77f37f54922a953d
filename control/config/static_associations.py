"""Security associations with keys written by hand: tables of one direction each become pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from control.config.load import SectionReader
from control.config.node_entries import SecurityAssociationEntry
from control.config.problems import ConfigurationError
from control.config.toml_source import TomlSource, read_text
from control.ipsec.algorithms import CipherSuite
from control.ipsec.static import PROTECTED_PROTOCOLS, STATIC_SPIS, STATIC_SUITES, StaticKeying, StaticPair

TABLE = "security_association"
_SECRET_KEYS = ("key",)
_NO_COUNTER_MODES = ("gcm", "ccm", "ctr", "chacha20")
_Path = tuple[str | int, ...]


class StaticAssociationReader:
    """Reads the tables of one file, and watches that no SPI and no key is written twice in it."""

    def __init__(self, reader: SectionReader, source: TomlSource) -> None:
        """Start with an empty file.

        Args:
            reader: collects what is wrong.
            source: the file.
        """
        self._reader = reader
        self._source = source
        self._inbound_spis: dict[int, int | None] = {}
        self._keys: dict[bytes, int | None] = {}

    def read(self, tables: object, parent: _Path, name: str) -> tuple[StaticPair, ...]:
        """The pairs of the tables below ``parent``; mistakes are collected, and what they concern is left out.

        Args:
            tables: what stands under the key ``security_association`` there.
            parent: where that key stands.
            name: what messages call that place.
        """
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            line = self._source.line(*parent, TABLE)
            remedy = f"Write [[{name}.{TABLE}]] with two brackets each."
            self._reader.complain(line, f"{name}.{TABLE}", "not a list of tables", remedy)
            return ()
        found: dict[str, dict[str, StaticKeying]] = {}
        for index, table in enumerate(tables):
            place = (*parent, TABLE, index)
            entry = self._reader.read(SecurityAssociationEntry, table, place, f"{name}.{TABLE}", _SECRET_KEYS)
            keying = self._keying(entry, place, name) if entry is not None else None
            if entry is None or keying is None:
                return ()  # what is missing from a pair because of this mistake is not another one
            directions = found.setdefault(entry.protects, {})
            if entry.direction in directions:
                wrong = f'a second association of direction "{entry.direction}" for {entry.protects}'
                self._complain(place, name, "direction", wrong, "A pair has one of each direction: remove one.")
            directions[entry.direction] = keying
        return self._pairs(found, parent, name)

    def require_mobility(self, pairs: Sequence[StaticPair], parent: _Path, name: str) -> None:
        """Complain if there is no pair that Binding Updates could use; silent after other mistakes of these tables."""
        if not any(pair.protocol == PROTECTED_PROTOCOLS["mobility"] for pair in pairs) and not self._reader.problems:
            wrong = 'there are no security associations of direction "in" and "out" for mobility'
            remedy = f"Write two [[{name}.{TABLE}]] below it, or another authentication."
            self._reader.complain(self._source.line(*parent), f"{name}.authentication", wrong, remedy)

    def _pairs(
        self, found: Mapping[str, Mapping[str, StaticKeying]], parent: _Path, name: str
    ) -> tuple[StaticPair, ...]:
        pairs = []
        for protects, directions in found.items():
            if len(directions) == 2:
                pairs.append(StaticPair(PROTECTED_PROTOCOLS[protects], directions["in"], directions["out"]))
                continue
            (given,) = directions
            other = "out" if given == "in" else "in"
            wrong = f'{protects} has a security association of direction "{given}" and none of direction "{other}"'
            line = self._source.line(*parent, TABLE, 0)
            self._reader.complain(line, f"{name}.{TABLE}", wrong, f'Add one with direction = "{other}".')
        return tuple(pairs)

    def _keying(self, entry: SecurityAssociationEntry, place: _Path, name: str) -> StaticKeying | None:
        """One direction, None after a complaint."""
        before = len(self._reader.problems)
        suite = STATIC_SUITES.get(entry.algorithm)
        if suite is None:
            self._complain(place, name, "algorithm", *_algorithm_mistake(entry.algorithm))
        if entry.direction == "in":
            self._check_spi(entry.spi, place, name)
        key = self._key(entry, place, name)
        if key is not None and suite is not None:
            self._check_key(key, suite, entry, place, name)
        if suite is None or key is None or len(self._reader.problems) > before:
            return None
        return StaticKeying(entry.spi, suite, key)

    def _check_spi(self, spi: int, place: _Path, name: str) -> None:
        if spi not in STATIC_SPIS:
            wrong = f"{spi:#x} could be chosen for an association of IKE"
            remedy = f"Choose one from {STATIC_SPIS[0]} to {STATIC_SPIS[-1]}, and write it to the sender's file too."
            self._complain(place, name, "spi", wrong, remedy)
        elif spi in self._inbound_spis:
            wrong = f"{spi:#x} is already that of the association in line {self._inbound_spis[spi]}"
            self._complain(place, name, "spi", wrong, "Choose another one for one of them.")
        else:
            self._inbound_spis[spi] = self._source.line(*place)

    def _key(self, entry: SecurityAssociationEntry, place: _Path, name: str) -> bytes | None:
        if (entry.key is None) == (entry.key_file is None):
            wrong = "no key" if entry.key is None else "two keys"
            self._complain(place, name, "key", wrong, "Give either key or key_file.")
            return None
        if entry.key is not None:
            text, where = entry.key, "key"
        else:
            assert entry.key_file is not None
            where = "key_file"
            try:
                text = read_text(entry.key_file).removesuffix("\n")
            except ConfigurationError as error:
                problem = error.problems[0]
                self._complain(place, name, where, f"{problem.file}: {problem.wrong}", problem.remedy)
                return None
        try:
            return bytes.fromhex(text.removeprefix("0x"))
        except ValueError:
            self._complain(place, name, where, "not 0x and pairs of hexadecimal digits", "Correct the digits.")
            return None

    def _check_key(
        self, key: bytes, suite: CipherSuite, entry: SecurityAssociationEntry, place: _Path, name: str
    ) -> None:
        encryption, integrity = suite.encryption_key_size, suite.integrity_key_size
        where = "key" if entry.key is not None else "key_file"
        if len(key) != encryption + integrity:
            wrong = f"{len(key)} octets, where {entry.algorithm} takes {encryption} and {integrity}"
            self._complain(place, name, where, wrong, f"Make one with: openssl rand -hex {encryption + integrity}")
            return
        digest = hashlib.sha256(key).digest()
        if digest in self._keys:
            wrong = f"the same key as that of the association in line {self._keys[digest]}"
            remedy = "Each needs its own (RFC 6275 section 5.1): openssl rand -hex " + str(len(key))
            self._complain(place, name, where, wrong, remedy)
        self._keys[digest] = self._source.line(*place)

    def _complain(self, place: _Path, name: str, key: str, wrong: str, remedy: str) -> None:
        self._reader.complain(self._source.line(*place, key), f"{name}.{TABLE}.{key}", wrong, remedy)


def take_tables(table: Mapping[str, Any]) -> tuple[dict[str, Any], object]:
    """A table without its security associations, and those."""
    rest = {key: value for key, value in table.items() if key != TABLE}
    return rest, table.get(TABLE, [])


def _algorithm_mistake(algorithm: str) -> tuple[str, str]:
    names = ", ".join(STATIC_SUITES)
    if any(mode in algorithm.lower() for mode in _NO_COUNTER_MODES):
        wrong = f"{algorithm} must not be used with keys written by hand: after a restart it would repeat itself"
        return wrong, f"Use aes128-sha256 or aes256-sha256, or IKE (RFC 4106 section 8.1). There are: {names}."
    return f'there is no algorithm "{algorithm}"', f"Write one of {names}."
