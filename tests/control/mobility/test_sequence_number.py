from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.mobility.sequence_number import is_newer

numbers = st.integers(0, 0xFFFF)


@pytest.mark.parametrize("candidate", [0, 7, 15, 32783, 40000, 65535])
def test_the_example_of_the_rfc_not_newer_than_15(candidate: int) -> None:
    assert not is_newer(candidate, 15)


@pytest.mark.parametrize("candidate", [16, 1000, 32782])
def test_the_example_of_the_rfc_newer_than_15(candidate: int) -> None:
    assert is_newer(candidate, 15)


@given(last=numbers, step=st.integers(1, 0x7FFF))
def test_the_next_32767_numbers_are_newer_across_the_wrap(last: int, step: int) -> None:
    assert is_newer((last + step) % 65536, last)
    assert not is_newer(last, (last + step) % 65536)


@given(last=numbers, step=st.integers(0, 0x8000))
def test_a_number_and_the_32768_before_it_are_not(last: int, step: int) -> None:
    assert not is_newer((last - step) % 65536, last)
