"""What all codecs share, where no codec's own tests reach."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.wire import WireError, Writer, address_text

GROUPS = st.lists(st.sampled_from((0, 0, 0, 1, 0xFFFF, 0x20)), min_size=8, max_size=8)


@given(GROUPS)
def test_addresses_are_written_as_python_writes_them(groups: list[int]) -> None:
    address = IPv6Address(b"".join(group.to_bytes(2, "big") for group in groups))
    assert address_text.__wrapped__(address) == str(address)


@pytest.mark.parametrize("text", ["::", "::1", "1::", "fe80::1%core0", "1:2:3:4:5:6:7:8", "1:0:2:3:4:5:6:7", "::1:2"])
def test_so_are_the_ends_of_what_there_is(text: str) -> None:
    assert address_text(IPv6Address(text)) == text


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WireError, match="field-overflow"):
        Writer().u8(256)
