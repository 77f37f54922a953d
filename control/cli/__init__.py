"""The command `homeagent`: one place for operators, with `--json` everywhere."""

from __future__ import annotations

from control.cli.main import main

__all__ = ["main"]
