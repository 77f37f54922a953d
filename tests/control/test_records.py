"""Records are values: compared and hashed by their fields, frozen, and silent about what no log may show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, ClassVar

import pytest
from msgspec import Struct
from msgspec.structs import replace
from rich.pretty import pretty_repr

from control import ikev2, ipsec, mobility
from control.ikev2.keys import IkeKeys
from control.records import HashedByIdentity, MutableRecord, Record


class Pair(Record, frozen=True):
    left: int
    right: int = 2


class Locked(MutableRecord):
    hidden_fields: ClassVar[frozenset[str]] = frozenset({"key"})

    name: str
    key: bytes = b"secret"


def test_a_frozen_record_is_a_value() -> None:
    assert Pair(1) == Pair(1, 2) != Pair(1, 3)
    assert {Pair(1): "found"}[Pair(1, 2)] == "found"
    assert replace(Pair(1), right=4).right == 4
    assert not hasattr(Pair(1), "__dict__")
    assert repr(Pair(1)) == "Pair(left=1, right=2)"


def test_a_frozen_record_refuses_assignments() -> None:
    pair: Any = Pair(1)
    with pytest.raises(AttributeError):
        pair.left = 2


def test_one_without_equality_is_itself_only() -> None:
    class Thing(Record, frozen=True, eq=False):
        name: str

    assert Thing("a") != Thing("a")
    assert len({Thing("a"), Thing("a")}) == 2


@pytest.mark.parametrize("shown", [repr, str, "{}".format, pretty_repr])
def test_nothing_shows_a_hidden_field(shown: Any) -> None:
    locked = Locked("door")
    locked.key = b"another"
    assert shown(locked) == "Locked(name='door')"
    assert "key" not in shown(IkeKeys(*[b"key"] * 7))


SECRET = re.compile(r"(?<!public)_key$|^sk_|_token$|secret|password")


def kinds_of(base: type[Struct]) -> Iterator[Any]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def test_whatever_record_has_a_secret_hides_it() -> None:
    for package in (ikev2, ipsec, mobility):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    kinds = [kind for base in (Record, MutableRecord) for kind in kinds_of(base)]
    for kind in kinds:
        assert kind.hidden_fields <= set(kind.__struct_fields__), f"{kind} has no such field"
        secrets = {name for name in kind.__struct_fields__ if SECRET.search(name)}
        as_bytes = {name for name in secrets if kind.__annotations__.get(name, "bytes") == "bytes"}
        assert as_bytes <= kind.hidden_fields, f"{kind} shows a secret"
    assert {"ChildSa", "IkeKeys", "SecurityAssociation", "HomeTest"} <= {
        kind.__name__ for kind in kinds if kind.hidden_fields
    }


def test_members_of_enumerations_are_hashed_without_python() -> None:
    class Side(HashedByIdentity):
        LEFT = "left"
        ALSO_LEFT = "left"

    assert Side.__hash__ is object.__hash__
    assert {Side.LEFT: "found"}[Side("left")] == {Side.ALSO_LEFT: "found"}[Side.LEFT] == "found"
