"""Records behave as frozen dataclasses do, but for being frozen at run time."""

from __future__ import annotations

from dataclasses import field, replace

from control.records import HashedByIdentity, dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    left: int
    right: int = field(default=2, compare=False)


def test_a_frozen_record_is_a_value() -> None:
    assert Pair(1) == Pair(1, 3)
    assert {Pair(1): "found"}[Pair(1, 3)] == "found"
    assert replace(Pair(1), right=4).right == 4
    assert not hasattr(Pair(1), "__dict__")


def test_one_without_equality_is_itself_only() -> None:
    @dataclass(frozen=True, slots=True, eq=False)
    class Thing:
        name: str

    assert Thing("a") != Thing("a")
    assert len({Thing("a"), Thing("a")}) == 2


def test_members_of_enumerations_are_hashed_without_python() -> None:
    class Side(HashedByIdentity):
        LEFT = "left"
        ALSO_LEFT = "left"

    assert Side.__hash__ is object.__hash__
    assert {Side.LEFT: "found"}[Side("left")] == {Side.ALSO_LEFT: "found"}[Side.LEFT] == "found"
