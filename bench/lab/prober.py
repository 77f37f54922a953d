"""ICMPv6 echo probes to many addresses at a bounded rate: `python -m bench.lab.prober --help`.

Runs inside the correspondent's namespace. Commands come on standard input, one per line:
`target INDEX ADDRESS` sets or changes a target's address, `mark SECONDS` (CLOCK_MONOTONIC) says when the failure
happened, `pause` ends the sending, `report` asks for the histories, `stop` ends it. Standard output carries one
JSON object per line: `started`, `answered` (a target's first answer after the mark), `progress`, `report`.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from bench.lab.outages import OutageTracker

_ECHO_REQUEST, _ECHO_REPLY = 128, 129
_ICMP6_FILTER = 1
# Type, code, checksum (the kernel fills it in), identifier, sequence; then our target index and sending time in ns.
_HEADER = struct.Struct("!BBHHHIQ")
_RECEIVE_BUFFER = 4 << 20
_MAX_WAIT_S = 0.02
_PROGRESS_INTERVAL_S = 0.25
# No more probes at once than this when the loop was late, so that a stall does not end in a burst.
_MAX_BURST = 256


@dataclass(slots=True)
class _Due:
    target: int
    at: float


class Prober:
    """Sends, receives and keeps the tracker; one instance per process."""

    def __init__(self, targets: int, interval_s: float, rate_per_s: float, gap_s: float, until_answered: bool) -> None:
        self._shortest_interval_s = interval_s
        self._rate_per_s = rate_per_s
        self._left = targets
        self._tracker = OutageTracker(targets, max(gap_s, 2.5 * self.interval_s))
        self._until_answered = until_answered
        self._addresses: list[str | None] = [None] * targets
        self._sequence = [0] * targets
        self._identifier = os.getpid() & 0xFFFF
        self._socket = _open_socket()
        self._send_errors = 0
        self._paused = False
        now = time.monotonic()
        # Spread over one interval: every target at the same instant would be a burst.
        self._due = deque(_Due(target, now + self.interval_s * target / targets) for target in range(targets))

    @property
    def interval_s(self) -> float:
        """Seconds between two probes of one target: as asked for, or as the bound on all probes demands."""
        return max(self._shortest_interval_s, self._left / self._rate_per_s)

    def run(self) -> None:
        """Probe until told to stop or standard input ends."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(sys.stdin, select.POLLIN)
        _emit("started", interval_s=self.interval_s, targets=len(self._addresses))
        next_progress = time.monotonic()
        commands = ""
        while True:
            wait_s = min(_MAX_WAIT_S, max(0.0, self._due[0].at - time.monotonic()))
            for descriptor, _ in poll.poll(wait_s * 1000):
                if descriptor == self._socket.fileno():
                    self._receive()
                    continue
                data = os.read(descriptor, 65536).decode()
                *lines, commands = (commands + data).split("\n")
                if not data or not all(self._obey(line) for line in lines):
                    return
            now = time.monotonic()
            self._send_due(now)
            if now >= next_progress:
                next_progress = now + _PROGRESS_INTERVAL_S
                self._progress()

    def _obey(self, line: str) -> bool:
        word, *arguments = line.split() or [""]
        if word == "target":
            self._addresses[int(arguments[0])] = str(IPv6Address(arguments[1]))
        elif word == "mark":
            self._tracker.mark(float(arguments[0]))
            self._left = len(self._addresses)
        elif word == "pause":
            self._paused = True
        elif word == "report":
            self._report()
        return word != "stop"

    def _send_due(self, now: float) -> None:
        interval_s = self.interval_s
        for _ in range(min(_MAX_BURST, len(self._due))):
            due = self._due[0]
            if due.at > now:
                return
            self._due.rotate(-1)
            due.at = max(due.at + interval_s, now)
            address = self._addresses[due.target]
            if self._paused or address is None or (self._until_answered and self._answered(due.target)):
                continue
            self._send(due.target, address)

    def _answered(self, target: int) -> bool:
        return self._tracker.histories[target].answered_after_mark_at is not None

    def _send(self, target: int, address: str) -> None:
        sequence = self._sequence[target] = (self._sequence[target] + 1) & 0xFFFF
        packet = _HEADER.pack(_ECHO_REQUEST, 0, 0, self._identifier, sequence, target, time.monotonic_ns())
        try:
            self._socket.sendto(packet, (address, 0))
        except OSError:
            self._send_errors += 1
            return
        self._tracker.sent(target)

    def _receive(self) -> None:
        while True:
            try:
                data = self._socket.recv(256)
            except BlockingIOError:
                return
            if len(data) < _HEADER.size:
                continue
            kind, _, _, identifier, _, target, sent_ns = _HEADER.unpack_from(data)
            if kind != _ECHO_REPLY or identifier != self._identifier or target >= len(self._addresses):
                continue
            now = time.monotonic()
            if self._tracker.reply(target, sent_ns / 1e9, now):
                mark = self._tracker.marked_at or 0.0
                # The fewer are left, the more often each of them can be asked.
                self._left -= self._until_answered
                _emit("answered", target=target, outage_s=now - mark)

    def _progress(self) -> None:
        histories = self._tracker.histories
        answered = sum(1 for history in histories if history.answered_after_mark_at is not None)
        reached = sum(1 for history in histories if history.received)
        _emit("progress", reached=reached, answered_after_mark=answered)

    def _report(self) -> None:
        outages = self._tracker.outages()
        rows = [
            {
                "target": target,
                "address": self._addresses[target],
                "sent": history.sent,
                "received": history.received,
                "outage_s": outages.get(target),
                "gaps_s": [after - before for before, after in history.gaps],
            }
            for target, history in enumerate(self._tracker.histories)
        ]
        _emit("report", send_errors=self._send_errors, targets=rows)


def _open_socket() -> socket.socket:
    raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    # Bit set = blocked, 32 types per word (RFC 3542 3.2): only Echo Replies come up, not one error per lost probe.
    words = [0xFFFFFFFF] * 8
    words[_ECHO_REPLY // 32] &= ~(1 << (_ECHO_REPLY % 32))
    raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("8I", *words))
    return raw


def _emit(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, "time": time.time(), **fields}), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.lab.prober", description=__doc__)
    parser.add_argument("--targets", type=int, required=True, help="number of targets")
    parser.add_argument("--interval", type=float, default=0.05, help="seconds between two probes of one target")
    parser.add_argument("--rate", type=float, default=2000.0, help="bound on all probes per second")
    parser.add_argument("--gap", type=float, default=0.0, help="silence in seconds that counts as a gap")
    parser.add_argument(
        "--until-answered", action="store_true", help="after the mark, leave a target alone once it has answered"
    )
    options = parser.parse_args(arguments)
    Prober(options.targets, options.interval, options.rate, options.gap, options.until_answered).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
