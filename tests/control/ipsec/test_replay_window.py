"""The sliding window against a plain set of everything received."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.ipsec.replay_window import ReplayWindow

# Small steps around one point, with jumps as large as a sequence number allows now and then.
SEQUENCES = st.lists(
    st.one_of(st.integers(0, 200), st.integers(2**32 - 200, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=120
)


@given(SEQUENCES, st.sampled_from([32, 64, 1024]))
def test_window_agrees_with_a_set_of_all_that_was_received(sequence_numbers: list[int], size: int) -> None:
    window, received = ReplayWindow(size), set()
    for number in sequence_numbers:
        expected_new = number != 0 and number not in received and number > max(received, default=0) - size
        refusal = window.check(number)
        assert (refusal is None) == expected_new
        if refusal is None:
            window.accept(number)
            received.add(number)
        assert window.highest == max(received, default=0)


def test_reasons_tell_duplicates_from_stragglers() -> None:
    window = ReplayWindow(64)
    for number in (1, 100):
        window.accept(number)
    assert window.check(100) == "replay"
    assert window.check(37) is None  # the left edge of a window of 64 that ends at 100
    assert window.check(36) == "too-old"
    assert window.check(0) == "replay"  # never a first time: a sender starts at 1
    assert ReplayWindow().check(0) == "replay"


def test_check_alone_changes_nothing() -> None:
    window = ReplayWindow()
    assert window.check(2**32 - 1) is None
    assert window.check(1) is None
    assert window.highest == 0


def test_a_window_below_the_minimum_is_refused() -> None:
    with pytest.raises(ValueError, match="minimum of 32"):
        ReplayWindow(31)
