"""Compiles and verifies the programs with bcc. Imports LLVM: only the loader uses this module."""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datapath.errors import CompileFailed, CompilerUnavailable
from datapath.kernel_headers import kernel_source
from datapath.layout import PROGRAM_NAME
from datapath.specialisation import Specialisation

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


def program_text(specialisation: Specialisation, program: str = PROGRAM_NAME) -> str:
    """One text with every header in place (bcc rewrites map access in the main file only) behind the macros."""
    directory = source_directory()
    macros = specialisation.macros()
    defines = "".join(f"#define {name} {value}\n" for name, value in macros.items())
    main = (directory / f"{program}.c").read_text(encoding="utf-8")

    def include(match: re.Match[str]) -> str:
        text = (directory / match["name"]).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return f'#line 1 "{match["name"]}"\n{text}'

    return f'{defines}#line 1 "{program}.c"\n{_INCLUDE.sub(include, main)}'


@contextmanager
def compile_program(specialisation: Specialisation, program: str = PROGRAM_NAME) -> Iterator[CompiledProgram]:
    """Compiles a program and has the kernel verify it; the pinned maps must exist.

    Raises:
        CompilerUnavailable: bcc cannot be imported.
        KernelHeadersMissing: nothing to compile against.
        CompileFailed: the compiler or the verifier says no.
    """
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
    text = program_text(specialisation, program)
    with _captured_stderr() as said:
        try:
            module = bcc.BPF(text=text.encode(), cflags=["-Wno-unused-function"])
            kind = bcc.BPF.XDP if program == PROGRAM_NAME else bcc.BPF.SCHED_CLS
            function = module.load_func(program.encode(), kind)
        except Exception as error:  # bcc raises nothing more precise
            raise CompileFailed(_explain(str(error), said)) from error
    try:
        yield CompiledProgram(
            descriptor=function.fd,
            digest=specialisation.digest(text),
            kernel_headers=str(headers or f"/lib/modules/{os.uname().release}/build"),
        )
    finally:
        module.close()


def _explain(error: str, said: Path) -> str:
    log = said.read_text(encoding="utf-8", errors="replace").strip()
    last = "\n".join(log.splitlines()[-40:])
    if "Operation not permitted" in last:
        # bcc opens the pinned maps by number, which no smaller capability allows.
        return "Compiling and loading is not permitted: run as root, or with CAP_SYS_ADMIN, CAP_BPF and CAP_NET_ADMIN."
    return f"The program was refused ({error}): report this with the text below.\n{last}"


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
