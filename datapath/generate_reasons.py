"""Writes ``datapath/reasons.py`` from ``bpf/reasons.h``: ``python -m datapath.generate_reasons``."""

from __future__ import annotations

import re
from pathlib import Path

from datapath.compiler import source_directory

_ENTRY = re.compile(r"/\* (?P<text>[^*]+?) \*/\s*(?P<name>[A-Z][A-Z0-9_]+) = (?P<number>\d+),")
_DEFINE = re.compile(r"^#define (?P<name>REASON_VERDICT_SHIFT|VERDICT_[A-Z]+) (?P<number>\d+)$", re.MULTILINE)

_HEAD = '''"""What became of a frame.

Written by ``python -m datapath.generate_reasons`` from bpf/reasons.h: do not edit.
"""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """What the program had the kernel do with the frame."""

'''

_TAIL = '''
    @property
    def slug(self) -> str:
        """The name as a metric label and in JSON."""
        return self.name.lower().replace("_", "-")

    @property
    def verdict(self) -> Verdict:
        """What the program had the kernel do with the frame."""
        return Verdict(self >> {shift})

    @property
    def description(self) -> str:
        """One sentence for people."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {{
'''


def generate(header: str) -> str:
    """The Python module for the text of reasons.h."""
    numbers = {match["name"]: int(match["number"]) for match in _DEFINE.finditer(header)}
    shift = numbers.pop("REASON_VERDICT_SHIFT")
    entries = [
        (match["name"], int(match["number"]), " ".join(match["text"].split())) for match in _ENTRY.finditer(header)
    ]
    lines = [_HEAD]
    lines += [f"    {name.removeprefix('VERDICT_')} = {number}\n" for name, number in numbers.items()]
    lines.append('\n\nclass Reason(IntEnum):\n    """An index of the map ``stats``."""\n\n')
    lines += [f"    {name} = {number}\n" for name, number, _ in entries]
    lines.append(_TAIL.format(shift=shift))
    lines += [f'    Reason.{name}: "{text}",\n' for name, _, text in entries]
    lines.append("}\n")
    return "".join(lines)


def main() -> None:
    """Writes the module beside this one."""
    header = (source_directory() / "reasons.h").read_text(encoding="utf-8")
    Path(__file__).with_name("reasons.py").write_text(generate(header), encoding="utf-8")


if __name__ == "__main__":
    main()
