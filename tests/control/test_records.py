"""Records are values: compared and hashed by their fields, frozen, and silent about what no log may show."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from msgspec.structs import replace
from rich.pretty import pretty_repr

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


def test_members_of_enumerations_are_hashed_without_python() -> None:
    class Side(HashedByIdentity):
        LEFT = "left"
        ALSO_LEFT = "left"

    assert Side.__hash__ is object.__hash__
    assert {Side.LEFT: "found"}[Side("left")] == {Side.ALSO_LEFT: "found"}[Side.LEFT] == "found"
