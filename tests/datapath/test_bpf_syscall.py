"""The bpf(2) wrapper: maps of their own, and what an unprivileged caller is told."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapath.bpf_syscall import Map, MapType, map_create, possible_processors
from datapath.errors import MapFull

pytestmark = pytest.mark.namespaces

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hash_map():
    with Map(map_create(MapType.HASH, 4, 8, 600, "test")) as opened:
        yield opened


def key(number: int) -> bytes:
    return struct.pack("=I", number)


def fill(opened: Map, entries: dict[bytes, bytes]) -> None:
    for of_entry, value in entries.items():
        opened.update(of_entry, value)


def test_one_entry(hash_map):
    assert hash_map.lookup(key(1)) is None
    hash_map.update(key(1), b"abcdefgh")
    assert hash_map.lookup(key(1)) == b"abcdefgh"
    assert hash_map.delete(key(1))
    assert not hash_map.delete(key(1))
    assert hash_map.info.name == "test"


def test_batches_carry_everything(hash_map):
    wanted = {key(number): struct.pack("=Q", number * 3) for number in range(600)}
    fill(hash_map, wanted)

    found = {}
    for keys, values, count in hash_map.lookup_batches(batch_size=1):
        for at in range(count):
            found[keys[at * 4 : at * 4 + 4]] = values[at * 8 : at * 8 + 8]
    assert found == wanted
    assert set(hash_map.keys()) == set(wanted)

    hash_map.delete_batch(b"".join(list(wanted)[10:]))
    assert set(hash_map.keys()) == set(list(wanted)[:10])


def test_too_many_entries(hash_map):
    fill(hash_map, {key(number): bytes(8) for number in range(600)})
    with pytest.raises(MapFull, match="600 entries"):
        hash_map.update(key(600), bytes(8))


def test_wrong_sizes_are_a_programming_error(hash_map):
    with pytest.raises(ValueError, match="key of 3 bytes"):
        hash_map.lookup(b"abc")
    with pytest.raises(ValueError, match="value of 4 bytes"):
        hash_map.update(key(1), b"abcd")


def test_values_of_every_processor():
    with Map(map_create(MapType.PERCPU_ARRAY, 4, 8, 3, "test")) as array:
        value = b"".join(struct.pack("=Q", number) for number in range(possible_processors()))
        array.update(key(1), value)
        assert array.lookup(key(1)) == value
        assert array.lookup(key(3)) is None


@given(st.dictionaries(st.integers(0, 50), st.integers(0, 2**64 - 1), max_size=40), st.sets(st.integers(0, 60)))
@settings(max_examples=100, deadline=None)
def test_batches_agree_with_a_dictionary(entries, gone):
    with Map(map_create(MapType.HASH, 4, 8, 64, "test")) as opened:
        fill(opened, {key(number): struct.pack("=Q", value) for number, value in entries.items()})
        opened.delete_batch(b"".join(map(key, gone)))
        left = {int.from_bytes(k, sys.byteorder) for k in opened.keys()}  # noqa: SIM118
        assert left == entries.keys() - gone


LOAD = (
    "from ipaddress import IPv6Address; from datapath.loader import load, LoaderOptions; "
    "load(LoaderOptions(['lo'], path, [IPv6Address('::2')], 8))"
)


def as_nobody(code: str, path: Path) -> str:
    """Runs the code as an unprivileged user; returns the slug and the message of the DatapathError it raises."""
    wrapped = (
        f"from pathlib import Path\nfrom datapath.errors import DatapathError\npath = Path({str(path)!r})\n"
        f"try:\n    {code}\nexcept DatapathError as error:\n    print(error.reason, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", wrapped], capture_output=True, text=True, check=False, cwd=ROOT, user=65534, group=65534
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "from datapath.bindings import BindingMap; BindingMap.open(path)",
        "from datapath.counters import read_counters; read_counters(path)",
        "from datapath.show import show; show(path)",
        "from datapath.unload import unload; unload(path)",
        LOAD,
    ],
)
def test_without_privilege_the_message_says_how_to_run(testbed, code):
    said = as_nobody(code, testbed.pin_path)

    assert said.startswith("privilege-required ")
    assert "run as root" in said


def test_without_privilege_nothing_is_loaded(pin_path):
    said = as_nobody(LOAD, pin_path)

    assert said.startswith("privilege-required ")
    assert "run as root" in said
    assert not pin_path.exists()
