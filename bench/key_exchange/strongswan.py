"""Whether Debian's strongSwan can be measured beside us, and if not, why."""

from __future__ import annotations

import gzip
import platform
import re
from pathlib import Path

_DAEMON = Path("/usr/sbin/charon-systemd")
_LOAD_TESTER = Path("/usr/lib/ipsec/plugins/libstrongswan-load-tester.so")


def obstacles(daemon: Path = _DAEMON, load_tester: Path = _LOAD_TESTER, kernel: str | None = None) -> list[str]:
    """What keeps strongSwan from initiating the same exchanges here; empty if nothing is known to.

    Args:
        daemon: strongSwan's.
        load_tester: its plugin that initiates many connections without installing their security associations.
        kernel: the kernel's configuration; None reads that of the running one.
    """
    if not daemon.exists():
        return [f"{daemon} is not installed (Debian's charon-systemd)"]
    if load_tester.exists():
        return []
    found = [
        "strongSwan's load-tester plugin, which can initiate without installing child SAs, is not there; no package of "
        "Debian 12 is known to have it"
    ]
    configuration = kernel_configuration() if kernel is None else kernel
    if configuration and not re.search(r"^CONFIG_INET6_ESP=[ym]$", configuration, re.MULTILINE):
        found.append(
            "this kernel has no ESP over IPv6 (CONFIG_INET6_ESP), so that strongSwan has nowhere to install child SAs; "
            "its kernel-libipsec before 5.9.11 wants ESP in UDP, which the home agent does not speak"
        )
    return found


def kernel_configuration() -> str:
    """The running kernel's configuration, empty where it is not to be had."""
    packed = Path("/proc/config.gz")
    if packed.exists():
        return gzip.decompress(packed.read_bytes()).decode()
    installed = Path(f"/boot/config-{platform.release()}")
    return installed.read_text() if installed.exists() else ""


def note() -> str:
    """Why there are no figures of strongSwan, in a sentence or two."""
    return "not measured: " + ("; ".join(obstacles()) or "this bench does not drive strongSwan") + "."
