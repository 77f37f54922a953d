"""Programs as the compiler leaves them, before the kernel has seen them: to be kept in a file and linked when loaded.

Maps, secrets and addresses are named in it, not contained: the same file serves every home agent compiled alike, and
who reads it learns nothing. Two forms of the instruction "load 64 bits" stand for them: one with the number of an open
map, one with a number out of a reserved range (bpf/filled_in.h has the same).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from datapath.errors import CompileFailed
from datapath.layout import SINGLE_VALUES

FILLED_IN = 0x5EC7_E75E_C7E7_5E00
"""First of the numbers that stand for what is filled in."""
MEMORY_OF_MAP = 0x5EC7_E75E_C7E7_5F00
"""First of the numbers that stand for the memory of a map, in the order of SINGLE_VALUES."""
_MAP_VALUE = 2 << 4
"""Source register of an instruction that loads the address of a map's value."""
_LOAD_64_BITS = 0x18  # BPF_LD | BPF_IMM | BPF_DW, of two instructions
_OF_A_MAP = (1, 2)  # BPF_PSEUDO_MAP_FD and BPF_PSEUDO_MAP_VALUE
_INSTRUCTION = struct.Struct("=BBhi")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class ObjectCode:
    """One program, not linked.

    Attributes:
        instructions: of eight bytes each, in the processor's byte order.
        maps: name of the map by the index of the instruction that loads it.
        compiled_with: the kernel headers it was compiled against.
    """

    instructions: bytes
    maps: Mapping[int, str]
    compiled_with: str

    @classmethod
    def of(cls, instructions: bytes, names: Mapping[int, str], compiled_with: str) -> ObjectCode:
        """Takes the numbers of open maps out of compiled instructions.

        Args:
            instructions: as they came from the compiler.
            names: names of the maps by their numbers.
            compiled_with: see the attribute.

        Raises:
            CompileFailed: a map has no name.
        """
        code, maps = bytearray(instructions), {}
        for index, source, number in _loads_of_64_bits(instructions):
            if not source and MEMORY_OF_MAP <= number < MEMORY_OF_MAP + len(SINGLE_VALUES):
                maps[index] = SINGLE_VALUES[number - MEMORY_OF_MAP]
                code[8 * index + 1] |= _MAP_VALUE
                struct.pack_into("=i", code, 8 * index + 4, 0)
                struct.pack_into("=i", code, 8 * index + 12, 0)
            elif source in _OF_A_MAP:
                if number & 0xFFFF_FFFF not in names:
                    raise CompileFailed(f"Instruction {index} uses a map nobody knows: report this.")
                maps[index] = names[number & 0xFFFF_FFFF]
                struct.pack_into("=i", code, 8 * index + 4, 0)
        return cls(bytes(code), maps, compiled_with)

    def linked(self, map_number: Callable[[str], int], filled_in: Sequence[int]) -> bytes:
        """The instructions with everything in place.

        Args:
            map_number: descriptor of an open map by its name.
            filled_in: numbers of 64 bits by their places.
        """
        code = bytearray(self.instructions)
        for index, name in self.maps.items():
            struct.pack_into("=i", code, 8 * index + 4, map_number(name))
        for index, source, number in _loads_of_64_bits(self.instructions):
            if not source and FILLED_IN <= number < FILLED_IN + len(filled_in):
                real = filled_in[number - FILLED_IN]
                struct.pack_into("=I", code, 8 * index + 4, real & 0xFFFF_FFFF)
                struct.pack_into("=I", code, 8 * index + 12, real >> 32)
        return bytes(code)

    def to_bytes(self) -> bytes:
        """As it is kept in a file."""
        content = {
            "format": _FORMAT,
            "compiled_with": self.compiled_with,
            "maps": {str(index): name for index, name in self.maps.items()},
            "instructions": self.instructions.hex(),
        }
        body = json.dumps(content).encode()
        return sha256(body).hexdigest().encode() + b"\n" + body + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> ObjectCode | None:
        """Reads what :meth:`to_bytes` wrote; None if it is not whole, or of another time."""
        checksum, _, body = data.partition(b"\n")
        if sha256(body.removesuffix(b"\n")).hexdigest().encode() != checksum:
            return None
        content = json.loads(body)
        if content["format"] != _FORMAT:
            return None
        maps = {int(index): name for index, name in content["maps"].items()}
        return cls(bytes.fromhex(content["instructions"]), maps, content["compiled_with"])


def _loads_of_64_bits(instructions: bytes) -> Iterator[tuple[int, int, int]]:
    """Index, source and number of each instruction that loads 64 bits."""
    index, end = 0, len(instructions) // 8
    while index < end:
        operation, registers, _, low = _INSTRUCTION.unpack_from(instructions, 8 * index)
        if operation == _LOAD_64_BITS and index + 1 < end:
            high = _INSTRUCTION.unpack_from(instructions, 8 * index + 8)[3]
            yield index, registers >> 4, (high & 0xFFFF_FFFF) << 32 | low & 0xFFFF_FFFF
            index += 1
        index += 1
