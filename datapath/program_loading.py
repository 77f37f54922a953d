"""Having the kernel verify programs and take them."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from enum import IntEnum

from datapath.bpf_commands import Command, address, call, failure, input_buffer
from datapath.errors import CompileFailed
from datapath.linking import function_starts
from datapath.type_information import ENTRY_ID, FUNCTION_ID, type_information

_FUNCTION = struct.Struct("=II")
_REFUSALS = (-errno.EACCES, -errno.EINVAL, -errno.E2BIG, -errno.EPERM)
_LOG_SIZE = 1 << 28
"""Of the verifier's words; only what it writes takes memory. Before Linux 6.4 it is the end that does not fit."""
_LAST_BYTES = 1 << 14
_LAST_LINES = 40


class ProgramType(IntEnum):
    """Kinds of programs used here (enum bpf_prog_type)."""

    SOCKET_FILTER = 1
    SCHED_CLS = 3
    XDP = 6


def program_load(kind: int, instructions: bytes, name: str) -> int:
    """Loads a program, with the functions that it calls behind it; returns its descriptor.

    Raises:
        CompileFailed: the verifier does not accept it.
        DatapathError: another failure.
    """
    starts = function_starts(instructions)
    if not starts:
        return _load(kind, instructions, name, 0, b"")
    # Packets are what programs of all these kinds are about.
    types = input_buffer(type_information("xdp_md" if kind == ProgramType.XDP else "__sk_buff"))
    descriptor, _ = call(Command.BTF_LOAD, struct.pack("=QQI", address(types), 0, len(types)))
    if descriptor < 0:
        raise failure(-descriptor, "Telling the kernel the types of functions")
    try:
        functions = [(0, ENTRY_ID), *((start, FUNCTION_ID) for start in starts)]
        return _load(kind, instructions, name, descriptor, b"".join(_FUNCTION.pack(*each) for each in functions))
    finally:
        os.close(descriptor)


def _load(kind: int, instructions: bytes, name: str, types: int, functions: bytes) -> int:
    result = _ask(kind, instructions, name, types, functions, None)
    if result >= 0:
        return result
    if result not in _REFUSALS:
        raise failure(-result, f"Loading the program {name}")
    # Once more for the verifier's words, which take much longer to write than to do without.
    with mmap.mmap(-1, _LOG_SIZE) as log:
        again = _ask(kind, instructions, name, types, functions, (ctypes.c_char * _LOG_SIZE).from_buffer(log))
        end = log.find(b"\0")
        words = log[max(0, end - _LAST_BYTES) : end].decode(errors="replace")
    if again >= 0:
        return again
    if not words:
        raise failure(-result, f"Loading the program {name}")
    raise CompileFailed(
        f"The program {name} was refused ({os.strerror(-result)}): report this with the text below.\n"
        + "\n".join(words.splitlines()[-_LAST_LINES:])
    )


def _ask(
    kind: int, instructions: bytes, name: str, types: int, functions: bytes, log: ctypes.Array[ctypes.c_char] | None
) -> int:
    code, licence, table = input_buffer(instructions), input_buffer(b"GPL\0"), input_buffer(functions)
    attributes = struct.pack(
        "=IIQQIIQII16sIIIIQI",
        *(kind, len(instructions) // 8, address(code), address(licence)),
        *(0 if log is None else 1, 0 if log is None else len(log), address(log)),
        *(0, 0, name.encode("ascii")[:15], 0, 0, types, _FUNCTION.size if functions else 0),
        *(address(table) if functions else 0, len(functions) // _FUNCTION.size),
    )
    return call(Command.PROG_LOAD, attributes)[0]
