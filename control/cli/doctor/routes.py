"""What routes to be announced need of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from control.cli.doctor.finding import Finding, ok, warning

_SETTING = Path("/proc/sys/net/ipv6/route/gc_interval")


def examine_routes(lifetime_s: int, setting: Path = _SETTING) -> Iterator[Finding]:
    """How soon the routes of a daemon that is gone are.

    Args:
        lifetime_s: how long they last, 0 for ever.
        setting: how often the kernel removes those that have expired, in seconds.
    """
    if not lifetime_s:
        return
    interval_s = int(setting.read_text(encoding="ascii"))
    if interval_s > lifetime_s:
        says = f"the kernel removes expired ones only every {interval_s} s"
        yield warning("routes to announce", says, "sysctl -w net.ipv6.route.gc_interval=5")
    else:
        yield ok("routes to announce", f"gone {lifetime_s} to {lifetime_s + interval_s} s after the daemon")
