"""What the kernel wants to know of a program's functions before it verifies each by itself: their types, as BTF.

All functions have one form (``bpf/cold.h``): the program's context and three numbers in, a number out.
"""

from __future__ import annotations

import struct

_MAGIC, _VERSION = 0xEB9F, 1
_HEADER = struct.Struct("=HBBIIIII")
_TYPE = struct.Struct("=III")
_PARAMETER = struct.Struct("=II")
_INTEGER, _POINTER, _STRUCTURE, _FUNCTION, _PROTOTYPE = 1, 2, 4, 12, 13
_OF_THE_FILE, _GLOBAL = 0, 1
"""Linkage: the kernel verifies a global function once, for whatever it may be called with."""
_NUMBER_ID, _CONTEXT_ID, _POINTER_ID, _ENTRY_PROTOTYPE_ID, ENTRY_ID, _FUNCTION_PROTOTYPE_ID, FUNCTION_ID = range(1, 8)


def type_information(context: str) -> bytes:
    """BTF of a program whose context is the C structure of this name.

    :data:`ENTRY_ID` is the type of the function that the kernel calls, :data:`FUNCTION_ID` that of all others.
    """
    strings = b"\0"
    names: dict[str, int] = {}
    for name in (context, "number", "context", "one", "two", "three", "entry", "function"):
        names[name] = len(strings)
        strings += name.encode("ascii") + b"\0"

    def head(name: str, kind: int, size_or_type: int, members: int = 0) -> bytes:
        return _TYPE.pack(names.get(name, 0), kind << 24 | members, size_or_type)

    context_parameter = _PARAMETER.pack(names["context"], _POINTER_ID)
    numbers = b"".join(_PARAMETER.pack(names[name], _NUMBER_ID) for name in ("one", "two", "three"))
    types = b"".join(
        (
            head("number", _INTEGER, 8) + struct.pack("=I", 64),
            head(context, _STRUCTURE, 4),
            head("", _POINTER, _CONTEXT_ID),
            head("", _PROTOTYPE, _NUMBER_ID, 1) + context_parameter,
            head("entry", _FUNCTION, _ENTRY_PROTOTYPE_ID, _OF_THE_FILE),
            head("", _PROTOTYPE, _NUMBER_ID, 4) + context_parameter + numbers,
            head("function", _FUNCTION, _FUNCTION_PROTOTYPE_ID, _GLOBAL),
        )
    )
    header = _HEADER.pack(_MAGIC, _VERSION, 0, _HEADER.size, 0, len(types), len(types), len(strings))
    return header + types + strings
