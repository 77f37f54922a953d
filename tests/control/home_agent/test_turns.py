"""The number of messages that fills a turn."""

from __future__ import annotations

import pytest

from control.home_agent.turns import TurnSize


@pytest.mark.parametrize(
    ("elapsed_s", "size"), [(0.0, 64), (0.002, 64), (0.004, 64), (0.008, 32), (0.064, 4), (1.0, 1)]
)
def test_it_fits_what_messages_cost(elapsed_s, size):
    turn = TurnSize(0.004, 64)
    turn.took(64, elapsed_s)
    assert turn.size == size


def test_it_grows_in_steps():
    turn = TurnSize(0.004, 64)
    turn.took(64, 1.0)
    sizes = []
    for _ in range(8):
        sizes.append(turn.size)
        turn.took(turn.size, 0.0001)
    assert sizes == [1, 2, 4, 8, 16, 32, 64, 64]
