"""Functions put behind the program that calls them, and what the kernel makes of it."""

from __future__ import annotations

import os
import struct

import pytest

from datapath.bpf_syscall import program_info, program_test_run
from datapath.errors import CompileFailed
from datapath.linking import Section, function_starts, link
from datapath.program_loading import ProgramType, program_load

FRAME = bytes(14)


def instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    return struct.pack("=BBhi", code, source << 4 | target, offset, number)


def result(number: int) -> bytes:
    return instruction(0xB7, 0, number=number)


def add(number: int) -> bytes:
    return instruction(0x07, 0, number=number)


def call(place: int) -> bytes:
    return instruction(0x85, source=1, number=place)


def section_of(code: bytes, first: bytes = b"") -> Section:
    return Section(first, lambda place: code[8 * place : 8 * place + 8])


EXIT = instruction(0x95)
WIDE = instruction(0x18, 5, number=7) + instruction(0)
"""One instruction in the place of two."""
NUMBERS = b"".join(instruction(0xB7, register) for register in (2, 3, 4))
"""Sets what a function gets beside the context, which is where it is needed already."""

# The first function, one that is not needed, one that jumps over its middle, one that calls it.
SECTION = b"".join(
    (
        *(result(0), EXIT),  # 0
        *(result(66), EXIT),  # 2
        *(WIDE, instruction(0x55, 2, offset=2, number=0), result(10), EXIT, result(20), EXIT),  # 4
        *(NUMBERS, call(-8 - 3), add(1), EXIT),  # 11
    )
)


def test_only_what_is_called_is_put_behind_the_program_and_each_call_leads_there():
    program = NUMBERS + call(11 - 1) + EXIT

    linked = link(program, section_of(SECTION))

    assert function_starts(linked) == [5, 11]
    assert linked == b"".join(
        (
            *(NUMBERS, call(1), EXIT),  # 0
            *(NUMBERS, call(2), add(1), EXIT),  # 5
            *(WIDE, instruction(0x55, 2, offset=2, number=0), result(10), EXIT, result(20), EXIT),  # 11
        )
    )


def test_a_program_without_functions_is_left_as_it_is():
    assert link(result(2) + EXIT, section_of(SECTION)) == result(2) + EXIT


def test_maps_are_those_that_the_first_function_names():
    def loads(number: int) -> bytes:
        return instruction(0x18, 1, 1, number=number) + instruction(0)

    section = loads(-2) + loads(-1) + WIDE + loads(33) + EXIT

    linked = link(call(-1) + EXIT, section_of(section, first=loads(21) + loads(22) + loads(-3) + EXIT))

    assert linked == call(1) + EXIT + loads(22) + loads(21) + WIDE + loads(33) + EXIT


@pytest.mark.namespaces
def test_the_kernel_runs_what_was_linked():
    program = NUMBERS + call(11 - 1) + EXIT
    descriptor = program_load(ProgramType.SOCKET_FILTER, link(program, section_of(SECTION)), "linked")
    try:
        assert program_test_run(descriptor, FRAME).verdict == 11
    finally:
        os.close(descriptor)


@pytest.mark.namespaces
def test_each_function_is_verified_once_and_for_itself():
    """Ten calls cost ten calls and one function; one that is told a number does not know which."""
    long_function = instruction(0xB7, 0) + add(1) * 1000 + EXIT
    calls = instruction(0xBF, 6, 1) + (instruction(0xBF, 1, 6) + NUMBERS + call(-1)) * 10 + EXIT
    descriptor = program_load(ProgramType.XDP, link(calls, section_of(long_function)), "linked")
    try:
        assert 1000 < program_info(descriptor).verified_instructions < 1200
    finally:
        os.close(descriptor)


@pytest.mark.namespaces
def test_what_the_verifier_refuses_is_told_in_its_words():
    wild = instruction(0x79, 0, 2) + EXIT  # reads where a number points

    with pytest.raises(CompileFailed, match=r"(?s)linked was refused.*R2 invalid mem access"):
        program_load(ProgramType.XDP, link(NUMBERS + call(-1) + EXIT, section_of(wild)), "linked")
