"""Programs with functions: those of a section of their own (``bpf/cold.h``), which bcc compiles and does not link."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from datapath.errors import CompileFailed

_INSTRUCTION = struct.Struct("=BBhi")
_CALL, _EXIT, _JUMP, _LOAD_WORD = 0x85, 0x95, 0x05, 0x18
_CLASS_MASK, _JUMP_CLASSES = 0x07, (0x05, 0x06)
_OF_THIS_PROGRAM = 1
"""Source register of a call that is not to the kernel, and of a load whose constant is a map's descriptor."""


class Instruction(NamedTuple):
    """One of the kernel's instructions; ``number`` is its constant."""

    code: int
    registers: int
    offset: int
    number: int

    @property
    def calls_function(self) -> bool:
        """Whether it calls a function of the program."""
        return self.code == _CALL and self.registers >> 4 == _OF_THIS_PROGRAM

    @property
    def loads_map(self) -> bool:
        """Whether it takes the address of a map."""
        return self.code == _LOAD_WORD and self.registers >> 4 == _OF_THIS_PROGRAM


class Section:
    """The functions, as bcc has compiled them: it knows the first only, which names all maps, and resolves those."""

    def __init__(self, first: bytes, read: Callable[[int], bytes]) -> None:
        """See what the first function is; ``read`` gives the instruction at a place, in bytes."""
        self._read = read
        self._maps = [each.number for each in _instructions(first) if each.loads_map]

    def __getitem__(self, place: int) -> Instruction:
        """The instruction at a place, with the descriptor of a map where it wants one."""
        each = Instruction(*_INSTRUCTION.unpack(self._read(place)))
        if each.loads_map and each.number < 0:  # the map's number, counted downwards
            return each._replace(number=self._maps[-1 - each.number])
        return each

    def function(self, start: int) -> list[Instruction]:
        """The function that begins at a place: all instructions that it reaches."""
        reached: dict[int, Instruction] = {}
        waiting = [start]
        while waiting:
            index = waiting.pop()
            if index in reached:
                continue
            each = reached[index] = self[index]
            if each.code == _LOAD_WORD:
                reached[index + 1] = self[index + 1]
                waiting.append(index + 2)
                continue
            if each.code not in (_EXIT, _JUMP):
                waiting.append(index + 1)
            if each.code & _CLASS_MASK in _JUMP_CLASSES and each.code not in (_CALL, _EXIT):
                waiting.append(index + each.offset + 1)
        places = sorted(reached)
        if places != list(range(start, start + len(places))):
            raise CompileFailed("A function is not in one piece: report this, with the version of bcc and LLVM.")
        return [reached[place] for place in places]


def link(program: bytes, section: Section) -> bytes:
    """Puts the functions that a program needs behind it.

    Args:
        program: its instructions. A call to a function has the function's place in the section, less one.
        section: calls of its functions to each other are relative, as the kernel wants them.

    Raises:
        CompileFailed: the compiler has done something unheard of.
    """
    linked = list(_instructions(program))
    places = [each.number + 1 if each.calls_function else None for each in linked]
    starts: dict[int, int] = {}
    done = 0
    while done < len(places):
        place = places[done]
        done += 1
        if place is None or place in starts:
            continue
        starts[place] = len(linked)
        for index, each in enumerate(section.function(place), place):
            linked.append(each)
            places.append(index + each.number + 1 if each.calls_function else None)
    for index, place in enumerate(places):
        if place is not None:
            linked[index] = linked[index]._replace(number=starts[place] - index - 1)
    return b"".join(_INSTRUCTION.pack(*each) for each in linked)


def function_starts(program: bytes) -> list[int]:
    """The indices of the instructions that the functions of a linked program begin with, but for the first."""
    calls = enumerate(_instructions(program))
    return sorted({index + each.number + 1 for index, each in calls if each.calls_function})


def _instructions(code: bytes) -> Iterator[Instruction]:
    return (Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(code))
