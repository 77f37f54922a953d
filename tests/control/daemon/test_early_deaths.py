"""Daemons that die soon after they have joined leave their nodes to others."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.cluster.store import LeaseRecord
from control.daemon.early_deaths import EarlyDeaths, leave_to_others
from control.daemon.membership import Clocks, MembershipSettings

SETTINGS = MembershipSettings("ha1", IPv6Address("2001:db8:a1::1"), 3.0, 1.0, True, 100)
WALL = 1e9


def test_some_in_a_row_are_too_many_and_one_that_lives_makes_up_for_all(tmp_path):
    file = tmp_path / "control.deaths"
    for _ in range(3):
        deaths = EarlyDeaths(file)  # a new process
        assert not deaths.are_too_many
        deaths.joined()
    assert EarlyDeaths(file).are_too_many
    EarlyDeaths(file).joined()
    assert EarlyDeaths(file).are_too_many
    EarlyDeaths(file).sound()
    assert not EarlyDeaths(file).are_too_many
    EarlyDeaths(file).sound()


def test_a_file_that_is_of_no_use_keeps_nobody_from_serving(tmp_path, caplog):
    file = tmp_path / "control.deaths"
    file.write_text("nonsense")
    assert not EarlyDeaths(file).are_too_many
    missing = EarlyDeaths(tmp_path / "no such folder" / "control.deaths")
    missing.joined()
    assert not missing.are_too_many
    (tmp_path / "folder").mkdir()
    EarlyDeaths(tmp_path / "folder").sound()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def lease(name, left_s):
    return LeaseRecord(name, IPv6Address("2001:db8:a1::1"), 1, WALL + left_s)


class Waiting:
    """What the store says at each look, the last for ever, and how long it takes."""

    def __init__(self, *looks):
        self.looks, self.now, self.told = list(looks), 100.0, []

    async def run(self, operation):
        return operation(SimpleNamespace(leases=lambda: self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]))

    async def sleep(self, seconds):
        self.now += seconds

    def wait(self):
        clocks = Clocks(lambda: self.now, lambda: WALL + self.now - 100.0)
        asyncio.run(leave_to_others(SETTINGS, self, clocks, self.told.append, self.sleep))
        return self.now - 100.0


@pytest.mark.parametrize(
    "leases",
    [[], [lease("ha1", 2.0)], [lease("ha2", 2.0)], [lease("ha1", 2.0), lease("ha2", -1.0)]],
    ids=["nobody", "alone", "claimed already", "the other is dead"],
)
def test_without_anybody_to_leave_them_to_nobody_waits(leases):
    waiting = Waiting(leases)
    assert waiting.wait() == 0.0
    assert waiting.told == []


def test_others_are_waited_for_until_they_have_claimed_it_all():
    both, other = [lease("ha1", 2.0), lease("ha2", 60.0)], [lease("ha2", 60.0)]
    waiting = Waiting(both, both, both, both, other)
    assert waiting.wait() == 4.0
    assert waiting.told == [8.0, 7.0, 6.0, 5.0]


@pytest.mark.parametrize(("left_s", "waited_s"), [(2.0, 8.0), (-100.0, 6.0), (1000.0, 9.0)])
def test_others_that_never_claim_are_not_waited_for_for_ever(left_s, waited_s):
    assert Waiting([lease("ha1", left_s), lease("ha2", 60.0)]).wait() == waited_s
