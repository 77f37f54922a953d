"""Network namespaces by name: create, configure, run things inside, remove."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.lab.entering import NETNS_DIRECTORY
from bench.lab.errors import LabError

#: Set before the first device exists, so that every device of the namespace inherits them.
QUIET_IPV6_SYSCTLS: Mapping[str, str] = {
    # Addresses are usable at once: without this every address is tentative for a second.
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.dad_transmits": "0",
    "net.ipv6.conf.default.router_solicitations": "0",
    "net.ipv6.conf.default.accept_ra": "0",
    # An ICMPv6 error for each probe of a mass outage must not be throttled into a different picture.
    "net.ipv6.icmp.ratelimit": "0",
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
}


def run_checked(command: Sequence[str], *, stdin: str | None = None, timeout_s: float = 60.0) -> str:
    """Run a short command to its end and return what it printed.

    Raises:
        LabError: it is not installed, failed, or took too long; the text has the command and its complaint.
    """
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    except FileNotFoundError:
        raise LabError(f"{command[0]} is not installed; `make setup` installs what the laboratory needs") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"no end after {timeout_s:g} s: {' '.join(command)}") from None
    if done.returncode != 0:
        complaint = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise LabError(f"{' '.join(command)} failed ({done.returncode}): {complaint}")
    return done.stdout


class Namespace:
    """One network namespace, known to `ip netns` by `name`."""

    def __init__(self, name: str, role: str) -> None:
        self.name = name
        self.role = role

    @property
    def path(self) -> Path:
        """The file whose inode is the namespace."""
        return NETNS_DIRECTORY / self.name

    def create(self) -> None:
        """Make the namespace, with its loopback up and IPv6 quiet."""
        run_checked(["ip", "netns", "add", self.name])
        self.sysctl(QUIET_IPV6_SYSCTLS)
        self.ip(["link set dev lo up"])

    def enter_command(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside.

        Not `ip netns exec`: that mounts a fresh /sys, in which bpffs with the pinned maps is hidden.
        The process becomes `command` itself (no child), so its pid is the one to signal.
        """
        return ["nsenter", f"--net={self.path}", "--", *command]

    def run(self, command: Sequence[str], *, stdin: str | None = None, timeout_s: float = 60.0) -> str:
        """Run a short command inside to its end; see `run_checked`."""
        return run_checked(self.enter_command(command), stdin=stdin, timeout_s=timeout_s)

    def ip(self, lines: Iterable[str]) -> None:
        """Apply lines of iproute2's batch language (without the leading `ip`), in one process."""
        batch = "\n".join(lines) + "\n"
        run_checked(["ip", "-6", "-netns", self.name, "-batch", "-"], stdin=batch)

    def sysctl(self, values: Mapping[str, str]) -> None:
        """Write sysctls of this namespace."""
        # /proc/sys/net shows the namespace of the reading task, so a shell inside is all it takes.
        # No line feed: some sysctls of Linux 6.1 say that they have taken the first octet only.
        lines = [f"printf %s {value} > /proc/sys/{key.replace('.', '/')}" for key, value in values.items()]
        self.run(["sh", "-e"], stdin="\n".join(lines) + "\n")

    def offloads(self, device: str, **features: bool) -> None:
        """Switch offload features, e.g. `offloads("core0", tx=False, gro=True)`."""
        settings = [word for name, on in features.items() for word in (name, "on" if on else "off")]
        self.run(["ethtool", "-K", device, *settings])

    def process_ids(self) -> list[int]:
        """Processes that are inside now."""
        try:
            return [int(word) for word in run_checked(["ip", "netns", "pids", self.name]).split()]
        except LabError:
            return []

    def delete(self) -> None:
        """Remove the name; the kernel frees the namespace with its devices when the last process has left."""
        if self.path.exists():
            run_checked(["ip", "netns", "delete", self.name])


def existing_namespaces(name_prefix: str) -> list[str]:
    """Names of the namespaces that begin with `name_prefix`, sorted."""
    if not NETNS_DIRECTORY.is_dir():
        return []
    return sorted(entry for entry in os.listdir(NETNS_DIRECTORY) if entry.startswith(name_prefix))
