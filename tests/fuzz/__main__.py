"""``python -m tests.fuzz TARGET SECONDS``: a target under atheris, its corpus kept in ``.fuzz/TARGET``."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["control"]):
    from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> None:
    """Fuzz until the time is over or something is found."""
    if arguments == ["--list"]:
        print("\n".join(TARGETS))
        return
    if len(arguments) != 2 or arguments[0] not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz TARGET SECONDS; the targets are {', '.join(TARGETS)}")
    name, seconds = arguments
    target, corpus = TARGETS[name], Path(".fuzz") / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={int(seconds)}", "-rss_limit_mb=2048", "-timeout=20", f"-artifact_prefix={corpus}-"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
