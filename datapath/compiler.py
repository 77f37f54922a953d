"""Compiles the programs with bcc and has the kernel verify them. Imports LLVM: only the loader uses this module."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from datapath.bpf_syscall import opened
from datapath.errors import CompileFailed, CompilerUnavailable, NotLoaded
from datapath.kernel_headers import kernel_source
from datapath.layout import (
    FRAGMENTATION_PROGRAM_NAME,
    HOME_LINK_PROGRAM_NAME,
    PROGRAM_NAME,
    TUNNEL_FILTER_PROGRAM_NAME,
    map_specifications,
)
from datapath.linking import Section, link
from datapath.object_code import ObjectCode
from datapath.program_cache import CACHE, alone, cached, keep
from datapath.program_loading import ProgramType, program_load
from datapath.specialisation import Specialisation

_TEXTS = {
    PROGRAM_NAME: {
        PROGRAM_NAME: ProgramType.XDP,
        FRAGMENTATION_PROGRAM_NAME: ProgramType.SCHED_CLS,
        TUNNEL_FILTER_PROGRAM_NAME: ProgramType.SOCKET_FILTER,
    },
    HOME_LINK_PROGRAM_NAME: {HOME_LINK_PROGRAM_NAME: ProgramType.SCHED_CLS},
}
"""Programs of each text, with their types: those that every data path has are in one, to be compiled in one run."""
_TYPE_OF = {program: kind for programs in _TEXTS.values() for program, kind in programs.items()}
_FIRST_FUNCTION = b"cold"
"""Of the section of functions (``bpf/cold.h``)."""
_INCLUDE = re.compile(r'^#include "(?P<name>[a-z0-9_]+\.h)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CompiledProgram:
    """A program in the kernel, not yet attached; alive within the block that made it, or by a pin or an attachment."""

    descriptor: int
    digest: bytes
    kernel_headers: str


def source_directory() -> Path:
    """Where the C text is: ``datapath/bpf`` when installed, ``bpf`` beside the package in the source tree."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "bpf", package.parent / "bpf"):
        if (candidate / "home_agent.c").is_file():
            return candidate
    raise CompileFailed(f"The program's source is missing beside {package}: install homeagent again.")


def program_text(specialisation: Specialisation, name: str = PROGRAM_NAME) -> str:
    """One text with every header in place (bcc rewrites map access in the main file only) behind the macros."""
    directory = source_directory()
    macros = specialisation.macros()
    defines = "".join(f"#define {macro} {value}\n" for macro, value in macros.items())
    main = (directory / f"{name}.c").read_text(encoding="utf-8")

    def include(match: re.Match[str]) -> str:
        text = (directory / match["name"]).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return f'#line 1 "{match["name"]}"\n{text}'

    return f'{defines}#line 1 "{name}.c"\n{_INCLUDE.sub(include, main)}'


class CompiledText:
    """A text for one data path: read once, and found compiled or compiled once, for all its programs."""

    def __init__(self, specialisation: Specialisation, name: str = PROGRAM_NAME, *, cache: Path = CACHE) -> None:
        """Reads the text.

        Args:
            specialisation: the data path's constants.
            name: the text's, without its suffix.
            cache: directory of programs compiled before.
        """
        self._specialisation = specialisation
        self._name = name
        self._cache = cache
        self._text = program_text(specialisation, name)
        self._digest = specialisation.digest(self._text)
        self._key = _cache_key(self._text, specialisation.pin_directory)
        self._compiled: Mapping[str, ObjectCode] = {}

    @contextmanager
    def loaded(self, program: str) -> Iterator[CompiledProgram]:
        """Has the kernel verify one of the programs; the pinned maps must exist.

        Raises:
            CompilerUnavailable: bcc cannot be imported.
            KernelHeadersMissing: nothing to compile against.
            CompileFailed: the compiler or the verifier says no.
        """
        found = self._present(program)
        if found is None:
            with alone(self._file(self._name), self._cache):
                found = self._present(program) or self._compile(program)
        code, descriptor = found
        try:
            yield CompiledProgram(descriptor, self._digest, code.compiled_with)
        finally:
            os.close(descriptor)

    def _file(self, name: str) -> str:
        return f"{name}-{self._key}"

    def _present(self, program: str) -> tuple[ObjectCode, int] | None:
        """What was compiled before, and its descriptor; None if there is nothing, or nothing the verifier accepts."""
        code = self._compiled.get(program) or cached(self._file(program), self._cache)
        if code is None:
            return None
        try:
            return code, _load(code, self._specialisation, program)
        except (CompileFailed, NotLoaded):
            return None

    def _compile(self, program: str) -> tuple[ObjectCode, int]:
        self._compiled = _compile(self._text, tuple(_TEXTS[self._name]), self._specialisation)
        code = self._compiled[program]
        descriptor = _load(code, self._specialisation, program)
        for each, kept in self._compiled.items():
            keep(self._file(each), kept, self._cache)
        return code, descriptor


