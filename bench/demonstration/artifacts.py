"""What the demonstration leaves behind on purpose: captures, key files, logs, the timeline and the summary."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

from bench.demonstration.timeline import Timeline
from bench.lab.errors import LabError
from bench.lab.pki import write_private

KEY_TABLES = ("ikev2_decryption_table", "esp_sa")
_MARKER = ".homeagent-demo"
# Wireshark finds the key tables by their names in its configuration directory, and there its preferences too.
_PREFERENCES = """\
# Decrypt and verify ESP with the keys in esp_sa; IKEv2 uses ikev2_decryption_table by itself.
esp.enable_encryption_decode: TRUE
esp.enable_authentication_check: TRUE
"""


class Artifacts:
    """The output directory."""

    def __init__(self, directory: Path) -> None:
        """Empty the directory of an earlier demonstration, or make it.

        Raises:
            LabError: there is something else in it.
        """
        self.directory = directory
        self.captures = directory / "captures"
        self.wireshark = directory / "wireshark"
        self.logs = directory / "logs"
        if directory.exists():
            if any(directory.iterdir()) and not (directory / _MARKER).exists():
                raise LabError(f"{directory} holds other files: empty it, or choose another with --output")
            shutil.rmtree(directory)
        for path in (self.captures, self.wireshark, self.logs):
            path.mkdir(parents=True)
        (directory / _MARKER).write_text("Written by python -m bench.demo, which empties this directory first.\n")
        self.keys = directory / "keys"
        self.keys.mkdir(mode=0o700)

    def write_wireshark_profile(self) -> None:
        """Join the home agents' key files into the tables that Wireshark reads."""
        for table in KEY_TABLES:
            parts = [path.read_text() for path in sorted(self.keys.glob(f"*-{table}"))]
            write_private(self.wireshark / table, "".join(parts).encode())
        (self.wireshark / "preferences").write_text(_PREFERENCES)

    def wireshark_command(self, capture: Path, program: str = "wireshark") -> str:
        """A command line, to be given to a shell, that opens a capture with the keys."""
        command = f"WIRESHARK_CONFIG_DIR={shlex.quote(str(self.wireshark))} {program} -r {shlex.quote(str(capture))}"
        if program == "tshark":
            command += " -Y 'isakmp || mipv6'"
        return command

    def copy_logs(self, run_directory: Path) -> None:
        """Keep what the processes wrote to their standard output and error."""
        for path in sorted(run_directory.glob("*.out")) + sorted(run_directory.glob("*.err")):
            if path.stat().st_size:
                shutil.copy(path, self.logs / path.name)

    def write_timeline(self, timeline: Timeline) -> None:
        """Every entry as a JSON line."""
        lines = [
            json.dumps(
                {"time": entry.time, "where": entry.where, "node": entry.node, "event": entry.event, "text": entry.text}
            )
            for entry in timeline.entries
        ]
        (self.directory / "timeline.jsonl").write_text("".join(line + "\n" for line in lines))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """The summary as JSON."""
        (self.directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
