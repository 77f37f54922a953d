"""Compiled programs in files: what is in them, what is put in when they are loaded, and which are believed."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from threading import Thread

import pytest

from datapath.errors import CompileFailed
from datapath.object_code import FILLED_IN, ObjectCode
from datapath.program_cache import alone, cached, keep


def load_64_bits(register: int, source: int, number: int) -> bytes:
    return struct.pack("=BBhIBBhI", 0x18, source << 4 | register, 0, number & 0xFFFF_FFFF, 0, 0, 0, number >> 32)


RETURN = bytes.fromhex("b700000002000000 9500000000000000")
COMPILED = load_64_bits(1, 1, 7) + load_64_bits(2, 0, FILLED_IN + 1) + load_64_bits(3, 0, 7) + RETURN
CODE = ObjectCode.of(COMPILED, {7: "bindings"}, "headers")


def test_maps_and_numbers_come_in_when_it_is_linked() -> None:
    linked = CODE.linked({"bindings": 19}.__getitem__, [1, 0x8000_0002_F000_0003])
    expected = load_64_bits(1, 1, 19) + load_64_bits(2, 0, 0x8000_0002_F000_0003) + load_64_bits(3, 0, 7) + RETURN
    assert linked == expected
    assert CODE.instructions[4:8] == bytes(4)


def test_the_offset_into_the_value_of_a_map_stays() -> None:
    code = ObjectCode.of(load_64_bits(1, 2, 24 << 32 | 7) + RETURN, {7: "stats"}, "headers")
    assert code.linked({"stats": 3}.__getitem__, []) == load_64_bits(1, 2, 24 << 32 | 3) + RETURN


def test_a_map_without_a_name_is_refused() -> None:
    with pytest.raises(CompileFailed, match="Instruction 0"):
        ObjectCode.of(COMPILED, {8: "bindings"}, "headers")


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    keep("program", CODE, tmp_path / "cache")
    assert cached("program", tmp_path / "cache") == CODE
    assert cached("another", tmp_path / "cache") is None
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["program"]


@pytest.mark.parametrize("position", range(0, len(CODE.to_bytes()), 7))
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, position: int) -> None:
    keep("program", CODE, tmp_path)
    data = bytearray(CODE.to_bytes())
    data[position] ^= 1
    (tmp_path / "program").write_bytes(data)
    assert cached("program", tmp_path) is None
    (tmp_path / "program").write_bytes(CODE.to_bytes()[:position])
    assert cached("program", tmp_path) is None


def test_what_others_could_have_written_is_not_believed(tmp_path: Path) -> None:
    keep("program", CODE, tmp_path)
    (tmp_path / "program").chmod(0o666)
    assert cached("program", tmp_path) is None
    (tmp_path / "program").chmod(0o644)
    tmp_path.chmod(0o777)
    assert cached("program", tmp_path) is None
    tmp_path.chmod(0o755)
    assert cached("program", tmp_path) == CODE
    (tmp_path / "link").symlink_to(tmp_path / "program")
    assert cached("link", tmp_path) is None


def test_those_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapath.program_cache._MOST_PROGRAMS", 3)
    for number in range(3):
        keep(f"program{number}", CODE, tmp_path)
        os.utime(tmp_path / f"program{number}", (number, number))
    assert cached("program0", tmp_path)
    keep("program3", CODE, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["program0", "program2", "program3"]


def test_a_directory_that_cannot_be_made_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keep("program", CODE, tmp_path / "file" / "cache")
    assert cached("program", tmp_path / "file" / "cache") is None


def test_only_one_compiles_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    def other() -> None:
        with alone("program", tmp_path):
            order.append("other")

    waiting = Thread(target=other)
    with alone("program", tmp_path):
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "other"]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with alone("program", tmp_path / "file"):
        order.append("without a lock")
    assert order[-1] == "without a lock"