def _cache_key(text: str, directory: Path) -> str:
    """The same for all that comes out alike, wherever its maps are pinned."""
    everything = "\0".join((text.replace(str(directory), ""), platform.machine(), _compiler_version()))
    return sha256(everything.encode()).hexdigest()[:32]


@functools.cache
def _compiler_version() -> str:
    compiler = importlib.util.find_spec("bcc")
    version = Path(compiler.origin).with_name("version.py") if compiler and compiler.origin else None
    return version.read_text(encoding="utf-8") if version and version.exists() else ""


def _compile(text: str, programs: Sequence[str], specialisation: Specialisation) -> dict[str, ObjectCode]:
    headers = kernel_source()
    if headers is not None:
        os.environ["BCC_KERNEL_SOURCE"] = str(headers)
    try:
        bcc = importlib.import_module("bcc")
    except ImportError as error:
        raise CompilerUnavailable(
            "The Python module bcc is missing: run `apt-get install python3-bpfcc` and use a virtual environment "
            "made with `--system-site-packages` on Debian's /usr/bin/python3."
        ) from error
    with _captured_stderr() as said:
        try:
            module = bcc.BPF(text=text.encode(), cflags=["-Wno-unused-function"])
        except Exception as error:  # bcc raises nothing more precise
            raise CompileFailed(_explain(str(error), said)) from error
    try:
        wanted = (each.name for each in map_specifications(specialisation.max_bindings))
        numbers = {bcc.lib.bpf_table_fd(module.module, name.encode()): name for name in wanted}
        compiled_with = str(headers or f"/lib/modules/{os.uname().release}/build")
        section = _section(bcc, module)
        return {
            each: ObjectCode.of(link(module.dump_func(each.encode()), section), numbers, compiled_with)
            for each in programs
        }
    finally:
        module.close()


def _section(bcc: Any, module: Any) -> Section:
    """The functions beside the programs, in the memory that bcc has compiled them into."""
    start = bcc.lib.bpf_function_start(module.module, _FIRST_FUNCTION)
    return Section(
        module.dump_func(_FIRST_FUNCTION) if start else b"", lambda place: ctypes.string_at(start + 8 * place, 8)
    )


def _load(code: ObjectCode, specialisation: Specialisation, program: str) -> int:
    with ExitStack() as maps:

        def number(name: str) -> int:
            return maps.enter_context(opened(specialisation.pin_directory / name))

        numbers = {name: number(name) for name in set(code.maps.values())}
        instructions = code.linked(numbers.__getitem__, specialisation.filled_in())
        return program_load(_TYPE_OF[program], instructions, program)


def _explain(error: str, said: Path) -> str:
    log = said.read_text(encoding="utf-8", errors="replace").strip()
    last = "\n".join(log.splitlines()[-40:])
    if "Operation not permitted" in last:
        # bcc opens the pinned maps by number, which no smaller capability allows.
        return "Compiling and loading is not permitted: run as root, or with CAP_SYS_ADMIN, CAP_BPF and CAP_NET_ADMIN."
    return f"The program does not compile ({error}): report this with the text below.\n{last}"


@contextmanager
def _captured_stderr() -> Iterator[Path]:
    """Sends what the C library writes to standard error into a file, because LLVM and libbpf report there."""
    saved = os.dup(2)
    with tempfile.NamedTemporaryFile(prefix="homeagent-compiler-") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield Path(file.name)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
