"""Packet captures by tcpdump, one per link."""

from __future__ import annotations

import time
from pathlib import Path

from bench.lab.errors import LabError
from bench.lab.laboratory import Laboratory
from bench.lab.namespaces import Namespace
from bench.lab.processes import LabProcess

#: Leaves out full-sized TCP segments, plain or tunnelled: a bulk transfer would bury the signalling. What remains
#: of it (handshake, acknowledgements) shows the path. ip6[6] is the next header, ip6[46] that of an inner packet.
WITHOUT_BULK = "not (greater 500 and (tcp or (ip6[6] = 41 and ip6[46] = 6)))"

_START_TIMEOUT_S = 60.0


class Capture:
    """tcpdump on one device.

    Capture at the core's end of a home agent's link, not at the home agent's own: frames that XDP consumes never reach
    a packet socket there, and those it changes in place would show changed.
    """

    def __init__(
        self, laboratory: Laboratory, namespace: Namespace, device: str, path: Path, packet_filter: str = WITHOUT_BULK
    ) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        # Immediate mode and -U: every packet is in the file at once, also those just before the end.
        # -Z root: tcpdump would else drop its privilege before it opens a file in a private directory.
        command = [
            "tcpdump",
            "-n",
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-s",
            "0",
            "-B",
            "8192",
            "-i",
            device,
            "-w",
            str(path),
        ]
        self._process: LabProcess = laboratory.spawn(namespace, f"capture-{device}", [*command, packet_filter])

    def wait_started(self) -> None:
        """Wait until tcpdump listens: what is sent before is not in the file."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        while "listening on" not in self._process.complaint():
            self._process.require_running()
            if time.monotonic() > deadline:
                raise LabError(f"tcpdump did not begin to listen within {_START_TIMEOUT_S:g} s")
            time.sleep(0.02)

    def stop(self) -> None:
        """End the capture; the file is complete afterwards."""
        self._process.stop()
